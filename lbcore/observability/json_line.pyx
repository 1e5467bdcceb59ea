"""Lines of the access log in Traefik's JSON format: fields, and the headers that are kept. No I/O."""

import codecs
import json
import time

from libc.stdint cimport uint64_t
from libc.string cimport memset

from lbcore.http.buffer cimport Buffer, buffer_release
from lbcore.http.framing cimport connection_lists, field_lists
from lbcore.http.head cimport ClientAddress
from lbcore.http.known cimport (
    H_CONNECTION, H_CONTENT_LENGTH, H_DROPPED, H_HOST, H_HTTP2_SETTINGS, H_OTHER, H_OWN, H_TRAILER, H_TRANSFER_ENCODING, H_UPGRADE,
    H_X_FORWARDED_SERVER, is_hop_by_hop, is_managed,
)
from lbcore.http.message cimport Message
from lbcore.http.render cimport render_forwarded, says_nothing
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.observability.fields cimport MODE_DROP, MODE_REDACT, LogFields, is_read, path_room
from lbcore.observability.record cimport Record

# As in Go's encoder, each byte that is not UTF-8 becomes U+FFFD.
codecs.register_error("lbcore.each", lambda error: ("\ufffd" * (error.end - error.start), error.end))


cdef inline str text_of(Span span):
    return span_bytes(span).decode("utf-8", "lbcore.each")


cdef str canonical(str name):
    """The canonical form of a header's name, as in Go."""
    return "-".join([part.capitalize() for part in name.split("-")])


cdef class Headers:
    """The logged headers of one message, by name; several values are joined by commas."""

    cdef LogFields log
    cdef str prefix
    cdef dict found

    def __cinit__(self, LogFields log, str prefix):
        self.log = log
        self.prefix = prefix
        self.found = {}

    cdef int add(self, Span name, Span value) except -1:
        cdef str key = text_of(name)
        cdef int mode = self.log.mode_of(key.lower())
        if mode == MODE_DROP:
            return 0
        key = self.prefix + canonical(key)
        if mode == MODE_REDACT:
            self.found[key] = "REDACTED"
        elif key in self.found:
            self.found[key] += (", " if key == "request_X-Forwarded-For" else ",") + text_of(value)
        else:
            self.found[key] = text_of(value)
        return 0


cdef dict request_headers(LogFields log, const Record* record, Request request):
    """The headers of the request after all middlewares, and those that name the client to the server."""
    cdef Headers headers = Headers(log, "request_")
    cdef Buffer forwarded
    cdef Py_ssize_t i
    cdef unsigned char kind
    for i in range(request.n_headers):
        kind = request.kinds[i]
        if kind in (H_DROPPED, H_HOST, H_TRANSFER_ENCODING, H_TRAILER, H_HTTP2_SETTINGS, H_X_FORWARDED_SERVER):
            continue
        if kind & H_OWN:
            if request.headers[i].value.len == 0:
                continue               # a managed header that a middleware has removed
        elif is_managed(kind) and (not record.forward.trusted or says_nothing(kind, request.headers[i].value)):
            continue                   # lbcore sets it in the client's place
        if kind == H_CONNECTION:
            if request.framing.upgrade:
                headers.add(span_of(b"Connection", 10), span_of(b"Upgrade", 7))
            continue
        headers.add(request.headers[i].name, request.headers[i].value)
    memset(&forwarded, 0, sizeof(forwarded))
    try:
        if request.head.client != NULL and render_forwarded(request, record.forward, &forwarded) == 0:
            for line in forwarded.base[forwarded.start:forwarded.end].split(b"\r\n"):
                name, _, value = line.partition(b": ")
                if name:
                    headers.add(span_of(<const char*>name, len(name)), span_of(<const char*>value, len(value)))
    finally:
        buffer_release(&forwarded)
    return headers.found


