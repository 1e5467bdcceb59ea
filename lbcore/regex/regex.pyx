"""RE2, called through the C++ functions that the package `google-re2` exports, without the cost of Python calls.

The package compiles RE2 into its extension module. Three of its functions are called by pointer; `std::string_view` is a
length and a pointer in two registers (System V and AAPCS64 calling conventions, libstdc++'s and libc++'s order differs: the
check at import detects a mismatch).
"""

cimport cython
from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from lbcore.http.span cimport Span, span_of
from lbcore.http.utf8 cimport is_utf8, utf8_step
from lbcore.regex.shortage cimport check_shortage, note_shortage

import re

import re2

from lbcore.native.library import SharedLibrary

cdef enum:
    OBJECT_BYTES = 1024        # more than any version of RE2 has needed for its object (about 200)
    UNANCHORED = 0
    MAX_GROUPS = 32
    SHORT_BYTES = 1024         # a text of so many is mended without more memory

cdef struct View:
    size_t len
    const char* ptr

ctypedef void (*construct_fn)(void* self, size_t length, const char* pattern) noexcept nogil
ctypedef void (*destroy_fn)(void* self) noexcept nogil
ctypedef bint (*match_fn)(const void* self, size_t length, const char* text, size_t start, size_t end, int anchor,
                          View* found, int count) noexcept nogil

cdef construct_fn construct
cdef destroy_fn destroy
cdef match_fn match


def _resolve() -> None:
    """Find the functions and check them. Raises ImportError."""
    global construct, destroy, match
    names = {
        "construct": "_ZN3re23RE2C1ESt17basic_string_viewIcSt11char_traitsIcEE",
        "destroy": "_ZN3re23RE2D1Ev",
        "match": "_ZNK3re23RE25MatchESt17basic_string_viewIcSt11char_traitsIcEEmmNS0_6AnchorEPS4_i",
    }
    try:
        library = SharedLibrary(re2._re2.__file__)
    except (AttributeError, OSError) as error:
        raise ImportError(f"the installed google-re2 cannot be called by lbcore: {error}") from error
    found = {key: library.address(name) for key, name in names.items()}
    if missing := [names[key] for key, address in found.items() if not address]:
        raise ImportError(f"the installed google-re2 does not export what lbcore calls: {', '.join(missing)}")
    construct = <construct_fn><uintptr_t>found["construct"]
    destroy = <destroy_fn><uintptr_t>found["destroy"]
    match = <match_fn><uintptr_t>found["match"]


