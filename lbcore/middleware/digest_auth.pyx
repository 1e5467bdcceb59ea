"""digestAuth: a request shows that its user knows the password, without sending it (RFC 2617, MD5 with qop=auth). No I/O.

A nonce is valid in every worker of the instance, for a while: it says when it was made, and has a mark that only the instance can
make. Each use of it has a higher count than the one before, over all workers; that is kept for nonces of known users alone.
"""

import hashlib
import hmac
import os
import re
import time

cimport cython
from libc.stdint cimport int64_t, uint8_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes
from lbcore.middleware.base cimport PASS, Context, Middleware
from lbcore.middleware.basic_auth cimport challenge
from lbcore.middleware.identity cimport IdentityHeader
from lbcore.middleware.users import Users
from lbcore.state.holdings cimport Group, State
from lbcore.state.layout cimport KeyedRow

cdef enum:
    MOST_BYTES = 8192          # of an Authorization header that is looked at
    LIFE_S = 300               # of a nonce

PARAMETER = re.compile(rb'[ \t,]*([A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))[ \t]*(?=,|$)', re.DOTALL)
NONCE = re.compile(rb"[0-9a-f]{64}")
COUNT = re.compile(rb"[0-9a-fA-F]{1,16}")
STALE = b", stale=true"


def parameters_of(bytes header):
    """The parameters of an Authorization header, names in lower case, or None if it is none of this scheme, or names one twice."""
    if not header[:7].lower() == b"digest ":
        return None
    found = {}
    at = 7
    while at < len(header):
        part = PARAMETER.match(header, at)
        if part is None:
            return found if not header[at:].strip(b" \t,") else None
        name = part[1].lower()
        if name in found:
            return None
        found[name] = re.sub(rb"\\(.)", rb"\1", part[2], flags=re.DOTALL) if part[2] is not None else part[3]
        at = part.end()
    return found


cdef bytes md5(bytes text):
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode()


@cython.final
cdef class DigestAuth(Middleware):
    """A user of the list passes; anybody else is answered with 401 and a nonce."""

    cdef object users                  # Users
    cdef bytes realm
    cdef bytes key                     # of the marks of nonces, the same in all workers
    cdef bytes opaque
    cdef Group group                   # counts of nonces
    cdef IdentityHeader header         # for the user's name; None = none
    cdef bint remove_header

    def __init__(self, str name, config):
        self.name = name
        self.users = Users(config.users, config.users_file, 3, least=0)
        realm = config.realm or "traefik"
        if not realm.isprintable() or '"' in realm:
            raise ValueError("the realm has quotes or control characters")
        self.realm = realm.encode()
        self.header = IdentityHeader(config.header_field) if config.header_field else None
        self.remove_header = config.remove_header

    def keep_in(self, State state):
        self.key = hashlib.blake2b(f"digestAuth|{self.name}".encode(), key=state.secret, digest_size=32).digest()
        self.opaque = hashlib.blake2b(b"opaque", key=self.key, digest_size=12).hexdigest().encode()
        self.group = state.group(f"digestAuth|{self.name}")
        self.users.keep_in(state)

    def why(self, Request request):
        if not request.user:
            return "the request has no credentials, or they are not understood or not known"
        return f"{request.user.decode('utf-8', 'replace')!r} is not known, or has shown nothing that is right, or it was not checked"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span header = request.find(b"authorization", 13)
        cdef dict given = None
        cdef bytes user
        if header.len and header.len <= MOST_BYTES:
            given = parameters_of(span_bytes(header))
        user = given.get(b"username", b"") if given else b""
        if user:
            request.user = user
        if not user or not self.is_right(request, user, given):
            return self.ask(answer, b"")
        if not self.is_fresh(given[b"nonce"], given[b"nc"]):
            return self.ask(answer, STALE)
        if self.header is not None:
            self.header.put(request, user)
        if self.remove_header:
            request.drop(b"authorization", 13)
        return PASS

    cdef bint is_right(self, Request request, bytes user, dict given) except *:
        """Whether the response is that of the user's password. An unknown user costs what a known one costs."""
        cdef bytes uri = given.get(b"uri", b""), secret = self.users.secrets.get(user + b":" + self.realm), first, second
        if given.get(b"algorithm", b"MD5") != b"MD5" or given.get(b"qop") != b"auth" or given.get(b"opaque") != self.opaque \
                or not NONCE.fullmatch(given.get(b"nonce", b"")) or not COUNT.fullmatch(given.get(b"nc", b"")) \
                or not self.is_of(request, uri):
            return False
        first = secret if secret is not None else md5(self.key)
        second = md5(span_bytes(request.head.method) + b":" + uri)
        wanted = md5(b":".join((first, given[b"nonce"], given[b"nc"], given.get(b"cnonce", b""), b"auth", second)))
        return hmac.compare_digest(wanted, given.get(b"response", b"")) and secret is not None

    cdef bint is_of(self, Request request, bytes uri) except *:
        """Whether a digest is for this request: for what the client has asked for, or, as some do it, for that without its query."""
        cdef bytes target = span_bytes(request.head.target)
        return len(uri) > 0 and (uri == target or uri == target.partition(b"?")[0])

    cdef bint is_fresh(self, bytes nonce, bytes count) except *:
        """Whether a nonce is one of this instance, not too old, and its count a new one; which is the highest then."""
        cdef bytes raw = bytes.fromhex(nonce.decode()), digest
        cdef int64_t number = min(int(count, 16), (1 << 62) - 1)
        cdef int64_t age
        cdef KeyedRow* row
        cdef bint locked, fresh = False
        if not hmac.compare_digest(raw[16:], self.mark(raw[:16])):
            return False
        age = <int64_t>time.time() - <int64_t>int.from_bytes(raw[:8], "big")
        if not 0 <= age <= LIFE_S or number < 1:
            return False
        digest = hashlib.blake2b(raw, digest_size=16).digest()
        locked = self.group.table.lock()
        row = self.group.take(<const uint8_t*><const char*>digest, time.monotonic_ns())
        if row != NULL and row.value < number:
            row.value = number
            fresh = True
        self.group.table.unlock(locked)
        return fresh

    cdef bytes mark(self, bytes raw):
        return hashlib.blake2b(raw, key=self.key, digest_size=16).digest()

    cdef int ask(self, Response answer, bytes more) except -1:
        cdef bytes raw = int(time.time()).to_bytes(8, "big") + os.urandom(8)
        cdef bytes nonce = (raw + self.mark(raw)).hex().encode()
        return challenge(answer, b'Digest realm="%s", nonce="%s", opaque="%s", algorithm=MD5, qop="auth"%s'
                         % (self.realm, nonce, self.opaque, more))
