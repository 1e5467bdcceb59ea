"""Rules compiled to programs: short-circuit tests with jumps, each run at most once. No I/O.

The matchers have the meaning of Traefik's, version 3. Source for query strings: Go's url.ParseQuery.
"""

import ipaddress

cimport cython
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from lbcore.http.cookie cimport find_cookie
from lbcore.http.head cimport RequestHead
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, ascii_lower, span_of
from lbcore.regex.regex cimport Regex, regex_search

from lbcore.config.rule import And, Not, Or, host_of, parse_rule

cdef enum:
    VALUE_BYTES = 1024         # longest query value that is decoded on the stack

KINDS = {
    "Host": TEST_HOST, "HostRegexp": TEST_HOST_REGEX, "Path": TEST_PATH, "PathPrefix": TEST_PATH_PREFIX,
    "PathRegexp": TEST_PATH_REGEX, "Method": TEST_METHOD, "Header": TEST_HEADER, "HeaderRegexp": TEST_HEADER_REGEX,
    "Query": TEST_QUERY, "QueryRegexp": TEST_QUERY_REGEX, "ClientIP": TEST_CLIENT,
    "Cookie": TEST_COOKIE, "HostSNI": TEST_HOST, "HostSNIRegexp": TEST_HOST_REGEX, "ALPN": TEST_ALPN,
}

# Headers that Go's server stores apart from the others, so that in Traefik no rule matches them.
NO_HEADERS = ("host", "transfer-encoding")


def operands(rule, kind) -> list:
    """The operands of a chain of `And`s or `Or`s in order, however nested; of another rule, the rule itself."""
    found, stack = [], [rule]
    while stack:
        rule = stack.pop()
        if isinstance(rule, kind):
            stack += (rule.right, rule.left)
        else:
            found.append(rule)
    return found


def count_matchers(rule) -> int:
    total, stack = 0, [rule]
    while stack:
        rule = stack.pop()
        if isinstance(rule, Not):
            stack.append(rule.rule)
        elif isinstance(rule, (And, Or)):
            stack += (rule.left, rule.right)
        else:
            total += 1
    return total


@cython.final
cdef class Program:
    """A compiled rule. Immutable. A run executes the tests that decide, in the order of the rule."""

    def __cinit__(self, rule):
        self.kept = []
        self.tests = <Test*>calloc(count_matchers(rule), sizeof(Test))
        if self.tests == NULL:
            raise MemoryError
        self.emit(rule, ACCEPT, REJECT)
        self.pack()

    def __dealloc__(self):
        free(self.tests)

    def emit(self, rule, on_true: int, on_false: int) -> None:
        """Append the tests of `rule`; targets are ACCEPT, REJECT or the number of a later test."""
        if isinstance(rule, Not):
            self.emit(rule.rule, on_false, on_true)
        elif isinstance(rule, (And, Or)):
            conjunction = isinstance(rule, And)
            *parts, last = operands(rule, And if conjunction else Or)
            for part in parts:
                following = self.count + count_matchers(part)
                self.emit(part, following if conjunction else on_true, on_false if conjunction else following)
            self.emit(last, on_true, on_false)
        else:
            self.add(rule, on_true, on_false)

    cdef int add(self, object matcher, int on_true, int on_false) except -1:
        cdef Test* test = &self.tests[self.count]
        cdef Regex regex
        cdef str name = matcher.name
        args = matcher.args
        test.kind = KINDS[name]
        test.on_true = on_true
        test.on_false = on_false
        self.count += 1
        value = args[len(args) - 1]
        if name == "Cookie":
            test.name = self.keep(args[0])
        elif name in ("Header", "HeaderRegexp"):
            test.name = self.keep(args[0].lower())
            if args[0].lower() in NO_HEADERS:
                test.kind = TEST_NEVER
        elif name in ("Query", "QueryRegexp"):
            test.name = self.keep(args[0])
            if len(args) == 1:
                test.kind = TEST_QUERY
                value = ""
        elif name in ("Host", "HostSNI"):
            value = host_of(value)
            if value == "*":
                test.kind = TEST_ANY
            elif value.startswith("*."):
                test.kind = TEST_HOST_LABEL
                value = value[1:]
        elif name == "Method":
            value = value.upper()
        elif name == "ClientIP":
            network = ipaddress.ip_network(value, strict=False)
            packed = network.network_address.packed
            test.bits = network.prefixlen
            if network.version == 4:
                packed = bytes(10) + b"\xff\xff" + packed
                test.bits += 96
            memcpy(test.ip, <const char*>packed, 16)
            return 0
        if test.kind in (TEST_HOST_REGEX, TEST_PATH_REGEX, TEST_HEADER_REGEX, TEST_QUERY_REGEX):
            regex = Regex(value, captures=False)
            self.kept.append(regex)
            test.regex = regex.compiled
        else:
            test.text = self.keep(value)
        return 0

    cdef Span keep(self, str text):
        encoded = text.encode(errors="surrogateescape")
        self.kept.append(encoded)
        return span_of(encoded, len(encoded))

    cdef int pack(self) except -1:
        """Move the texts behind the tests, so that a rule is one block of memory: with many rules, each block is a cache miss."""
        cdef Py_ssize_t size = self.count * sizeof(Test)
        cdef Test* packed
        cdef char* end
        cdef int i
        for i in range(self.count):
            size += self.tests[i].name.len + self.tests[i].text.len
        packed = <Test*>malloc(size)
        if packed == NULL:
            raise MemoryError
        end = <char*>(packed + self.count)
        memcpy(packed, self.tests, self.count * sizeof(Test))
        for i in range(self.count):
            end = move_text(&packed[i].name, end)
            end = move_text(&packed[i].text, end)
        free(self.tests)
        self.tests = packed
        self.kept = [one for one in self.kept if isinstance(one, Regex)]
        return 0

    def holds(self, Request request) -> bool:
        """Whether the rule holds for a request."""
        return run(self.tests, &request.head)

    def matches(self, head: bytes, client: str = "192.0.2.1") -> bool:
        """Whether the rule matches a request head, for tests and tools. Raises ValueError if the head is refused."""
        cdef Request request = read_head(head, client)
        return run(self.tests, &request.head)


