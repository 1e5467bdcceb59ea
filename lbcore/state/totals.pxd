# Counters of the shared region, summed over all workers.

from libc.stdint cimport uint32_t

from lbcore.state.cells cimport Cells
from lbcore.state.layout cimport ServerStats


cdef class Totals(Cells):
    cdef ServerStats total(self, uint32_t slot) noexcept nogil
