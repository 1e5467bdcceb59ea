"""The access log of one worker: a line per exchange, in Traefik's common or JSON format. Writes into memory alone.

Lines are handed to the writer, which lives on a thread of its own, in blocks of whole lines.
"""

import json
import time

cimport cython
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcpy
from libc.time cimport time_t, tm

from lbcore.http.buffer cimport Buffer, buffer_len, buffer_release, buffer_reserve
from lbcore.http.head cimport ClientAddress
from lbcore.http.number cimport put_decimal
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.observability.record cimport Record

cdef extern from "<time.h>" nogil:
    time_t time_now "time"(time_t* now)
    tm* gmtime "gmtime_r"(const time_t* when, tm* parts)

cdef enum HeaderMode:
    MODE_DROP = 0
    MODE_KEEP
    MODE_REDACT

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    BLOCK_BYTES = 65536
    FIXED_BYTES = 256          # of a line in the common format, beside what follows from the request and from names
    ESCAPED = 4

cdef bytes REFERER = b"referer"
cdef bytes USER_AGENT = b"user-agent"

MODES = {"drop": MODE_DROP, "keep": MODE_KEEP, "redact": MODE_REDACT}
cdef const char* HEX = b"0123456789abcdef"
cdef const char* MONTHS = b"JanFebMarAprMayJunJulAugSepOctNovDec"
# Fields of the common format, in the order in which they stand in a line.
COMMON_FIELDS = (
    "ClientHost", "ClientUsername", "StartUTC", "RequestMethod", "RequestPath", "RequestProtocol", "DownstreamStatus",
    "DownstreamContentSize", "request_Referer", "request_User-Agent", "RequestCount", "RouterName", "ServiceURL", "Duration",
)

cdef char stamp[32]
cdef int stamp_len = 0
cdef time_t stamp_at = 0


