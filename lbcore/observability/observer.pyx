"""The observer of the exchanges of an entry point: counts them, and makes their lines of the access log. No I/O."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport atoi
from libc.string cimport memcmp

from lbcore.http.fields cimport grpc_status_of, is_grpc
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.observability.access_log cimport AccessLog
from lbcore.observability.header_labels cimport HeaderLabels
from lbcore.observability.record cimport NO_SLOT, Record
from lbcore.observability.series cimport (
    PROTOCOL_GRPC, PROTOCOL_GRPC_WEB, PROTOCOL_HTTP, PROTOCOL_SSE, SERIES_ENTRY_POINT, SERIES_ROUTER, SERIES_SERVICE, Series, series_key, suite_index,
    tls_series_key,
)

cdef enum:
    UNKNOWN = 2                # of the statuses of gRPC: the answer has none

cdef const char* NAMES = b"GET    HEAD   POST   PUT    DELETE CONNECTOPTIONSTRACE  PATCH  "


cdef int method_index(const char* method, Py_ssize_t length) noexcept nogil:
    """The index of a method in METHODS; 0 for others."""
    cdef int i
    if length == 0 or length > 7:
        return 0
    for i in range(9):
        if memcmp(NAMES + 7 * i, method, length) == 0 and (length == 7 or NAMES[7 * i + length] == c" "):
            return i + 1
    return 0


cdef int protocol_of(Request request) noexcept:
    """The protocol of a request that is no WebSocket. The first one that fits, as in Traefik."""
    cdef Span value = request.find(b"accept", 6)
    if value.len == 17 and span_ieq(value, b"text/event-stream", 17):
        return PROTOCOL_SSE
    if not is_grpc(request):
        return PROTOCOL_HTTP
    value = request.find(b"content-type", 12)
    if request.from_grpc_web or (value.len >= 20 and span_ieq(span_of(value.ptr, 20), b"application/grpc-web", 20)):
        return PROTOCOL_GRPC_WEB
    return PROTOCOL_GRPC


cdef int grpc_code(const Record* record, Request request, Response response) noexcept:
    """The status of gRPC of an answer: its server's, or what lbcore says in a server's place."""
    cdef Span text = span_of(NULL, 0)
    cdef Py_ssize_t i
    cdef int code = 0
    if record.origin_status:
        if response.trailers is not None:
            text = response.trailers.find(b"grpc-status", 11)
        if text.len == 0:
            text = response.find(b"grpc-status", 11)
    elif request.head.major_version > 1 and record.status != 200:
        return atoi(grpc_status_of(record.status))
    if not 1 <= text.len <= 3:
        return UNKNOWN
    for i in range(text.len):
        if not c"0" <= text.ptr[i] <= c"9":
            return UNKNOWN
        code = code * 10 + text.ptr[i] - c"0"
    return code


@cython.final
cdef class Observer:
    """There is one per entry point and worker.

    by_*           the labels by which requests are counted.
    tells_attempts  the exchange logs each request that a server has failed, or that was sent more than once, with the causes.
    labels         counts requests by values of their headers, too.
    """

    def __init__(self, Series series=None, AccessLog log=None, by_entry_point=True, by_router=False, by_service=True,
                 tells_attempts=False, HeaderLabels labels=None):
        self.tells_attempts = tells_attempts
        self.series = series
        self.labels = labels
        self.log = log
        self.by_entry_point = by_entry_point
        self.by_router = by_router
        self.by_service = by_service

    def tell_attempts(self, bint told) -> None:
        """Have `tells_attempts` be other than at first."""
        self.tells_attempts = told

    cdef int note(self, Record* record, Request request, Response response, str entry_point, str router, str service,
                  str url) except -1:
        """Count and log an exchange that has ended."""
        record.method = method_index(request.head.method.ptr, request.head.method.len)
        if self.series is not None and record.counted:
            record.code = record.status
            if record.protocol == 0:
                record.protocol = protocol_of(request)
            if record.protocol == PROTOCOL_GRPC or record.protocol == PROTOCOL_GRPC_WEB:
                record.code = grpc_code(record, request, response)
            if self.labels is not None:
                self.labels.read(request, record.forward)
            if self.by_entry_point:
                self.count(record, request, SERIES_ENTRY_POINT, record.entry_point)
            if self.by_router and record.router != NO_SLOT:
                self.count(record, request, SERIES_ROUTER, record.router)
            if request.from_grpc_web:
                record.protocol = PROTOCOL_GRPC      # of the request that its service has got
            if self.by_service and record.service != NO_SLOT:
                self.count(record, request, SERIES_SERVICE, record.service)
        if self.log is not None and record.logged:
            self.log.note(record, request, response, entry_point, router, service, url)
        return 0

    cdef void note_router(self, const Record* record, Request request, uint32_t slot) noexcept:
        """Count an exchange, which was the last one noted, for a router above its own."""
        if self.series is not None and record.counted and self.by_router and slot != NO_SLOT:
            self.count(record, request, SERIES_ROUTER, slot)

    cdef void count(self, const Record* record, Request request, int kind, uint32_t index) noexcept:
        cdef const char* version = request.head.tls_version
        cdef uint64_t key = series_key(kind, index, record.code, record.method, record.protocol)
        self.series.add(key, record.duration_ns, record.request_bytes, record.response_bytes)
        if self.labels is not None:
            self.labels.add(key)
        if version != NULL:
            self.series.add(tls_series_key(kind, index, version[2] - c"0", suite_index(request.head.tls_cipher)), 0, 0, 0)
