"""The contents of a line of the access log: fields, headers, and the path. No I/O."""

cimport cython
from libc.string cimport memcpy

from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_of

MODES = {"drop": MODE_DROP, "keep": MODE_KEEP, "redact": MODE_REDACT}


cdef inline char* put_span(char* out, Span span) noexcept nogil:
    if span.len:
        memcpy(out, span.ptr, span.len)
    return out + span.len


@cython.final
cdef class LogFields:
    """The settings `accessLog.fields`."""

    def __init__(self, settings):
        fields = settings.fields
        self.keep_others = fields.default_mode == "keep"
        self.kept = {name.lower(): mode == "keep" for name, mode in fields.names.items()}
        self.with_query = fields.query_parameters.default_mode == "keep"
        self.header_mode = MODES[fields.headers.default_mode]
        self.header_modes = {name.lower(): MODES[mode] for name, mode in fields.headers.names.items()}
        self.with_headers = self.header_mode != MODE_DROP or any(self.header_modes.values())

    cdef bint keeps(self, str name) except -1:
        """Whether a field is logged."""
        return self.kept.get(name.lower(), self.keep_others)

    cdef int mode_of(self, str name) except -1:
        """The HeaderMode of a header, by its lower-case name."""
        return self.header_modes.get(name, self.header_mode)

    cdef Span put_path(self, Request request, char* out) noexcept:
        """Path and query before any middleware; of a head that was refused, the target as received.

        Written to `out`, which has `path_room`; empty if no target was read.
        """
        cdef char* start = out
        if not is_read(request):
            out = put_span(out, request.head.target)
            return span_of(start, out - start)
        out = put_span(out, request.head.first_path)
        if self.with_query and request.head.has_query:
            out[0] = c"?"
            out = put_span(out + 1, request.head.query)
        return span_of(start, out - start)