cdef Span timestamp(uint64_t ago_ns) noexcept nogil:
    """That long ago, e.g. `24/Nov/2026:09:00:00 +0000`. Made once a second."""
    global stamp_len, stamp_at
    cdef time_t now = time_now(NULL) - <time_t>(ago_ns // 1000000000)
    cdef tm parts
    if now != stamp_at:
        # UTC, as the name of the field says.
        gmtime(&now, &parts)
        stamp_len = snprintf(stamp, 32, b"%02d/%.3s/%04d:%02d:%02d:%02d +0000", parts.tm_mday, MONTHS + 3 * parts.tm_mon,
                             parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec)
        stamp_at = now
    return span_of(stamp, stamp_len)


cdef inline char* put_text(char* out, const char* text, Py_ssize_t length) noexcept nogil:
    memcpy(out, text, length)
    return out + length


cdef inline char* put_span(char* out, Span span) noexcept nogil:
    return put_text(out, span.ptr, span.len)


cdef char* put_quoted(char* out, Span span) noexcept nogil:
    """Text of a client inside quotes: what could end the quotes or the line is escaped, to ESCAPED bytes for one."""
    cdef unsigned char c
    cdef Py_ssize_t i
    for i in range(span.len):
        c = <unsigned char>span.ptr[i]
        if 32 <= c < 127 and c != c'"' and c != c"\\":
            out[0] = c
            out += 1
        elif c == c'"' or c == c"\\":
            out[0] = c"\\"
            out[1] = c
            out += 2
        else:
            out[0] = c"\\"
            out[1] = c"x"
            out[2] = HEX[c >> 4]
            out[3] = HEX[c & 15]
            out += 4
    return out


cdef Span text_of(str text) except *:
    """A name of the configuration as UTF-8, `-` for none; it lives as long as the name."""
    cdef Py_ssize_t length
    cdef const char* data
    if not text:
        return span_of(b"-", 1)
    data = PyUnicode_AsUTF8AndSize(text, &length)
    return span_of(data, length)


@cython.final
cdef class AccessLog:
    """Settings are those of `config.static.AccessLog`; `writer` is called with blocks of lines, as bytes."""

    def __init__(self, settings, writer):
        self.writer = writer
        self.json = settings.format == "json"
        self.with_traefik_fields = settings.format == "common"
        filters = settings.filters
        table = bytearray(600)
        for first, last in filters.ranges:
            for status in range(first, last + 1):
                table[status] = 1
        self.statuses = bytes(table) if filters.ranges else b""
        self.min_retries = 1 if filters.retry_attempts else 0
        self.min_ns = int(filters.min_duration.total_seconds() * 1e9)
        self.filters = bool(self.statuses or self.min_retries or self.min_ns)
        self.keep_others = settings.fields.default_mode == "keep"
        self.kept = {name.lower(): mode == "keep" for name, mode in settings.fields.names.items()}
        self.with_query = settings.fields.query_parameters.default_mode == "keep"
        self.plain = not self.json and self.keep_others and all(self.kept.values())
        self.header_mode = MODES[settings.fields.headers.default_mode]
        self.header_modes = {name.lower(): MODES[mode] for name, mode in settings.fields.headers.names.items()}
        self.referer_mode = self.header_modes.get("referer", self.header_mode)
        self.agent_mode = self.header_modes.get("user-agent", self.header_mode)

    def __dealloc__(self):
        buffer_release(&self.lines)

    def flush(self) -> None:
        """Hand over what there is."""
        if buffer_len(&self.lines):
            self.writer(self.lines.base[self.lines.start:self.lines.end])
            buffer_release(&self.lines)

    @property
    def pending_bytes(self) -> int:
        return buffer_len(&self.lines)

    cdef bint wanted(self, const Record* record) noexcept:
        """Whether a request passes the filters: any of them lets it through."""
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
        self.count += 1
        if not self.wanted(record):
            return 0
        if self.plain:
            self.note_common(record, request, router, url)
        else:
            self.note_fields(record, request, response, entry_point, router, service, url)
        if buffer_len(&self.lines) >= BLOCK_BYTES:
            self.flush()
        return 0

    cdef Span target_of(self, Request request) noexcept:
        """The request target, without its query if that is not to be logged."""
        cdef Span target = request.head.target
        cdef const char* query = NULL
        if not self.with_query and target.len:
            query = <const char*>memchr(target.ptr, c"?", target.len)
        return span_of(target.ptr, query - target.ptr) if query != NULL else target

    cdef int put(self, Span span) except -1:
        if buffer_reserve(&self.lines, span.len) < 0:
            raise MemoryError
        memcpy(self.lines.base + self.lines.end, span.ptr, span.len)
        self.lines.end += span.len
        return 0

    cdef int note_common(self, const Record* record, Request request, str router, str url) except -1:
        """The common format, without an allocation."""
        cdef const ClientAddress* client = request.head.client
        cdef Span method = request.head.method, target = self.target_of(request), forwarded = span_of(NULL, 0)
        cdef Span referer = self.shown_header(request, REFERER, self.referer_mode)
        cdef Span agent = self.shown_header(request, USER_AGENT, self.agent_mode)
        cdef Span router_text = text_of(router), url_text = text_of(url)
        cdef char* out
        if record.trusted:
            forwarded = request.find(b"x-forwarded-for", 15)     # the client as a trusted proxy before has named it
        if forwarded.len == 0 and client != NULL:
            forwarded = span_of(client.text, client.text_len)
        if buffer_reserve(&self.lines, FIXED_BYTES + router_text.len + url_text.len + ESCAPED * (
                forwarded.len + method.len + target.len + referer.len + agent.len)) < 0:
            raise MemoryError
        out = self.lines.base + self.lines.end
        out = put_quoted(out, forwarded) if forwarded.len else put_text(out, b"-", 1)
        out = put_text(out, b" - - [", 6)
        out = put_span(out, timestamp(record.duration_ns))
        out = put_text(out, b'] "', 3)
        if method.len == 0:            # a head that could not be parsed: nothing of it is known
            out = put_text(out, b"- - -", 5)
        else:
            out = put_quoted(out, method)
            out = put_text(out, b" ", 1)
            out = put_quoted(out, target)
            out = put_text(out, b" HTTP/1.", 8)
            out = put_decimal(out, request.head.minor_version)
        out = put_text(out, b'" ', 2)
        out = put_decimal(out, record.status)
        out = put_text(out, b" ", 1)
        out = put_decimal(out, <Py_ssize_t>record.response_bytes)
        if self.with_traefik_fields:
            out = put_text(out, b' "', 2)
            out = put_quoted(out, referer)
            out = put_text(out, b'" "', 3)
            out = put_quoted(out, agent)
            out = put_text(out, b'" ', 2)
            out = put_decimal(out, <Py_ssize_t>self.count)
            out = put_text(out, b' "', 2)
            out = put_span(out, router_text)
            out = put_text(out, b'" "', 3)
            out = put_span(out, url_text)
            out = put_text(out, b'" ', 2)
            out = put_decimal(out, <Py_ssize_t>(record.duration_ns // 1000000))
            out = put_text(out, b"ms\n", 3)
        else:
            out = put_text(out, b' "-" "-"\n', 9)
        self.lines.end = out - self.lines.base
        return 0

    cdef Span shown_header(self, Request request, bytes name, int mode) noexcept:
        """What a line says of a request header: `-` unless it is kept."""
        cdef Span found
        if mode == MODE_DROP:
            return span_of(b"-", 1)
        found = request.find(name, len(name))
        if found.len == 0:
            return span_of(b"-", 1)
        return span_of(b"REDACTED", 8) if mode == MODE_REDACT else found

    cdef fields_of(self, const Record* record, Request request, str entry_point, str router, str service, str url):
        """All fields by Traefik's names."""
        cdef const ClientAddress* client = request.head.client
        host = client.text[:client.text_len].decode() if client != NULL else ""
        port = client.port if client != NULL else 0
        authority = span_bytes(request.head.authority).decode("latin-1")
        name, colon, request_port = authority.rpartition(":")
        if not colon or not request_port.isdigit():
            name, request_port = authority, "-"
        now = time.time_ns()
        started = now - record.duration_ns
        utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started // 10**9))
        local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started // 10**9))
        fields = {
            "ClientAddr": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "ClientHost": self.forwarded_for(request) if record.trusted else host,
            "ClientPort": str(port),
            "ClientUsername": "-",
            "RequestAddr": authority,
            "RequestHost": name,
            "RequestPort": request_port,
            "RequestMethod": span_bytes(request.head.method).decode("latin-1") or "-",
            "RequestPath": span_bytes(self.target_of(request)).decode("latin-1") or "-",
            "RequestProtocol": f"HTTP/1.{request.head.minor_version}" if request.head.method.len else "-",
            "RequestScheme": "https" if request.head.encrypted else "http",
            "RequestContentSize": record.request_bytes,
            "RequestCount": self.count,
            "DownstreamStatus": record.status,
            "DownstreamContentSize": record.response_bytes,
            "Duration": record.duration_ns,
            "OriginDuration": record.origin_ns,
            "OriginContentSize": record.origin_bytes,
            "OriginStatus": record.origin_status,
            "Overhead": record.duration_ns - record.origin_ns if record.duration_ns > record.origin_ns else 0,
            "RetryAttempts": record.retries,
            "StartUTC": f"{utc}.{started % 10**9:09d}Z",
            "StartLocal": f"{local[:19]}.{started % 10**9:09d}{local[19:22]}:{local[22:]}",
            "entryPointName": entry_point,
        }
        if record.origin_bytes != record.response_bytes and record.response_bytes:
            fields["GzipRatio"] = <double>record.origin_bytes / <double>record.response_bytes
        if router:
            fields["RouterName"] = router
        if service:
            fields["ServiceName"] = service
        if url:
            fields["ServiceURL"] = url
            fields["ServiceAddr"] = url.partition("://")[2].partition("/")[0] or url
        return fields

    def forwarded_for(self, Request request) -> str:
        """The client as a trusted proxy before has named it, else its address."""
        cdef const ClientAddress* client = request.head.client
        cdef Span found = request.find(b"x-forwarded-for", 15)
        if found.len:
            return span_bytes(found).decode("latin-1")
        return client.text[:client.text_len].decode() if client != NULL else ""

    def keeps(self, name: str) -> bool:
        return self.kept.get(name.lower(), self.keep_others)

    cdef int note_fields(self, const Record* record, Request request, Response response, str entry_point, str router,
                         str service, str url) except -1:
        """JSON, or the common format with fields left out."""
        cdef bytes text
        fields = self.fields_of(record, request, entry_point, router, service, url)
        if not self.json:
            text = self.common_of(fields, request)
        else:
            shown = {name: value for name, value in fields.items() if self.keeps(name)}
            self.add_headers(shown, "request_", request.header_list())
            self.add_headers(shown, "downstream_", response.header_list())
            shown["level"] = "info"
            shown["msg"] = ""
            shown["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            text = json.dumps(shown, separators=(",", ":"), sort_keys=True).encode() + b"\n"
        return self.put(span_of(text, len(text)))

    def add_headers(self, shown: dict, prefix: str, headers: list) -> None:
        if self.header_mode == MODE_DROP and not self.header_modes:
            return
        for name, value in headers:
            text = name.decode("latin-1")
            mode = self.header_modes.get(text.lower(), self.header_mode)
            if text and mode != MODE_DROP:
                canonical = "-".join(part.capitalize() for part in text.split("-"))
                shown[prefix + canonical] = "REDACTED" if mode == MODE_REDACT else value.decode("latin-1")

    cdef bytes common_of(self, dict fields, Request request):
        """The common format with `-` for what is dropped."""

        def shown(name):
            return fields[name] if name in fields and self.keeps(name) else "-"

        def header(name):
            mode = self.header_modes.get(name.lower(), self.header_mode)
            found = [v for n, v in request.header_list() if n.lower() == name.lower().encode()]
            if mode == MODE_DROP or not found:
                return "-"
            return "REDACTED" if mode == MODE_REDACT else found[0].decode("latin-1")

        def quoted(value):
            return json.dumps(str(value), ensure_ascii=True)

        stamp = span_bytes(timestamp(fields["Duration"])).decode() if self.keeps("StartUTC") else "-"
        request_line = f"{shown('RequestMethod')} {shown('RequestPath')} {shown('RequestProtocol')}"
        line = f"{shown('ClientHost')} - {shown('ClientUsername')} [{stamp}] {quoted(request_line)} " \
               f"{shown('DownstreamStatus')} {shown('DownstreamContentSize')} {quoted(header('Referer'))} " \
               f"{quoted(header('User-Agent'))}"
        if self.with_traefik_fields:
            duration = f"{fields['Duration'] // 1000000}" if self.keeps("Duration") else "0"
            line += f" {shown('RequestCount')} {quoted(shown('RouterName'))} {quoted(shown('ServiceURL'))} {duration}ms"
        return line.encode() + b"\n"
