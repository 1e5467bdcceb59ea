# Least connections.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.drawn cimport Drawn


cdef class LeastConnections(Drawn):
    cdef uint32_t sample               # servers compared for a pick
    cdef uint64_t turn                 # see `least.least_of`


cdef uint32_t checked_sample(object sample) except 0
