# The access log of one worker.

from libc.stdint cimport uint64_t

from lbcore.http.buffer cimport Buffer
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span
from lbcore.observability.record cimport Record


cdef class AccessLog:
    cdef Buffer lines                  # not handed to the writer yet
    cdef object writer                 # takes bytes of whole lines
    cdef bint json
    cdef bint with_traefik_fields      # format `common`
    cdef uint64_t count                # requests seen by this worker
    cdef int min_retries               # of a request that is logged whatever its status; 0 = no such filter
    cdef uint64_t min_ns               # likewise: its duration
    cdef bytes statuses                # by status: 1 = logged; empty = all are
    cdef bint filters                  # one of the three is set
    cdef dict kept                     # field name -> kept, for those named
    cdef bint keep_others
    cdef bint with_query               # RequestPath has it
    cdef bint plain                    # every field of the common format is kept
    cdef dict header_modes             # lower-case name -> mode
    cdef int header_mode               # of the others
    cdef int referer_mode
    cdef int agent_mode

    cdef int note(self, Record* record, Request request, Response response, str entry_point, str router, str service,
                  str url) except -1
    cdef bint wanted(self, const Record* record) noexcept
    cdef int note_common(self, const Record* record, Request request, str router, str url) except -1
    cdef Span target_of(self, Request request) noexcept
    cdef int put(self, Span span) except -1
    cdef Span shown_header(self, Request request, bytes name, int mode) noexcept
    cdef fields_of(self, const Record* record, Request request, str entry_point, str router, str service, str url)
    cdef int note_fields(self, const Record* record, Request request, Response response, str entry_point, str router,
                         str service, str url) except -1
    cdef bytes common_of(self, dict fields, Request request)
