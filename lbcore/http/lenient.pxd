# The repair of header sections of answers before they are parsed. Requests are never repaired.

from lbcore.http.arena cimport Arena
from lbcore.http.head cimport Header
from lbcore.http.span cimport Span

cdef enum RepairResult:
    NOTHING_TO_REPAIR = 0
    REPAIRED
    REPAIR_PARTIAL               # there is something to repair, and the section is not complete
    REPAIR_NO_MEMORY


cdef int repair_names(const char* data, Py_ssize_t length, bint status_line, Arena* arena, Span* repaired,
                    Py_ssize_t* used) noexcept nogil
cdef int unfold(Header* headers, Py_ssize_t* count, Arena* arena) noexcept nogil
