# The observer of the exchanges of an entry point.

from libc.stdint cimport uint32_t

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.observability.access_log cimport AccessLog
from lbcore.observability.header_labels cimport HeaderLabels
from lbcore.observability.record cimport Record
from lbcore.observability.series cimport Series


cdef class Observer:
    cdef Series series                 # None = not counted
    cdef AccessLog log                 # None = not logged
    cdef HeaderLabels labels           # None = no header's value is a label
    cdef bint by_entry_point
    cdef bint by_router
    cdef bint by_service
    cdef bint tells_attempts            # at level DEBUG

    cdef void note_router(self, const Record* record, Request request, uint32_t slot) noexcept

    cdef void count(self, const Record* record, Request request, int kind, uint32_t index) noexcept

    cdef int note(self, Record* record, Request request, Response response, str entry_point, str router, str service,
                  str url) except -1


cdef int method_index(const char* method, Py_ssize_t length) noexcept nogil