cdef inline char* move_text(Span* text, char* to) noexcept nogil:
    """Move a text to `to`. Returns the position behind it."""
    if text.len:
        memcpy(to, text.ptr, text.len)
        text.ptr = to
    return to + text.len


cdef Request read_head(bytes head, str client):
    """A request from the bytes of its head and the client's address. Raises ValueError."""
    cdef Request request = Request()
    request.come_from(client)
    used = request.parse_bytes(head)
    if used <= 0:
        raise ValueError(f"refused: {used}")
    return request


def compile_rule(text: str) -> Program:
    """The program of a rule's text. Raises ValueError."""
    return Program(parse_rule(text))


cdef bint run(const Test* tests, const RequestHead* head) noexcept nogil:
    """Whether the rule matches. Bounded: jumps go forward only."""
    cdef int at = 0
    while at >= 0:
        at = tests[at].on_true if holds(&tests[at], head) else tests[at].on_false
    return at == ACCEPT


cdef inline bint equal(Span a, Span b) noexcept nogil:
    return a.len == b.len and memcmp(a.ptr, b.ptr, a.len) == 0


cdef bint holds(const Test* test, const RequestHead* head) noexcept nogil:
    cdef Span host = head.host
    cdef Py_ssize_t label
    if test.kind == TEST_HOST:
        return equal(host, test.text)
    if test.kind == TEST_PATH_PREFIX:
        return head.route_path.len >= test.text.len and memcmp(head.route_path.ptr, test.text.ptr, test.text.len) == 0
    if test.kind == TEST_PATH:
        return equal(head.route_path, test.text)
    if test.kind == TEST_METHOD:
        return equal(head.method, test.text)
    if test.kind == TEST_ANY:
        return True
    if test.kind == TEST_HOST_LABEL:
        label = host.len - test.text.len
        if label <= 0 or memcmp(host.ptr + label, test.text.ptr, test.text.len) != 0:
            return False
        while label > 0:
            label -= 1
            if host.ptr[label] == c".":
                return False
        return True
    if test.kind == TEST_HOST_REGEX:
        return regex_search(test.regex, host)
    if test.kind == TEST_PATH_REGEX:
        return regex_search(test.regex, head.route_path)
    if test.kind == TEST_HEADER or test.kind == TEST_HEADER_REGEX:
        return header_holds(test, head)
    if test.kind == TEST_CLIENT:
        return client_holds(test, head)
    if test.kind == TEST_NEVER:
        return False
    if test.kind == TEST_ALPN:
        return offers(head.protocols, test.text)
    if test.kind == TEST_COOKIE:
        return equal(find_cookie(head.headers, head.n_headers, test.name.ptr, test.name.len), test.text)
    return query_holds(test, head.query)


