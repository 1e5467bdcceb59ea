"""Sticky sessions: a cookie that names the member a client was given. No I/O.

Names and values are Traefik's, so that sessions survive a move between the two. A signed value also carries a number used
once and a keyed hash (BLAKE2b, RFC 7693): no client can make one for a member it was not given, or tell two of them apart.
"""

import hashlib
import hmac
import os

cimport cython

from lbcore.http.cookie cimport find_cookie
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_bytes

cdef enum:
    NONCE_BYTES = 8
    ID_BYTES = 8
    MAC_BYTES = 16

NAME_BYTES = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
SAME_SITE = {"none": "None", "lax": "Lax", "strict": "Strict"}


def cookie_name(name: str, service: str) -> str:
    """The configured name with `_` for what a name may not hold, or the one that follows from the service's."""
    if name:
        return "".join(letter if letter in NAME_BYTES else "_" for letter in name)
    return ("_" + hashlib.sha1(f"_TRAEFIK_BACKEND_{service}".encode(), usedforsecurity=False).hexdigest())[:6]


def member_id(key: str) -> str:
    """The value for a member: 16 hexadecimal digits of the SHA-256 of its key (a URL, or a child's name, as written)."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def legacy_ids(key: str) -> list[str]:
    """The values that former versions of Traefik gave out: the key, its 64-bit FNV-1 hash, and the hash of that."""
    once = f"{fnv1(key.encode()):x}"
    return [key, once, f"{fnv1(once.encode()):x}"]


def fnv1(data: bytes) -> int:
    """FNV-1, 64 bits (Fowler, Noll and Vo)."""
    found = 0xCBF29CE484222325
    for byte in data:
        found = found * 0x100000001B3 % (1 << 64) ^ byte
    return found


@cython.final
cdef class StickyCookie:
    """The codec of one service.

    cookie  a `config.dynamic.StickyCookie`.
    service its qualified name.
    keys    of the members, by index.
    """

    def __init__(self, cookie, str service, list keys):
        self.name = cookie_name(cookie.name, service).encode()
        self.before = self.name + b"="
        self.after = attributes(cookie).encode()
        self.keys = [hashlib.sha256(key.encode()).digest() for key in cookie.signed.keys] if cookie.signed else []
        self.ids = [member_id(key).encode() for key in keys]
        self.index_of = {value: index for index, value in reversed(list(enumerate(self.ids)))}
        self.legacy = {}
        if not self.keys:
            for index, key in enumerate(keys):
                for value in legacy_ids(key):
                    self.legacy.setdefault(value.encode(), index)

    cdef Py_ssize_t find(self, Request request, bint* stale) except -2:
        """The index of the member a request names; -1 when it names none. `stale`: the client needs a new value."""
        cdef Span found = find_cookie(request.headers, request.n_headers, self.name, len(self.name))
        stale[0] = False
        if found.len == 0:
            return -1
        value = span_bytes(found)
        if self.keys:
            value = self.verified(value, stale)
        index = self.index_of.get(value)
        if index is None:
            index = self.legacy.get(value)
            stale[0] = True
        return -1 if index is None else index

    cdef bytes line(self, Py_ssize_t index):
        """The value of Set-Cookie that names a member."""
        value = self.ids[index]
        if self.keys:
            value = self.signed(value)
        return self.before + value + self.after

    def signed(self, id: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        key = self.keys[0]
        mask = hashlib.blake2b(nonce, key=key, digest_size=ID_BYTES, person=b"lbcore mask").digest()
        hidden = bytes(a ^ b for a, b in zip(bytes.fromhex(id.decode()), mask))
        return (nonce + hidden + self.mac(key, nonce + hidden)).hex().encode()

    def mac(self, key: bytes, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=key, digest_size=MAC_BYTES, salt=b"lbcore", person=self.name[:16]).digest()

    cdef bytes verified(self, bytes value, bint* stale):
        """The member's id in a signed value; empty when the signature is none of ours."""
        try:
            data = bytes.fromhex(value.decode("ascii"))
        except ValueError:
            return b""
        if len(data) != NONCE_BYTES + ID_BYTES + MAC_BYTES:
            return b""
        sealed, mac = data[:NONCE_BYTES + ID_BYTES], data[NONCE_BYTES + ID_BYTES:]
        for number, key in enumerate(self.keys):
            if hmac.compare_digest(self.mac(key, sealed), mac):
                stale[0] = number > 0          # signed with a key that is about to go
                mask = hashlib.blake2b(sealed[:NONCE_BYTES], key=key, digest_size=ID_BYTES, person=b"lbcore mask").digest()
                return bytes(a ^ b for a, b in zip(sealed[NONCE_BYTES:], mask)).hex().encode()
        return b""

    # For Python.

    def value_of(self, index: int) -> bytes:
        """The value of Set-Cookie that names a member."""
        return self.line(index)

    def member_of(self, request: Request) -> tuple[int, bool]:
        """What `find` finds, and whether the client needs a new value."""
        cdef bint stale = False
        return self.find(request, &stale), stale


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
