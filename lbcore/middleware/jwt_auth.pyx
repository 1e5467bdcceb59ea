"""jwtAuth: a request has to bring a signed token. No I/O.

The keys are those of the configuration, or of a server that is asked for them: when they are needed first, when they are too old, and
when a token names one that is not among them. While that server is away the keys that are known stay in use. A token that was
accepted is remembered for a while, as a hash under a key of this process, and as long as the keys stay the same.
"""

import hashlib
import os
import time
from urllib.parse import urlsplit

cimport cython
from libc.string cimport memset

from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_ieq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Reply
from lbcore.middleware.identity cimport IdentityHeader
from lbcore.middleware.tokens import Refused, UnknownKey, Verifier, claim, keys_of_set, text_of
from lbcore.state.holdings cimport State

cdef enum:
    MOST_BYTES = 16384         # of a token
    MOST_REMEMBERED = 4096     # tokens of one middleware; the oldest one is forgotten
    REMEMBERED_S = 60
    MOST_KEY_BYTES = 1 << 20   # of an answer with keys
    ASK_MS = 10000             # for an answer with keys
    REST_S = 10                # after an answer, or none, until the keys are asked for again because a token names another one
    REST_WITHOUT_S = 1         # after no answer, while no keys are known

cdef bytes KEY = os.urandom(64)
QUESTION = b"GET %s HTTP/1.1\r\nHost: keys\r\nAccept: application/json\r\n\r\n"


cdef class Keys:
    """The keys of a server, and the tokens that they have verified, in this worker. It outlives reloads."""

    cdef object __weakref__
    cdef list known                    # Keys of tokens; None = none have come yet
    cdef double fresh_until            # monotonic, s
    cdef double asked_until            # a question is under way, until then at most
    cdef double rests_until            # no question is asked before
    cdef dict tokens                   # by digest: (end, user, values of headers)

    def __init__(self):
        self.tokens = {}

    cdef int remember(self, bytes digest, double until, bytes user, list values) except -1:
        if len(self.tokens) >= MOST_REMEMBERED:
            del self.tokens[next(iter(self.tokens))]
        self.tokens[digest] = (until, user, values)
        return 0


