"""basicAuth: the user that a request names has to have the password that it gives. No I/O.

Passwords are checked by a process of their own, whose queue is bounded: meanwhile the request waits. A pair that was right is
remembered for a while, by a hash of the header under a key of this process. An unknown user costs what a known one costs.
"""

import binascii
import hashlib
import os

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.siphash cimport siphash
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending
from lbcore.middleware.identity cimport IdentityHeader
from lbcore.middleware.users import Users
from lbcore.passwords.checker import Checker
from lbcore.passwords.hashes import kind_of
from lbcore.state.holdings cimport State

cdef enum:
    MOST_BYTES = 8192          # of an Authorization header that is looked at
    MOST_REMEMBERED = 4096     # pairs of one middleware; the oldest one is forgotten
    WAIT_MS = 10000            # for the check of a password

cdef uint64_t REMEMBERED_NS = 60_000_000_000

cdef bytes KEY = os.urandom(16)


@cython.final
cdef class Pair:
    """A user and a password that was right."""

    cdef uint64_t ends_ns      # it is forgotten then
    cdef bytes user
    cdef bytes secret          # that the password had


cdef class Remembered:
    """The pairs of user and password that were right, of one middleware in this worker. It outlives reloads."""

    cdef object __weakref__
    cdef dict pairs            # Pair by digest, in the order in which they came

    def __init__(self):
        self.pairs = {}

    cdef int add(self, bytes digest, bytes user, bytes secret, uint64_t now_ns) except -1:
        cdef Pair pair = Pair.__new__(Pair)
        pair.ends_ns = now_ns + REMEMBERED_NS
        pair.user = user
        pair.secret = secret
        self.pairs.pop(digest, None)           # to the end of the order
        if len(self.pairs) >= MOST_REMEMBERED:
            del self.pairs[next(iter(self.pairs))]
        self.pairs[digest] = pair
        return 0


@cython.final
cdef class Check(Pending):
    """A request that waits for the check of its password."""

    cdef object checker
    cdef object job            # None = it was refused
    cdef object done
    cdef object result         # whether the password is right; None: it is not known
    cdef bytes digest
    cdef bytes user
    cdef bytes secret          # that it is checked against

    cdef int cancel(self) except -1:
        self.checker.forget(self.job, self.done)
        self.done = None
        return 0

    cdef int expire(self) except -1:
        self.checker.forget(self.job, self.done)
        self.done = None
        return Pending.expire(self)

    def take(self, result) -> None:
        """The check is done."""
        self.done = None
        self.result = result
        self.settle()


cdef bytes digest_of(Span header):
    """By which a header is remembered."""
    cdef uint64_t digest[2]
    siphash(<const uint8_t*><const char*>KEY, header.ptr, header.len, digest)
    return (<char*>digest)[:16]


cdef tuple credentials_of(Span header):
    """User and password, or None: no header of the scheme Basic (RFC 7617)."""
    if header.len < 6 or header.len > MOST_BYTES or not span_ieq(span_of(header.ptr, 6), b"basic ", 6):
        return None
    try:
        text = binascii.a2b_base64(header.ptr[6:header.len], strict_mode=True)
    except binascii.Error:
        return None
    user, colon, password = text.partition(b":")
    return (user, password) if colon else None


@cython.final
cdef class BasicAuth(Middleware):
    """A user of the list passes; anybody else is answered with 401, and asked for a password."""

    cdef object users                  # Users
    cdef object taken                  # the secrets of `users` that the next two are made of
    cdef dict secrets                  # those that a password may have, by user
    cdef list decoys                   # the same, for users that there are not
    cdef object checker
    cdef object shed                   # counts a request whose password could not be checked
    cdef Remembered remembered
    cdef bytes challenge
    cdef IdentityHeader header         # for the user's name; None = none
    cdef bint remove_header

    def __init__(self, str name, config):
        self.name = name
        self.users = Users(config.users, config.users_file, 2)
        self.take_users()
        realm = config.realm or "traefik"
        if not realm.isprintable():
            raise ValueError("the realm has control characters")
        self.challenge = f'Basic realm="{realm}"'.encode()
        self.header = IdentityHeader(config.header_field) if config.header_field else None
        self.remove_header = config.remove_header

    def keep_in(self, State state):
        self.checker = state.keep("passwords", Checker)
        self.shed = state.count_shed_password
        self.remembered = state.keep(f"basicAuth|{self.name}", Remembered)
        self.users.keep_in(state)

    def take_users(self) -> None:
        self.taken = self.users.secrets
        self.secrets = {user: secret for user, secret in self.taken.items() if kind_of(secret)}
        self.decoys = list(self.secrets.values())

    cdef bytes decoy(self, bytes user):
        """What the password of an unknown user is checked against, always the same for a name, so that the time of an answer
        says nothing about who is there."""
        cdef bytes digest
        if not self.decoys:
            return None
        digest = hashlib.blake2b(user, key=KEY, digest_size=8).digest()
        return <bytes>self.decoys[int.from_bytes(digest, "little") % len(self.decoys)]

    def why(self, Request request):
        if not request.user:
            return "the request has no credentials, or they are not understood or not known"
        return f"{request.user.decode('utf-8', 'replace')!r} is not known, or has shown nothing that is right, or it was not checked"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span header = request.find(b"authorization", 13)
        cdef bytes digest, user, password, secret
        cdef tuple found
        cdef Pair pair
        cdef Check check
        if self.users.secrets is not self.taken:
            self.take_users()
        request.user = b""
        if header.len == 0 or header.len > MOST_BYTES:
            return self.challenged(answer)
        digest = digest_of(header)
        pair = <Pair>self.remembered.pairs.get(digest)
        if pair is not None:
            if pair.ends_ns > context.now_ns() and self.secrets.get(pair.user) == pair.secret:
                return self.admit(request, pair.user)
            del self.remembered.pairs[digest]
        found = credentials_of(header)
        if found is None:
            return self.challenged(answer)
        user, password = found
        request.user = user
        secret = self.secrets.get(user)
        check = Check.__new__(Check)
        check.user = user if secret is not None else None
        check.secret = secret if secret is not None else self.decoy(user)
        check.digest = digest
        check.checker = self.checker
        check.done = check.take
        if check.secret is None:
            return self.challenged(answer)     # nobody can come in
        check.job = self.checker.check(user, check.secret, password, check.done)
        if check.job is None:
            return self.unavailable(answer)
        context.wait(check, WAIT_MS)
        return WAIT

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Check check = <Check>pending
        if check.expired or check.result is None:
            return self.unavailable(answer)
        if not check.result or check.user is None:
            return self.challenged(answer)
        self.remembered.add(check.digest, check.user, check.secret, context.now_ns())
        return self.admit(request, check.user)

    cdef int admit(self, Request request, bytes user) except -1:
        request.user = user
        if self.header is not None:
            self.header.put(request, user)
        if self.remove_header:
            request.drop(b"authorization", 13)
        return PASS

    cdef int challenged(self, Response answer) except -1:
        return challenge(answer, self.challenge)

    cdef int unavailable(self, Response answer) except -1:
        """503: the password could not be checked."""
        self.shed()
        answer.status = 503
        answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
        answer.text = span_of(b"Service Unavailable", 19)
        return ANSWER


cdef int challenge(Response answer, bytes value) except -1:
    """401, with what the client has to do."""
    answer.status = 401
    answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain", 10))
    answer.append(span_of(b"Www-Authenticate", 16), answer.keep(span_of(value, len(value))))
    answer.text = span_of(b"401 Unauthorized\n", 17)
    return ANSWER
