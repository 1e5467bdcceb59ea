"""The access log of one worker: a line per exchange, in Traefik's common or JSON format. No I/O.

Lines go into the worker's ring in shared memory, from which `writer` takes them.
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from lbcore.http.head cimport ClientAddress
from lbcore.http.known cimport H_DROPPED
from lbcore.http.number cimport put_decimal
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.observability.fields cimport MODE_DROP, MODE_REDACT, LogFields, is_read, path_room
from lbcore.observability.json_line cimport json_line, shown_fields
from lbcore.observability.log_record cimport put_record
from lbcore.observability.record cimport Record
from lbcore.observability.ring cimport LineWriter
from lbcore.observability.text cimport ESCAPED, put_quoted, put_text, start_time
from lbcore.selection.atomic cimport atomic_add_u64
from lbcore.state.layout cimport RING_RECORDS
from lbcore.state.region cimport Region

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    FIXED_BYTES = 256          # most bytes of a line in the common format, without the parts of the request and names

cdef enum CommonField:         # bits of AccessLog.shown
    SHOW_CLIENT = 1
    SHOW_START = 2
    SHOW_METHOD = 4
    SHOW_PATH = 8
    SHOW_PROTOCOL = 16
    SHOW_STATUS = 32
    SHOW_SIZE = 64
    SHOW_COUNT = 128
    SHOW_ROUTER = 256
    SHOW_URL = 512
    SHOW_DURATION = 1024
    SHOW_USER = 2048

COMMON_FIELDS = {
    "ClientHost": SHOW_CLIENT, "ClientUsername": SHOW_USER, "StartUTC": SHOW_START, "RequestMethod": SHOW_METHOD, "RequestPath": SHOW_PATH,
    "RequestProtocol": SHOW_PROTOCOL, "DownstreamStatus": SHOW_STATUS, "DownstreamContentSize": SHOW_SIZE,
    "RequestCount": SHOW_COUNT, "RouterName": SHOW_ROUTER, "ServiceURL": SHOW_URL, "Duration": SHOW_DURATION,
}


cdef inline char* put_span(char* out, Span span) noexcept nogil:
    memcpy(out, span.ptr, span.len)
    return out + span.len


cdef inline char* put_dash(char* out) noexcept nogil:
    out[0] = c"-"
    return out + 1


cdef Span text_of(str text) except *:
    """A name of the configuration as UTF-8, `-` for none; valid as long as the name."""
    cdef Py_ssize_t length
    cdef const char* data
    if not text:
        return span_of(b"-", 1)
    data = PyUnicode_AsUTF8AndSize(text, &length)
    return span_of(data, length)


cdef Py_ssize_t header_room(Request request, const char* lower, Py_ssize_t length) noexcept nogil:
    """Bytes of all values of a header, joined by commas."""
    cdef Py_ssize_t i, size = 16
    for i in range(request.n_headers):
        if span_ieq(request.headers[i].name, lower, length):
            size += request.headers[i].value.len + 1
    return size


cdef char* put_header(char* out, Request request, const char* lower, Py_ssize_t length, int mode) noexcept nogil:
    """Write the values of a request header, joined by commas, if they are kept; else `-`. Returns the position behind them."""
    cdef Py_ssize_t i
    cdef char* start = out
    cdef bint found = False
    if mode != MODE_DROP:
        for i in range(request.n_headers):
            if request.kinds[i] == H_DROPPED or not span_ieq(request.headers[i].name, lower, length):
                continue
            if mode == MODE_REDACT:
                return put_text(out, b"REDACTED", 8)
            if found:
                out = put_text(out, b",", 1)
            out = put_quoted(out, request.headers[i].value)
            found = True
    return out if out != start else put_dash(out)


@cython.final
cdef class AccessLog:
    """Settings are those of `config.static.AccessLog`; lines go into the ring of `worker` in `region`."""

    def __init__(self, settings, Region region, worker):
        self.region = region
        self.lines = LineWriter(region, worker)
        self.records = LineWriter(region, worker, RING_RECORDS) if settings.otlp is not None else None
        self.writes_lines = settings.writes_lines
        self.json = settings.format == "json"
        self.with_traefik_fields = settings.format == "common"
        filters = settings.filters
        table = bytearray(600)
        for first, last in filters.ranges:
            for status in range(first, min(last, 599) + 1):
                table[status] = 1
        self.statuses = bytes(table) if filters.ranges else b""
        self.min_retries = 1 if filters.retry_attempts else 0
        self.min_ns = int(filters.min_duration.total_seconds() * 1e9)
        self.filters = bool(self.statuses or self.min_retries or self.min_ns)
        self.fields = LogFields(settings)
        for name, bit in COMMON_FIELDS.items():
            if self.fields.keeps(name):
                self.shown |= bit
        self.referer_mode = self.fields.mode_of("referer")
        self.agent_mode = self.fields.mode_of("user-agent")

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not written yet."""
        return self.lines.pending_bytes

    cdef bint is_logged(self, const Record* record) noexcept:
        """Whether a request passes at least one of the filters."""
        if not self.filters:
            return True
        if len(self.statuses) and 0 <= record.status < 600 and (<const char*>self.statuses)[record.status]:
            return True
        if self.min_retries and record.retries >= self.min_retries:
            return True
        return self.min_ns > 0 and record.duration_ns > self.min_ns

    cdef int note(self, Record* record, Request request, Response response, str entry_point, str router, str service,
                  str url) except -1:
        """Add the line of an exchange."""
        cdef uint64_t count = atomic_add_u64(&self.region.header.log_requests, 1) + 1
        cdef bytes text
        cdef char* out
        if not self.is_logged(record):
            return 0
        if self.records is not None:
            put_record(self.records, shown_fields(self.fields, record, request, response, entry_point, router, service, url, count), record)
            if not self.writes_lines:
                return 0
        if not self.json:
            return self.note_common(record, request, router, url, count)
        text = json_line(self.fields, record, request, response, entry_point, router, service, url, count)
        out = self.lines.begin(len(text))
        if out != NULL:
            self.lines.commit(put_text(out, text, len(text)), record.ended_ns, 1)
        return 0

    cdef int note_common(self, const Record* record, Request request, str router, str url, uint64_t count) except -1:
        """The common format, without an allocation."""
        cdef const ClientAddress* client = request.head.client
        cdef Span method = request.head.method, path, forwarded = request.head.first_forwarded, user = span_of(NULL, 0)
        cdef Span router_text = text_of(router), url_text = text_of(url)
        cdef bint headers = is_read(request)
        cdef Py_ssize_t size = FIXED_BYTES + router_text.len + url_text.len
        cdef Py_ssize_t room = path_room(request)
        cdef char* out
        cdef char* aside
        if forwarded.len == 0 and client != NULL:
            forwarded = span_of(client.text, client.text_len)
        if request.user is not None and self.shown & SHOW_USER:
            user = span_of(request.user, len(request.user))
        size += ESCAPED * (user.len + forwarded.len + method.len + room) + room
        if headers:
            size += ESCAPED * (header_room(request, b"referer", 7) + header_room(request, b"user-agent", 10))
        out = self.lines.begin(size)
        if out == NULL:
            return 0
        aside = out + size - room                # scratch space for the path, behind the part of the line that precedes it
        out = put_quoted(out, forwarded) if forwarded.len and self.shown & SHOW_CLIENT else put_dash(out)
        out = put_text(out, b" - ", 3)
        out = put_quoted(out, user) if user.len else put_dash(out)
        out = put_text(out, b" [", 2)
        out = put_span(out, start_time(record.duration_ns)) if self.shown & SHOW_START else put_dash(out)
        out = put_text(out, b'] "', 3)
        out = put_quoted(out, method) if method.len and self.shown & SHOW_METHOD else put_dash(out)
        out = put_text(out, b" ", 1)
        path = self.fields.put_path(request, aside)
        out = put_quoted(out, path) if path.len and self.shown & SHOW_PATH else put_dash(out)
        out = put_text(out, b" ", 1)
        if method.len and self.shown & SHOW_PROTOCOL:
            out = put_text(out, b"HTTP/", 5)
            out = put_decimal(out, request.head.major_version)
            out = put_text(out, b".", 1)
            out = put_decimal(out, request.head.minor_version if request.head.major_version == 1 else 0)
        else:
            out = put_dash(out)
        out = put_text(out, b'" ', 2)
        out = put_decimal(out, record.status) if self.shown & SHOW_STATUS else put_dash(out)
        out = put_text(out, b" ", 1)
        out = put_decimal(out, <Py_ssize_t>record.response_bytes) if self.shown & SHOW_SIZE else put_dash(out)
        out = put_text(out, b' "', 2)
        out = put_header(out, request, b"referer", 7, self.referer_mode if headers else MODE_DROP)
        out = put_text(out, b'" "', 3)
        out = put_header(out, request, b"user-agent", 10, self.agent_mode if headers else MODE_DROP)
        out = put_text(out, b'"', 1)
        if self.with_traefik_fields:
            out = put_text(out, b" ", 1)
            out = put_decimal(out, <Py_ssize_t>count) if self.shown & SHOW_COUNT else put_dash(out)
            out = put_text(out, b' "', 2)
            out = put_span(out, router_text) if self.shown & SHOW_ROUTER else put_dash(out)
            out = put_text(out, b'" "', 3)
            out = put_span(out, url_text) if self.shown & SHOW_URL else put_dash(out)
            out = put_text(out, b'" ', 2)
            out = put_decimal(out, <Py_ssize_t>(record.duration_ns // 1000000) if self.shown & SHOW_DURATION else 0)
            out = put_text(out, b"ms", 2)
        out = put_text(out, b"\n", 1)
        self.lines.commit(out, record.ended_ns, 1)
        return 0