cdef dict answer_headers(LogFields log, str prefix, Response response, bint own):
    """Headers of an answer that concern more than one connection, and trailers that `Trailer` announces. `own`: it was
    made here, and so was its length."""
    cdef Headers headers = Headers(log, prefix)
    cdef Py_ssize_t i
    cdef unsigned char kind
    for i in range(response.n_headers):
        kind = response.kinds[i]
        if kind == H_DROPPED or kind == H_TRANSFER_ENCODING or (own and kind == H_CONTENT_LENGTH):
            continue
        if kind == H_CONNECTION or kind == H_UPGRADE:
            if response.status != 101:
                continue
        elif is_hop_by_hop(kind) and kind != H_TRAILER:
            continue
        elif kind == H_OTHER and response.framing.names_headers and connection_lists(
                response.headers, response.kinds, response.n_headers, response.headers[i].name):
            continue
        headers.add(response.headers[i].name, response.headers[i].value)
    cdef Message trailers = response.trailers
    if trailers is not None:
        for i in range(trailers.n_headers):
            if trailers.kinds[i] == H_OTHER and field_lists(
                    response.headers, response.kinds, response.n_headers, H_TRAILER, trailers.headers[i].name):
                headers.add(trailers.headers[i].name, trailers.headers[i].value)
    return headers.found


cdef dict fields_of(LogFields log, const Record* record, Request request, str entry_point, str router, str service, str url,
                    uint64_t count):
    """All fields by Traefik's names."""
    cdef const ClientAddress* client = request.head.client
    cdef Span forwarded = request.head.first_forwarded
    cdef bytearray path = bytearray(path_room(request))
    host = client.text[:client.text_len].decode() if client != NULL else ""
    port = client.port if client != NULL else 0
    version = f"HTTP/1.{request.head.minor_version}" if request.head.major_version == 1 else f"HTTP/{request.head.major_version}.0"
    now = time.time_ns()
    started = now - record.duration_ns
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started // 10**9))
    local = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started // 10**9))
    fields = {
        "ClientAddr": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "ClientHost": text_of(forwarded) if forwarded.len else host,
        "ClientPort": str(port),
        "ClientUsername": "-" if request.user is None else request.user.decode("utf-8", "replace"),
        "RequestMethod": text_of(request.head.method) or "-",
        "RequestPath": text_of(log.put_path(request, path)) or "-",
        "RequestProtocol": version if request.head.method.len else "-",
        "RequestScheme": "https" if request.head.encrypted else "http",
        "RequestContentSize": record.request_bytes,
        "RequestCount": count,
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
    if is_read(request) and request.head.authority.len:
        authority = text_of(request.head.authority)
        name, colon, number = authority.rpartition(":")
        if not colon or (number and not number.isdigit()):
            name, number = authority, "-"
        elif name.startswith("["):
            name = name.strip("[]")
        fields |= {"RequestAddr": authority, "RequestHost": name, "RequestPort": number}
    if record.origin_bytes != record.response_bytes and record.response_bytes and (record.origin_status or not service):
        fields["GzipRatio"] = <double>record.origin_bytes / <double>record.response_bytes
    if request.head.tls_version != NULL:
        fields["TLSVersion"] = request.head.tls_version.decode()
        fields["TLSCipher"] = request.head.tls_cipher.decode()
        if request.tls_subject is not None:
            fields["TLSClientSubject"] = request.tls_subject.decode("utf-8", "replace")
    if record.trace != NULL:
        fields["TraceId"] = fields["trace_id"] = (<const char*>record.trace.trace_id)[:16].hex()
        fields["SpanId"] = fields["span_id"] = (<const char*>record.trace.span_id)[:8].hex()
    if router:
        fields["RouterName"] = router
    if service:
        fields["ServiceName"] = service
    if url:
        fields["ServiceURL"] = url
        fields["ServiceAddr"] = url.partition("://")[2].partition("/")[0] or url
    return fields


cdef dict shown_fields(LogFields log, const Record* record, Request request, Response response, str entry_point, str router,
                       str service, str url, uint64_t count):
    """The fields and headers of an exchange that are kept."""
    fields = fields_of(log, record, request, entry_point, router, service, url, count)
    shown = {name: value for name, value in fields.items() if log.keeps(name)}
    if log.with_headers:
        if is_read(request):
            shown |= request_headers(log, record, request)
        shown |= answer_headers(log, "downstream_", response, record.origin_status == 0)
        if record.origin_status:
            shown |= answer_headers(log, "origin_", response, False)
    return shown


cdef bytes json_line(LogFields log, const Record* record, Request request, Response response, str entry_point, str router,
                     str service, str url, uint64_t count):
    """The line of an exchange, with its line end."""
    shown = shown_fields(log, record, request, response, entry_point, router, service, url, count)
    shown["level"] = "info"
    shown["msg"] = ""
    shown["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = json.dumps(shown, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    if not text.isprintable():         # control characters that JSON allows, and that some readers take for the end of a line
        text = "".join([char if char.isprintable() else json.dumps(char).strip('"') for char in text])
    return text.encode() + b"\n"