@cython.final
cdef class Regex:
    """A regular expression in Go's syntax (https://github.com/google/re2/wiki/Syntax).

    Raises ValueError with RE2's reason. A search is linear in the text. Patterns may use 8 MiB compiled; Go has no such
    limit but one on repetition (1000), which RE2 shares.

    captures  whether matches report groups, at most MAX_GROUPS - 1; if not, the pattern only searches.
    """

    def __cinit__(self, str pattern, bint captures=True):
        checked = check(pattern)
        encoded = pattern.encode()
        self.pattern = pattern
        self.groups = checked.groups if captures else 0
        self.names = dict(checked.groupindex) if captures else {}
        if self.groups >= MAX_GROUPS:
            raise ValueError(f"{self.groups} groups in {pattern!r}: {MAX_GROUPS - 1} at most")
        self.compiled = malloc(OBJECT_BYTES)
        if self.compiled == NULL:
            raise MemoryError
        construct(self.compiled, len(encoded), <const char*>encoded)

    def __dealloc__(self):
        if self.compiled != NULL:
            destroy(self.compiled)
            free(self.compiled)

    cdef bint search(self, Span text) except -1:
        """Whether it matches anywhere. Raises MemoryError if that cannot be found out."""
        cdef bint found = regex_search(self.compiled, text)
        check_shortage()
        return found

    def matches(self, text: bytes) -> bool:
        """`search` for tests."""
        return self.search(span_of(text, len(text)))

    cdef bint match_from(self, Span text, Py_ssize_t start, Span* found, int count) noexcept nogil:
        """The first match at or after `start`: the whole and then each group; a group outside the match has a NULL pointer."""
        cdef View views[MAX_GROUPS]
        cdef int i
        if not match(self.compiled, text.len, text.ptr, start, text.len, UNANCHORED, views, count):
            return False
        for i in range(count):
            found[i] = span_of(views[i].ptr, views[i].len)
        return True

    def find(self, text: bytes) -> list | None:
        """The first match: the whole and each group as bytes, None for a group outside the match; None without a match."""
        cdef Span found[MAX_GROUPS]
        cdef int i
        if not self.match_from(span_of(text, len(text)), 0, found, self.groups + 1):
            return None
        return [found[i].ptr[:found[i].len] if found[i].ptr != NULL else None for i in range(self.groups + 1)]

    def replace_all(self, text: bytes, template: list) -> bytes:
        """Every match replaced by a template from `parse_template`, as Go's ReplaceAllString does."""
        cdef Span found[MAX_GROUPS]
        cdef const char* base = text
        cdef Py_ssize_t at = 0, taken = 0, start, end, previous = -1
        parts = []
        while at <= len(text) and self.match_from(span_of(text, len(text)), at, found, self.groups + 1):
            start = found[0].ptr - base if found[0].ptr != NULL else at
            end = start + found[0].len
            if end > start or start != previous:      # no empty match directly after another match
                parts.append(text[taken:start])
                for part in template:
                    if isinstance(part, bytes):
                        parts.append(part)
                    elif part <= self.groups and found[<int>part].ptr != NULL:
                        parts.append(found[<int>part].ptr[:found[<int>part].len])
                taken = end
                previous = end
            at = end if end > start else end + 1
        parts.append(text[taken:])
        return b"".join(parts)

    def parse_template(self, template: str) -> list:
        """Go's templates: `$1`, `${1}`, `$name`, `${name}`, `$$`. A list of bytes and group numbers.

        A name is as long as it can be: `$1x` is the group `1x`. Groups that do not exist are empty.
        """
        parts = []
        at = 0
        for found in re.finditer(r"\$(?:\$|\{(\w+)\}|(\w+))", template, re.ASCII):
            parts.append(template[at:found.start()].encode())
            at = found.end()
            name = found[1] or found[2]
            if name is None:
                parts.append(b"$")
            elif name.isdigit():
                parts.append(int(name) if int(name) <= self.groups else b"")
            else:
                parts.append(self.names.get(name, b""))
        parts.append(template[at:].encode())
        return [part for part in parts if part != b""]


cdef bint regex_search(void* compiled, Span text) noexcept nogil:
    cdef const char* ptr = text.ptr
    if ptr == NULL:
        ptr = b""
    if is_utf8(ptr, text.len):
        return match(compiled, text.len, ptr, 0, text.len, UNANCHORED, NULL, 0)
    return search_mended(compiled, text)


cdef bint search_mended(void* compiled, Span text) noexcept nogil:
    """Whether it matches a text with U+FFFD in place of each byte that is no UTF-8: so Go reads it, and `.` and `[^/]` fit there.

    RE2 has nothing fit such a byte, and a request with one would pass by the rules and checks that are meant for it. Without the
    memory for a long text, nothing is found, and `check_shortage` says so: whoever calls this without an exception asks it afterwards.
    """
    cdef char[3 * SHORT_BYTES] own
    cdef char* mended = own                               # no byte becomes more than three
    cdef Py_ssize_t i = 0, length = 0, step
    cdef bint found
    if text.len > SHORT_BYTES:
        mended = <char*>malloc(3 * text.len)              # ours until the return
    if mended == NULL:
        note_shortage()
        return False
    while i < text.len:
        step = utf8_step(<const unsigned char*>text.ptr + i, text.len - i)
        if step:
            memcpy(mended + length, text.ptr + i, step)
            i += step
            length += step
        else:
            memcpy(mended + length, b"\xef\xbf\xbd", 3)
            i += 1
            length += 3
    found = match(compiled, length, mended, 0, length, UNANCHORED, NULL, 0)
    if mended != own:
        free(mended)
    return found


def check(pattern: str):
    """The pattern as `re2` compiled it. Raises ValueError with the reason."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"invalid regular expression {pattern!r}: {reason}") from None


def _prove() -> None:
    """Run a case with a known answer, so that the import fails for an incompatible library."""
    if Regex("b(.)").find(b"abcd") != [b"bc", b"c"]:
        raise ImportError("the installed google-re2 does not work as lbcore calls it")


_resolve()
_prove()
