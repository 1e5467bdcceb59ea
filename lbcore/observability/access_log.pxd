# The access log of one worker: settings, filters, and the common format.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.observability.fields cimport LogFields
from lbcore.observability.record cimport Record
from lbcore.observability.ring cimport LineWriter
from lbcore.state.region cimport Region


cdef class AccessLog:
    cdef Region region
    cdef LineWriter lines              # the ring for whole lines, which one of the workers empties
    cdef LineWriter records            # the ring for records that a collector gets; None = it gets none
    cdef bint writes_lines
    cdef bint json
    cdef bint with_traefik_fields      # format `common`
    cdef int min_retries               # with this number of retries a request is logged whatever its status; 0 = no such filter
    cdef uint64_t min_ns               # the same for its duration in ns
    cdef bytes statuses                # by status: 1 = logged; empty = all statuses are
    cdef bint filters                  # one of the three is set
    cdef LogFields fields
    cdef uint32_t shown                # CommonField bits of the fields that are shown; others are `-`
    cdef int referer_mode
    cdef int agent_mode

    cdef int note(self, Record* record, Request request, Response response, str entry_point, str router, str service,
                  str url) except -1
    cdef bint is_logged(self, const Record* record) noexcept
    cdef int note_common(self, const Record* record, Request request, str router, str url, uint64_t count) except -1
