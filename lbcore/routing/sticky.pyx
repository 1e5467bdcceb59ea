"""Sticky sessions: a cookie that names the client's member. No I/O.

Its name follows Traefik's rule, and its values are those of `selection.sticky`, which are Traefik's, too: sessions survive a move
between Traefik and lbcore.
"""

import hashlib

cimport cython

from lbcore.http.cookie cimport find_cookie
from lbcore.http.request cimport Request
from lbcore.routing.asker cimport Asker
from lbcore.http.span cimport Span, span_bytes
from lbcore.selection.sticky cimport StickyCodec

NAME_BYTES = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
SAME_SITE = {"none": "None", "lax": "Lax", "strict": "Strict"}


def cookie_name(name: str, service: str) -> str:
    """The configured name, with `_` for bytes that are not allowed in names, or one derived from the service's name."""
    if name:
        return "".join(letter if letter in NAME_BYTES else "_" for letter in name)
    return ("_" + hashlib.sha1(f"_TRAEFIK_BACKEND_{service}".encode(), usedforsecurity=False).hexdigest())[:6]


@cython.final
cdef class StickyCookie:
    """The cookie of one service.

    cookie  a `config.dynamic.StickyCookie`.
    service its qualified name.
    keys    of the members, by index.
    """

    def __init__(self, cookie, str service, list keys):
        self.name = cookie_name(cookie.name, service).encode()
        self.before = self.name + b"="
        self.after = attributes(cookie).encode()
        self.codec = StickyCodec(keys, keys=cookie.signed.keys if cookie.signed else (), context=self.name.decode())

    cdef Py_ssize_t find(self, Asker asker, bint* stale) except -2:
        """The index of the member that a request names; -1 if it names none. `stale`: the client needs a new value."""
        cdef Span found
        stale[0] = False
        if asker.request is None:
            return -1
        found = find_cookie(asker.request.headers, asker.request.n_headers, self.name, len(self.name))
        if found.len == 0:
            return -1
        return self.codec.find(span_bytes(found), stale)

    cdef bytes line(self, Py_ssize_t index):
        """The value of Set-Cookie that names a member."""
        return self.before + self.codec.value_of(index) + self.after

    # For Python.

    def value_of(self, index: int) -> bytes:
        """The value of Set-Cookie that names a member."""
        return self.line(index)

    def member_of(self, request: Request) -> tuple[int, bool]:
        """`find` for Python: the index, and whether the client needs a new value."""
        cdef bint stale = False
        cdef Asker asker = Asker.__new__(Asker)
        asker.request = request
        return self.find(asker, &stale), stale


def attributes(cookie) -> str:
    """The attributes of a cookie, in the order in which Go writes them."""
    text = ""
    if cookie.path:
        text += f"; Path={cookie.path}"
    if domain := cookie.domain.removeprefix("."):
        text += f"; Domain={domain}"
    if cookie.max_age:
        text += f"; Max-Age={max(cookie.max_age, 0)}"
    if cookie.http_only:
        text += "; HttpOnly"
    if cookie.secure:
        text += "; Secure"
    if same_site := SAME_SITE.get(cookie.same_site.lower()):
        text += f"; SameSite={same_site}"
    return text
