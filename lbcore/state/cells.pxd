# The cells of services and servers.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport TapCell
from lbcore.state.memory cimport RegionMemory


cdef class Cells(RegionMemory):
    cdef TapCell* tap(self, uint32_t slot) except NULL
    cdef uint64_t counted_by_workers(self, uint32_t slot) noexcept nogil
