"""ipAllowList and ipWhiteList: only requests from some networks pass. No I/O."""

cimport cython
from libc.stdint cimport uint8_t

from lbcore.http.networks cimport Networks
from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware
from lbcore.middleware.source cimport Strategy

NO_BODY = frozenset({204, 205, 304})


@cython.final
cdef class AllowList(Middleware):
    """An address in one of the networks passes; any other, and none at all, is answered with the status and its text."""

    cdef Networks allowed
    cdef Strategy strategy
    cdef int status
    cdef Span text             # a constant

    def __init__(self, str name, config):
        self.name = name
        self.guards = True
        if not config.source_range:
            raise ValueError("sourceRange is empty, IPAllowLister not created")
        self.allowed = Networks(config.source_range)
        self.strategy = Strategy(config.ip_strategy)
        self.status = getattr(config, "reject_status_code", 0) or 403
        if self.status not in NO_BODY:
            self.text = status_text(self.status)

    def why(self, Request request):
        cdef bytes address = self.strategy.name_of(request)
        if not address:
            return "there is no address that counts as the client's"
        return f"{address.decode('latin-1')} is in none of its networks"

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef uint8_t ip[16]
        cdef Span text
        if self.strategy.find(request, ip, &text) and self.allowed.hold_ip(ip):
            return PASS
        answer.status = self.status
        answer.text = self.text
        return ANSWER
