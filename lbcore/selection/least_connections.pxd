# Least connections.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.drawn cimport Drawn


cdef class LeastConnections(Drawn):
    cdef uint32_t sample               # servers compared
    cdef uint64_t turn                 # whose turn it is among equals


cdef uint32_t checked_sample(object sample) except 0
