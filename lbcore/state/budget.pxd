# The memory budget for request bodies that are kept, over all workers.

from libc.stdint cimport int64_t

from lbcore.state.layout cimport Header, WorkerStats
from lbcore.state.region cimport Region


cdef class MemoryBudget:
    cdef Region region                 # keeps both mapped
    cdef Header* header
    cdef WorkerStats* row              # this worker's, mapped as long as `region` lives

    cdef bint take(self, int64_t amount) noexcept
    cdef void give(self, int64_t amount) noexcept
    cdef int64_t share(self) noexcept