@cython.final
cdef class JwtAuth(Middleware):
    """A token that is accepted passes; any other request is answered with 401, and with 503 while there are no keys."""

    cdef object config
    cdef object verifier               # Verifier
    cdef object service                # that has the keys; None = the configuration has them
    cdef bytes question
    cdef Keys keys
    cdef double cache_s
    cdef bytes lower                   # name of the header with the token
    cdef bint bearer                   # it is Authorization
    cdef bint remove_header
    cdef list headers                  # IdentityHeaders for claims
    cdef bytes realm

    def __init__(self, str name, config):
        self.name = name
        self.config = config
        self.verifier = Verifier(config)
        self.cache_s = config.cache_for.total_seconds()
        self.lower = (config.header_name or "Authorization").lower().encode()
        self.bearer = self.lower == b"authorization"
        self.remove_header = config.remove_header
        self.headers = [IdentityHeader(header) for header in config.claims_to_headers.values()]
        realm = config.realm or "lbcore"
        if not realm.isprintable() or '"' in realm:
            raise ValueError("the realm has quotes or control characters")
        self.realm = realm.encode()
        parts = urlsplit(config.jwks_url)
        self.question = (parts.path or "/").encode() + (b"?" + parts.query.encode() if parts.query else b"")

    def bind(self, find):
        if self.config.jwks_url:
            self.service = find("")

    def keep_in(self, State state):
        # The options are part of the identity: what was accepted by others says nothing.
        options = hashlib.blake2b(self.config.model_dump_json().encode(), digest_size=16).hexdigest()
        self.keys = state.keep(f"jwtAuth|{self.name}|{options}", Keys)
        if self.keys.known is not None:
            self.verifier.keys = self.keys.known

    def why(self, Request request):
        if self.service is not None and self.keys.known is None:
            return "the keys of tokens are not known yet"
        return "there is no token, or it is not accepted"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span token = self.token_of(request)
        cdef double now
        if token.len == 0 or token.len > MOST_BYTES:
            return self.refuse(answer, None)
        now = time.monotonic()
        if self.service is not None and now >= self.keys.fresh_until and self.may_ask(now):
            return self.ask(context, now)
        return self.decide(request, answer, context, token, now)

    cdef bint may_ask(self, double now) noexcept:
        """Whether the server may be asked: while no keys are known by each request, then by one at a time."""
        return now >= self.keys.rests_until and (self.keys.known is None or now >= self.keys.asked_until)

    cdef Span token_of(self, Request request) noexcept:
        cdef Span found = request.find(self.lower, len(self.lower))
        if not self.bearer or found.len == 0:
            return found
        if found.len > 7 and span_ieq(span_of(found.ptr, 7), b"bearer ", 7):
            return span_of(found.ptr + 7, found.len - 7)
        return span_of(NULL, 0)

    cdef int ask(self, Context context, double now) except -1:
        """Have the request wait for the keys."""
        cdef Request own = Request()
        cdef ClientAddress nobody
        own.parse_bytes(QUESTION % self.question)
        memset(&nobody, 0, sizeof(nobody))
        own.set_client(&nobody)
        for name in (b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-Host", b"X-Forwarded-Server"):
            own.add_own(span_of(<const char*>name, len(name)), span_of(NULL, 0))     # it is of nobody's
        self.keys.asked_until = now + ASK_MS / 1000
        context.ask(self.service, own, b"", MOST_KEY_BYTES, ASK_MS)
        return WAIT

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Reply reply = <Reply>pending
        cdef double now = time.monotonic()
        self.keys.asked_until = 0
        self.keys.rests_until = now + (REST_WITHOUT_S if self.keys.known is None else REST_S)
        if reply.response is not None and reply.response.status == 200:
            try:
                self.take_keys(keys_of_set(span_bytes(reply.body)), now)
            except ValueError:
                pass                           # what is known stays
        return self.decide(request, answer, context, self.token_of(request), now)

    cdef int take_keys(self, list found, double now) except -1:
        self.keys.known = self.verifier.keys = found
        self.keys.fresh_until = now + self.cache_s
        self.keys.rests_until = now + REST_S
        self.keys.tokens.clear()               # one of the former keys may be revoked
        return 0

    cdef int decide(self, Request request, Response answer, Context context, Span token, double now) except -1:
        cdef bytes text = span_bytes(token), digest, user
        cdef tuple found
        cdef dict claims
        if self.service is not None and self.keys.known is None:
            answer.status = 503
            answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
            answer.text = span_of(b"Service Unavailable", 19)
            return ANSWER
        digest = hashlib.blake2b(text, key=KEY, digest_size=32).digest()
        found = self.keys.tokens.get(digest)
        if found is not None:
            if now < found[0]:
                return self.admit(request, <bytes>found[1], <list>found[2])
            del self.keys.tokens[digest]
        self.verifier.keys = self.keys.known if self.service is not None else self.verifier.keys
        try:
            claims = self.verifier.claims_of(text.decode("latin-1"))
        except UnknownKey:
            if self.service is not None and self.may_ask(now):
                return self.ask(context, now)
            return self.refuse(answer, b"invalid_token")
        except Refused:
            return self.refuse(answer, b"invalid_token")
        user = (text_of(claim(claims, self.config.user_claim)) or "").encode("utf-8", "replace")
        values = list(self.verifier.headers_of(claims).values())
        left = int(claims["exp"]) + self.config.leeway.total_seconds() - time.time()
        self.keys.remember(digest, now + min(<double>REMEMBERED_S, <double>left), user, values)
        return self.admit(request, user, values)

    cdef int admit(self, Request request, bytes user, list values) except -1:
        cdef IdentityHeader header
        cdef Py_ssize_t i
        request.user = user
        if self.remove_header:
            request.drop(self.lower, len(self.lower))
        for i in range(len(self.headers)):
            header = <IdentityHeader>self.headers[i]
            header.remove(request)
            if values[i]:
                header.put(request, <bytes>values[i])
        return PASS

    cdef int refuse(self, Response answer, bytes error) except -1:
        """401, with what RFC 6750 section 3 says of the reason."""
        cdef bytes value = b'Bearer realm="%s"' % self.realm
        if error is not None:
            value += b', error="%s"' % error
        answer.status = 401
        answer.append(span_of(b"Content-Type", 12), span_of(b"text/plain", 10))
        answer.append(span_of(b"Www-Authenticate", 16), answer.keep(span_of(value, len(value))))
        answer.text = span_of(b"401 Unauthorized\n", 17)
        return ANSWER
