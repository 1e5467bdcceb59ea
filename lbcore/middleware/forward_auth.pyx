"""forwardAuth: another server is asked about each request, over connections that are kept. No I/O.

An answer of 2xx lets the request pass, with headers of that answer if the configuration says so; any other answer is the client's.
Without an answer the request is refused.
"""

from urllib.parse import urljoin, urlsplit

cimport cython
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE, connection_lists
from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.http.known cimport (
    H_CONTENT_LENGTH, H_DROPPED, H_EXPECT, H_HOST, H_OTHER, H_OWN, H_PROXY_AUTHENTICATE, H_PROXY_AUTHORIZATION,
    H_TRANSFER_ENCODING, H_X_FORWARDED_FOR, H_X_FORWARDED_HOST, H_X_FORWARDED_OTHER, H_X_FORWARDED_PORT, H_X_FORWARDED_PROTO, H_X_FORWARDED_SERVER, H_X_REAL_IP,
    header_kind, is_hop_by_hop, is_managed, name_is,
)
from lbcore.http.render cimport asks_for_websocket, forwarded_port
from lbcore.http.request cimport Request, announced_trailers
from lbcore.http.response cimport Response
from lbcore.http.spare cimport request_take
from lbcore.http.span cimport Span, span_bytes, span_ieq, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Reply
from lbcore.middleware.identity cimport IdentityHeader
from lbcore.middleware.spool cimport RequestSpool, WholeBody
from lbcore.regex.regex cimport Regex

from lbcore.middleware.redirect import in_uri, is_address

cdef enum:
    MOST_TRAILERS = 1000       # that are looked at, of those that a request announces; of one with more, none goes on
    TIMEOUT_MS = 30000         # for an answer, as in Traefik
    MEMORY_BYTES = 1048576     # of a body that waits; the rest lies in a file
    MOST_SAID = 7              # headers by which a question says who asks for what

cdef enum:                     # bits of what a question says already
    REAL_IP_BIT = 1
    PROTO_BIT = 2
    PORT_BIT = 4
    HOST_BIT = 8
    METHOD_BIT = 16
    URI_BIT = 32
    SERVER_BIT = 64

cdef enum Trust:               # in X-Forwarded headers: `trustForwardHeader`
    TRUST_UNSET = 0            # as before it had a meaning: some of them are replaced
    TRUST_NO
    TRUST_YES


cdef bytes canonical(bytes name):
    """The form of a header's name that expressions are written for."""
    return b"-".join([part[:1].upper() + part[1:].lower() for part in name.split(b"-")])


cdef bytes folded(bytes name):
    """What a server may take a name for."""
    return bytes([byte if chr(byte).isalnum() and byte < 128 else 45 for byte in name])


cdef bint is_framing(uint8_t kind) noexcept:
    """Whether a header belongs to a connection, or says where a message ends and to whom it goes."""
    kind &= <uint8_t>(~H_OWN)
    return is_hop_by_hop(kind) or kind in (H_CONTENT_LENGTH, H_TRANSFER_ENCODING, H_EXPECT, H_HOST)


