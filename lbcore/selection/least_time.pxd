# Least time.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.timed cimport Timed


cdef class LeastTime(Timed):
    cdef object keep_s
    cdef object failure_s
    cdef uint64_t keep_ns
    cdef uint64_t failure_least_ns
    cdef uint32_t sample               # servers compared
    cdef uint64_t turn                 # whose turn it is among equals
