"""apiKey: a request has to bring a key of the list. No I/O.

Keys are known by their hashes, and are found by the hash of what the client has sent: the time that takes says nothing about them.
"""

import hashlib

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware
from lbcore.middleware.basic_auth cimport challenge
from lbcore.middleware.identity cimport IdentityHeader
from lbcore.middleware.users import Users
from lbcore.state.holdings cimport State

cdef enum:
    MOST_BYTES = 4096          # of a key
    LEAST_BYTES = 8

HASHED = b"{SHA256}"


def digest_of(bytes name, bytes key):
    """The hash of a key as it is written. Raises ValueError without the key."""
    if key.startswith(HASHED):
        try:
            digest = bytes.fromhex(key[len(HASHED):].decode())
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise ValueError(f"the key of {name.decode(errors='replace')!r} is not {HASHED.decode()} and 64 hexadecimal digits")
        return digest
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"the key of {name.decode(errors='replace')!r} does not have {LEAST_BYTES} to {MOST_BYTES} bytes")
    return hashlib.sha256(key).digest()


@cython.final
cdef class ApiKey(Middleware):
    """A known key passes; any other request is answered with 401."""

    cdef object users                  # Users: keys by name
    cdef object taken                  # the keys of `users` that the next one is made of
    cdef dict names                    # by the hash of a key
    cdef bytes lower                   # name of the header with the key
    cdef bint bearer                   # it is Authorization
    cdef bint keeps_key
    cdef IdentityHeader header         # for the name; None = none
    cdef bytes asks                    # for a key: the value of Www-Authenticate

    def __init__(self, str name, config):
        self.name = name
        self.users = Users(config.keys, config.keys_file, 2, check=digest_of)
        self.take_keys()
        self.lower = (config.header_name or "X-Api-Key").lower().encode()
        self.bearer = self.lower == b"authorization"
        self.keeps_key = config.keep_key
        self.header = IdentityHeader(config.header_field) if config.header_field else None
        realm = config.realm or "lbcore"
        if not realm.isprintable() or '"' in realm:
            raise ValueError("the realm has quotes or control characters")
        self.asks = f'{"Bearer" if self.bearer else "ApiKey"} realm="{realm}"'.encode()

    def keep_in(self, State state):
        self.users.keep_in(state)

    def take_keys(self) -> None:
        self.taken = self.users.secrets
        self.names = {digest_of(name, key): name for name, key in self.taken.items()}

    def why(self, Request request):
        if not request.user:
            return "the request has no credentials, or they are not understood or not known"
        return f"{request.user.decode('utf-8', 'replace')!r} is not known, or has shown nothing that is right, or it was not checked"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span key = request.find(self.lower, len(self.lower))
        cdef bytes name
        if self.users.secrets is not self.taken:
            self.take_keys()
        if self.bearer:
            if key.len < 7 or not span_ieq(span_of(key.ptr, 7), b"bearer ", 7):
                return challenge(answer, self.asks)
            key = span_of(key.ptr + 7, key.len - 7)
        if key.len == 0 or key.len > MOST_BYTES:
            return challenge(answer, self.asks)
        name = self.names.get(hashlib.sha256(key.ptr[:key.len]).digest())
        if name is None:
            return challenge(answer, self.asks)
        request.user = name
        if not self.keeps_key:
            request.drop(self.lower, len(self.lower))
        if self.header is not None:
            self.header.put(request, name)
        return PASS