@cython.final
cdef class ForwardAuth(Middleware):
    """Asks one server, which a service of its own stands for."""

    cdef object service
    cdef bytes path
    cdef bytes query
    cdef bint has_query
    cdef str address
    cdef int trust                     # Trust
    cdef frozenset wanted              # names, in lower case, of headers that the server gets; None = all
    cdef list headers                  # IdentityHeader: what its answer says about the client
    cdef Regex pattern                 # of further ones; None = none
    cdef frozenset cookies             # names of those that go on to the client
    cdef bytes user_header             # in lower case; empty = the answer does not name the user
    cdef int64_t limit_bytes
    cdef bint keeps_location
    cdef bint keeps_method
    cdef bint asks_with_body
    cdef int64_t most_bytes            # of a body that the server gets; -1 = a share of the budget of the instance
    cdef bytes sign_in                 # where a client goes that is not known; empty = it gets the 401

    def __init__(self, str name, config):
        self.name = name
        self.guards = True
        if not config.address:
            raise ValueError("forwardAuth has no address")
        parts = urlsplit(config.address)
        self.address = config.address
        self.path = (parts.path or "/").encode()
        self.query = parts.query.encode()
        self.has_query = "?" in config.address
        self.trust = TRUST_UNSET if config.trust_forward_header is None else TRUST_YES if config.trust_forward_header else TRUST_NO
        wanted = [header.lower().encode() for header in config.auth_request_headers]
        self.wanted = frozenset(wanted) if wanted else None
        self.headers = [IdentityHeader(header) for header in config.auth_response_headers if not is_framing(kind_of(header.encode()))]
        self.pattern = Regex(config.auth_response_headers_regex) if config.auth_response_headers_regex else None
        self.cookies = frozenset([cookie.encode() for cookie in config.add_auth_cookies_to_response])
        self.sees_answer = bool(self.cookies)
        self.user_header = config.header_field.lower().encode()
        self.limit_bytes = -1 if config.max_response_body_size is None else config.max_response_body_size
        self.keeps_location = config.preserve_location_header
        self.keeps_method = config.preserve_request_method
        self.asks_with_body = config.forward_body
        self.most_bytes = config.max_body_size
        self.sign_in = config.auth_signin_url.encode()

    def bind(self, find):
        self.service = find("")

    # The question

    def why(self, Request request):
        return f"the answer of {self.address.partition('?')[0]}, or there is none"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        if self.asks_with_body and request.framing.body != BODY_NONE and not request.framing.upgrade:
            return self.take_body(request, answer, context)
        return self.ask(request, answer, context, b"")

    cdef int ask(self, Request request, Response answer, Context context, bytes body) except -1:
        cdef Request question
        try:
            question = self.question(request)
            context.trace_question(question, self.address)
            context.ask(self.service, question, body, self.limit_bytes, TIMEOUT_MS)
        except MemoryError:                    # the memory for bodies has no room for this one, which is counted there
            answer.status = 503
            answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
            answer.text = span_of(b"Service Unavailable", 19)
            return ANSWER
        return WAIT

    cdef int take_body(self, Request request, Response answer, Context context) except -1:
        """Have the body come first. One that is too long is refused with 401, as in Traefik."""
        cdef int64_t most_bytes = self.most_bytes if self.most_bytes >= 0 else context.budget().share()
        cdef RequestSpool spool
        if most_bytes == 0 or (request.framing.body == BODY_LENGTH and request.framing.length > most_bytes):
            answer.status = 401
            return ANSWER
        spool = RequestSpool.__new__(RequestSpool)
        spool.wait(context, MEMORY_BYTES, most_bytes, 401)
        return WAIT

    cdef Request question(self, Request request):
        """The request to the server: the headers of the client's, and what that asks for."""
        cdef Request own = request_take()
        cdef RequestHead* head = &own.head
        cdef ClientAddress nobody
        own.refer_to(request)                  # which waits for the answer, and stays as it is
        if not self.keeps_method:
            head.method = span_of(b"GET", 3)
            own.is_head = False
        head.path = head.first_path = head.route_path = span_of(self.path, len(self.path))
        head.query = span_of(self.query, len(self.query))
        head.has_query = self.has_query
        own.forwarded_host = span_of(NULL, 0)
        memset(&nobody, 0, sizeof(nobody))
        own.set_client(&nobody)                # whom it comes from is said below
        self.say_where(request, own, self.choose_headers(request, own))
        own.framing.te_trailers = own.framing.names_headers = own.framing.expects_continue = False
        return own

    cdef int choose_headers(self, Request request, Request own) except -1:
        """Remove what the server does not get. Returns the kinds of managed headers that stay, as bits."""
        cdef Py_ssize_t i
        cdef uint8_t kind
        cdef Span name
        cdef int bit, present = 0
        cdef bint takes_others = self.wanted is None and self.trust != TRUST_NO and not request.framing.names_headers
        for i in range(own.n_headers):
            kind = own.kinds[i] & <uint8_t>(~H_OWN)
            if kind == H_OTHER and takes_others:
                continue                       # nearly all
            name = own.headers[i].name
            if kind == H_DROPPED:
                continue
            if is_managed(kind):
                if not self.passes_on(kind, name, own.kinds[i] & H_OWN):
                    own.drop_at(i)
                    continue
                bit = self.bit_of(kind, name)
                if own.headers[i].value.len == 0 and bit & (PROTO_BIT | HOST_BIT | METHOD_BIT | URI_BIT):
                    own.drop_at(i)             # removed, or empty: it is said below
                    continue
                present |= bit
                own.kinds[i] |= H_OWN
            elif kind == H_PROXY_AUTHORIZATION or kind == H_PROXY_AUTHENTICATE:
                # These are for the server that is asked (RFC 9110 section 11.7).
                if self.is_wanted(name):
                    own.kinds[i] |= H_OWN
            elif self.trust == TRUST_NO and is_managed(header_kind(name)):
                own.drop_at(i)                 # an alias (`X_Forwarded_For`), which the entry point lets a trusted client send
            elif is_framing(kind) or not self.is_wanted(name) or (request.framing.names_headers and connection_lists(
                    request.headers, request.kinds, request.n_headers, request.headers[i].name)):
                own.drop_at(i)
        return present

    cdef bint is_wanted(self, Span name) except *:
        return self.wanted is None or span_bytes(name).lower() in self.wanted

    cdef bint passes_on(self, uint8_t kind, Span name, bint ours) except *:
        """Whether a managed header goes to the server that the client has set, or another middleware (`ours`)."""
        if self.trust == TRUST_NO or kind == H_X_FORWARDED_FOR or (kind == H_X_FORWARDED_SERVER and not ours):
            return False
        if self.trust == TRUST_YES:
            return self.is_wanted(name) or not span_ieq(name, b"forwarded", 9)
        if kind == H_X_FORWARDED_PROTO or kind == H_X_FORWARDED_HOST or self.bit_of(kind, name) & (METHOD_BIT | URI_BIT):
            return False
        return self.is_wanted(name)

    cdef int bit_of(self, uint8_t kind, Span name) noexcept:
        if kind == H_X_REAL_IP:
            return REAL_IP_BIT
        if kind == H_X_FORWARDED_PROTO:
            return PROTO_BIT
        if kind == H_X_FORWARDED_PORT:
            return PORT_BIT
        if kind == H_X_FORWARDED_HOST:
            return HOST_BIT
        if kind == H_X_FORWARDED_SERVER:
            return SERVER_BIT
        if span_ieq(name, b"x-forwarded-method", 18):
            return METHOD_BIT
        return URI_BIT if span_ieq(name, b"x-forwarded-uri", 15) else 0

    cdef int say_where(self, Request request, Request own, int present) except -1:
        """Say who asks for what. `present`: bits of what is said already. The host is written when the head is."""
        cdef RequestHead* head = &request.head
        cdef bint secure = head.encrypted, asked = self.trust != TRUST_NO
        cdef Span client = span_of(head.client.text, head.client.text_len)
        while own.capacity < own.n_headers + MOST_SAID:
            if own.grow() < 0:
                raise MemoryError
        put(own, H_X_FORWARDED_FOR, span_of(b"X-Forwarded-For", 15), self.chain(request, own, client))
        if not present & METHOD_BIT:
            put(own, H_X_FORWARDED_OTHER, span_of(b"X-Forwarded-Method", 18), head.method)
        if not present & PROTO_BIT:
            if self.trust == TRUST_YES and asks_for_websocket(request):
                put(own, H_X_FORWARDED_PROTO, span_of(b"X-Forwarded-Proto", 17), span_of(b"wss", 3) if secure else span_of(b"ws", 2))
            else:
                put(own, H_X_FORWARDED_PROTO, span_of(b"X-Forwarded-Proto", 17), span_of(b"https", 5) if secure else span_of(b"http", 4))
        if not present & URI_BIT:
            put(own, H_X_FORWARDED_OTHER, span_of(b"X-Forwarded-Uri", 15), asked_for(head, own))
        if not present & REAL_IP_BIT and asked and self.names(b"x-real-ip"):
            put(own, H_X_REAL_IP, span_of(b"X-Real-Ip", 9), client)
        if not present & SERVER_BIT and not (asked and self.names(b"x-forwarded-server")):
            put(own, H_X_FORWARDED_SERVER, span_of(b"X-Forwarded-Server", 18), span_of(NULL, 0))
        if not present & PORT_BIT and asked:
            put(own, H_X_FORWARDED_PORT, span_of(b"X-Forwarded-Port", 16),
                forwarded_port(request, secure) if self.names(b"x-forwarded-port") else span_of(NULL, 0))
        own.head.headers = own.headers
        own.head.n_headers = own.n_headers
        return 0

    cdef bint names(self, bytes name) except *:
        """Whether a header that the entry point has set goes on."""
        return self.trust == TRUST_YES or self.wanted is None or name in self.wanted

    cdef Span chain(self, Request request, Request own, Span client) except *:
        """X-Forwarded-For: the client, behind those that it has named, if it is trusted."""
        cdef Py_ssize_t i
        cdef list found
        cdef bytes text
        if self.trust != TRUST_YES:
            return client
        found = []
        for i in range(request.n_headers):
            if request.kinds[i] & <uint8_t>(~H_OWN) == H_X_FORWARDED_FOR and request.headers[i].value.len:
                found.append(span_bytes(request.headers[i].value))
        if not found:
            return client
        if client.len:
            found.append(span_bytes(client))
        text = b", ".join(found)
        return own.keep(span_of(text, len(text)))

    # The answer

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Reply reply
        cdef int verdict
        cdef bytes body
        if isinstance(pending, WholeBody):
            if pending.expired:
                answer.status = 408
                return ANSWER
            body = (<RequestSpool>context.state()).contents()
            context.keep_state(None)
            return self.ask(request, answer, context, body)
        reply = <Reply>pending
        context.trace_reply(reply)
        verdict = self.heed(reply, request, answer, context)
        reply.release()                        # nothing refers to it any more
        return verdict

    cdef int heed(self, Reply reply, Request request, Response answer, Context context) except -1:
        """Do what the other server has answered. Keeps no reference to its answer. Returns a Verdict."""
        cdef Span user
        if reply.response is None or reply.error >= 0:     # an error of lbcore's own is no answer of the server
            answer.status = 401 if reply.overflowed else 500
            return ANSWER
        if self.user_header:
            user = reply.response.find(self.user_header, len(self.user_header))
            if user.ptr != NULL:
                request.user = span_bytes(user)
        if reply.response.status == 401 and self.sign_in:
            return self.send_away(answer)
        if not 200 <= reply.response.status < 300:
            return self.pass_answer(reply, answer)
        self.take_headers(request, reply.response)
        if self.cookies:
            context.keep_state(cookies_of(reply.response))
        return PASS

    cdef int send_away(self, Response answer) except -1:
        """302 to where the client can say who it is."""
        answer.status = 302
        answer.append(span_of(b"Location", 8), span_of(self.sign_in, len(self.sign_in)))
        return ANSWER

    cdef int pass_answer(self, Reply reply, Response answer) except -1:
        """Have the client get the server's answer, with an address that is right for it: the first one, if there are several."""
        cdef Response found = reply.response
        cdef Py_ssize_t i
        cdef Span value
        cdef bytes location
        cdef bint located = False
        answer.status = found.status
        for i in range(found.n_headers):
            if found.kinds[i] == H_DROPPED or is_framing(found.kinds[i]) or is_of_connection(found, i):
                continue
            value = found.headers[i].value
            if value.len and span_ieq(found.headers[i].name, b"location", 8):
                if located:
                    continue
                located = True
                location = self.leads_to(span_bytes(value))
                if location is None:
                    answer.clear()
                    answer.status = 500
                    return ANSWER
                value = span_of(location, len(location))
            answer.append(answer.keep(found.headers[i].name), answer.keep(value))
        answer.text = answer.keep(reply.body)
        return ANSWER

    cdef bytes leads_to(self, bytes location):
        """Where the client goes: unless it is to stay as it is, as seen from the server that was asked. None for what is no address."""
        if not is_address(location):
            return None
        if not self.keeps_location:
            location = urljoin(self.address, location.decode("latin-1")).encode("latin-1")
        return in_uri(location)

    cdef int take_headers(self, Request request, Response found) except -1:
        """Set the headers that the server answers for; what the client has sent by their names is gone."""
        cdef IdentityHeader header
        cdef Py_ssize_t i, length
        cdef bytes name
        for item in self.headers:
            header = <IdentityHeader>item
            header.remove(request)
            length = len(header.lower)
            for i in range(found.n_headers):
                if found.headers[i].name.len == length and name_is(found.headers[i].name, header.lower):
                    header.add(request, request.keep(found.headers[i].value))
        if self.pattern is None:
            return 0
        for i in range(request.n_headers):
            if request.kinds[i] != H_DROPPED and not is_framing(request.kinds[i]):
                name = span_bytes(request.headers[i].name)
                if self.matches(name) or self.matches(folded(name)):
                    request.drop_at(i)
        self.announce_less(request)
        for i in range(found.n_headers):
            if found.kinds[i] == H_DROPPED or is_framing(found.kinds[i]) or is_of_connection(found, i):
                continue
            if self.matches(span_bytes(found.headers[i].name)):
                request.add_own(request.keep(found.headers[i].name), request.keep(found.headers[i].value))
        return 0

    cdef int announce_less(self, Request request) except -1:
        """Let no trailer go on that has such a name: those alone do that are announced."""
        cdef list names = announced_trailers(request)
        cdef bytes text
        if not names:
            return 0
        text = b"" if len(names) > MOST_TRAILERS else b", ".join([name for name in names if not self.matches(name)])
        request.drop(b"trailer", 7)
        if text:
            request.add_header(span_of(b"Trailer", 7), request.keep(span_of(text, len(text))))
        return 0

    cdef bint matches(self, bytes name) except *:
        name = canonical(name)
        return self.pattern.search(span_of(name, len(name)))

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        """Give the client the cookies of the server that was asked, in place of those of the same name."""
        cdef list cookies = <list>context.state()
        cdef Py_ssize_t i
        cdef bytes value
        if not cookies:
            return PASS
        for i in range(answer.n_headers):
            if answer.kinds[i] == H_OTHER and span_ieq(answer.headers[i].name, b"set-cookie", 10) \
                    and cookie_name(span_bytes(answer.headers[i].value)) in self.cookies:
                answer.drop_at(i)
        for item in cookies:
            value = <bytes>item
            if cookie_name(value) in self.cookies:
                answer.append(span_of(b"Set-Cookie", 10), answer.keep(span_of(value, len(value))))
        return PASS


