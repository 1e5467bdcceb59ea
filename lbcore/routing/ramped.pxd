# Slow start for strategies that go by load.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.picker cimport Picker
from lbcore.selection.cycle cimport Cycle


cdef class Ramped(Picker):
    cdef Picker picker                 # for the members that do not start slowly
    cdef Cycle cycle                   # over all
    cdef uint32_t* rest                # weights of those that do not; 0 for those that do. Owned
    cdef Py_ssize_t count
    cdef bint any                      # any member starts slowly
    cdef uint64_t position             # in the cycle
