# What is mended in the heads and trailers of answers before they are read. Requests are never mended.

from lbcore.http.arena cimport Arena
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span

cdef enum MendResult:
    NOTHING_TO_MEND = 0
    MENDED
    MEND_PARTIAL               # there is something to mend, and the section is not complete
    MEND_NO_MEMORY


cdef int mend_names(const char* data, Py_ssize_t length, bint status_line, Arena* arena, Span* mended,
                    Py_ssize_t* used) noexcept nogil
cdef int unfold(Header* headers, Py_ssize_t* count, Arena* arena) noexcept nogil