cdef bint is_of_connection(Response found, Py_ssize_t i) noexcept:
    """Whether the header `Connection` of an answer names another one of its headers."""
    return found.framing.names_headers and connection_lists(found.headers, found.kinds, found.n_headers, found.headers[i].name)


cdef uint8_t kind_of(bytes name) noexcept:
    return header_kind(span_of(name, len(name)))


cdef inline void put(Request own, uint8_t kind, Span name, Span value) noexcept:
    """Set a header of that kind, for which there is room, and whose name is a constant. An empty value keeps it from being written, any
    other one has to stay valid as long as the request."""
    cdef Py_ssize_t n = own.n_headers
    own.headers[n].name = name
    own.headers[n].value = value
    own.kinds[n] = kind | H_OWN
    own.n_headers = n + 1


cdef Span asked_for(const RequestHead* head, Request own) except *:
    """Path and query."""
    cdef char* text
    if not head.has_query:
        return head.path
    text = own.alloc(head.path.len + 1 + head.query.len)
    memcpy(text, head.path.ptr, head.path.len)
    text[head.path.len] = c"?"
    if head.query.len:
        memcpy(text + head.path.len + 1, head.query.ptr, head.query.len)
    return span_of(text, head.path.len + 1 + head.query.len)


cdef list cookies_of(Response found):
    """The values of Set-Cookie."""
    cdef Py_ssize_t i
    return [span_bytes(found.headers[i].value) for i in range(found.n_headers)
            if found.kinds[i] == H_OTHER and span_ieq(found.headers[i].name, b"set-cookie", 10)]


cdef bytes cookie_name(bytes value):
    return value.partition(b"=")[0].strip()
