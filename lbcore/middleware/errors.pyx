"""errors: the page of a service in place of an answer with one of some statuses. No I/O."""

from urllib.parse import quote_plus

cimport cython

from lbcore.http.known cimport H_CONTENT_LENGTH, H_DROPPED, H_HOST, is_hop_by_hop
from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Reply
from lbcore.middleware.redirect cimport came_encrypted

from lbcore.config.units import status_ranges
from lbcore.http.path import normalise

# What lbcore says about a client in requests to servers. An empty one keeps it from being written.
cdef tuple FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-forwarded-server", b"x-real-ip")

cdef enum:
    LONGEST_PAGE = 4194304     # bytes; a longer one is not sent
    TIMEOUT_MS = 60000         # for the whole page


@cython.final
cdef class Errors(Middleware):
    """The `errors` middleware of Traefik. If the page cannot be had the client gets its status, and the text of 502."""

    cdef list statuses                 # (first, last)
    cdef list rewrites                 # (first, last, status)
    cdef str service_name
    cdef object service
    cdef str query
    cdef frozenset headers             # lower-case names; None = all

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = True
        self.statuses = status_ranges(config.status)
        self.rewrites = []
        for text, status in config.status_rewrites.items():
            if not 200 <= status <= 599:
                raise ValueError(f"statusRewrites: {status} is not the status of an answer")
            self.rewrites += [(first, last, status) for first, last in status_ranges([text])]
        self.service_name = config.service
        self.query = "/" + config.query.removeprefix("/")
        self.headers = None
        if config.error_request_headers is not None:
            self.headers = frozenset(header.lower().encode() for header in config.error_request_headers)
        self.request_line(b"http://h/", 500, 500)       # raises ValueError for a query that is none

    def bind(self, find):
        if not self.service_name:
            raise ValueError("it names no service that has the pages")
        self.service = find(self.service_name if "@" in self.service_name else f"{self.service_name}@{self.name.rpartition('@')[2]}")

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef int status = answer.status
        if status < 200 or not self.replaces(status):
            return PASS
        context.discard_answer()
        context.ask(self.service, self.page_request(request, status), b"", LONGEST_PAGE, TIMEOUT_MS)
        return WAIT

    cdef bint replaces(self, int status) noexcept:
        for first, last in self.statuses:
            if <int>first <= status <= <int>last:
                return True
        return False

    cdef int rewritten(self, int status) except -1:
        for first, last, other in self.rewrites:
            if <int>first <= status <= <int>last:
                return other
        return status

    def request_line(self, bytes url, int status, int original) -> tuple:
        """Path and query (None without one) of the page. Raises ValueError."""
        text = self.query.replace("{status}", str(status)).replace("{originalStatus}", str(original))
        text = text.replace("{url}", quote_plus(url)).replace(" ", "%20")
        path, _, query = normalise(text.partition("#")[0].encode())
        return path, query

    cdef Request page_request(self, Request request, int status):
        """The request for the page: what the client has sent, to another path, by GET and without its body."""
        cdef Request page = Request()
        cdef bytes path, query
        cdef Py_ssize_t i
        url = b"http%s://%s%s" % (b"s" if came_encrypted(request) else b"", span_bytes(request.present_host()),
                                 span_bytes(request.head.path))
        if request.head.query.len:
            url += b"?" + span_bytes(request.head.query)
        path, query = self.request_line(url, self.rewritten(status), status)
        page.copy(request)
        page.head.method = span_of(b"GET", 3)
        page.is_head = False
        page.head.path = page.head.route_path = page.keep(span_of(path, len(path)))
        page.head.has_query = query is not None
        page.head.query = page.keep(span_of(query, len(query))) if query else span_of(NULL, 0)
        if self.headers is not None:
            for i in range(page.n_headers):
                if page.kinds[i] != H_HOST and span_bytes(page.headers[i].name).lower() not in self.headers:
                    page.drop_at(i)
            for header in FORWARDED:
                if <bytes>header not in self.headers:
                    page.add_own(span_of(<bytes>header, len(<bytes>header)), span_of(NULL, 0))
        return page

    cdef int on_response_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef Reply reply = <Reply>pending
        cdef Response page = reply.response
        cdef int status = self.rewritten(answer.status)
        cdef Py_ssize_t i
        answer.clear()
        answer.status = status
        if page is None:
            answer.text = status_text(502)
            return ANSWER
        context.keep_state(reply)              # has the bytes of the page
        for i in range(page.n_headers):
            if page.kinds[i] not in (H_DROPPED, H_CONTENT_LENGTH) and not is_hop_by_hop(page.kinds[i]):
                answer.append(page.headers[i].name, page.headers[i].value)
        answer.text = reply.body
        return ANSWER
