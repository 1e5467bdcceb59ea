# nginx's smooth weighted round robin.

from libc.stdint cimport uint32_t

from lbcore.selection.cycle cimport Cycle
from lbcore.selection.ordered cimport Ordered


cdef class SmoothWRR(Ordered):
    pass


cdef int wrr_build(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1
