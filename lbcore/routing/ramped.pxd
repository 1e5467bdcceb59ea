# Slow start for strategies by load.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.picker cimport Picker
from lbcore.selection.cycle cimport Cycle


cdef class Ramped(Picker):
    cdef Picker picker                 # for the members that are not in slow start
    cdef Cycle cycle                   # over all
    cdef uint32_t* rest                # weights of the members that are not in slow start, 0 for the others. Owned
    cdef Py_ssize_t count
    cdef bint any                      # at least one member is in slow start
    cdef uint64_t positions[2]         # in the cycle: of first attempts, and of further ones