cdef bint offers(Span protocols, Span wanted) noexcept nogil:
    """Whether a protocol is in a list of ALPN, as it is on the wire: each behind its length."""
    cdef Py_ssize_t at = 0, length
    while at < protocols.len:
        length = <uint8_t>protocols.ptr[at]
        if length > protocols.len - at - 1:
            return False
        if equal(span_of(protocols.ptr + at + 1, length), wanted):
            return True
        at += 1 + length
    return False


cdef bint header_holds(const Test* test, const RequestHead* head) noexcept nogil:
    """Whether any value of the header matches."""
    cdef Py_ssize_t i, j
    cdef Span name
    for i in range(head.n_headers):
        name = head.headers[i].name
        if name.len != test.name.len:
            continue
        for j in range(name.len):
            if ascii_lower(name.ptr[j]) != test.name.ptr[j]:
                break
        else:
            if test.kind == TEST_HEADER:
                if equal(head.headers[i].value, test.text):
                    return True
            elif regex_search(test.regex, head.headers[i].value):
                return True
    return False


cdef bint client_holds(const Test* test, const RequestHead* head) noexcept nogil:
    cdef int whole = test.bits // 8, rest = test.bits % 8
    if head.client == NULL or memcmp(head.client.ip, test.ip, whole) != 0:
        return False
    if test.bits < 96 and head.client.is_ipv4:
        return False           # `::/0` is all of IPv6, and nothing of IPv4
    return rest == 0 or (head.client.ip[whole] ^ test.ip[whole]) >> (8 - rest) == 0


cdef inline int hex_value(char c) noexcept nogil:
    if c"0" <= c <= c"9":
        return c - c"0"
    c = ascii_lower(c)
    return c - c"a" + 10 if c"a" <= c <= c"f" else -1


cdef Py_ssize_t decode(Span text, char* out) noexcept nogil:
    """Decode `+` and %XX into `out`, which has `text.len` bytes. Returns the length, or -1 for an invalid escape."""
    cdef Py_ssize_t i = 0, n = 0
    cdef int high, low
    while i < text.len:
        if text.ptr[i] == c"%":
            if i + 2 >= text.len:
                return -1
            high = hex_value(text.ptr[i + 1])
            low = hex_value(text.ptr[i + 2])
            if high < 0 or low < 0:
                return -1
            out[n] = <char>(high * 16 + low)
            i += 2
        else:
            out[n] = c" " if text.ptr[i] == c"+" else text.ptr[i]
        i += 1
        n += 1
    return n


cdef bint query_holds(const Test* test, Span query) noexcept nogil:
    """Whether any value of the key matches. Skips pairs with a semicolon or an invalid escape."""
    cdef char stack[VALUE_BYTES]
    cdef char* buffer = stack
    cdef Py_ssize_t start = 0, end, equals, key_len, value_len
    cdef bint broken, found = False
    if query.len > VALUE_BYTES:
        buffer = <char*>malloc(query.len)
        if buffer == NULL:
            return False
    while start < query.len and not found:
        end = start
        equals = -1
        broken = False
        while end < query.len and query.ptr[end] != c"&":
            if query.ptr[end] == c"=" and equals < 0:
                equals = end
            elif query.ptr[end] == c";":
                broken = True
            end += 1
        if equals < 0:
            equals = end
        if end > start and not broken:
            key_len = decode(span_of(query.ptr + start, equals - start), buffer)
            if key_len == test.name.len and memcmp(buffer, test.name.ptr, key_len) == 0:
                value_len = 0
                if equals < end:
                    value_len = decode(span_of(query.ptr + equals + 1, end - equals - 1), buffer)
                if value_len < 0:
                    pass
                elif test.kind == TEST_QUERY:
                    found = value_len == test.text.len and memcmp(buffer, test.text.ptr, value_len) == 0
                else:
                    found = regex_search(test.regex, span_of(buffer, value_len))
        start = end + 1
    if buffer != stack:
        free(buffer)
    return found
