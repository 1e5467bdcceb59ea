# Least time.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.timed cimport Timed


cdef class LeastTime(Timed):
    cdef object keep_s
    cdef object failure_s
    cdef uint64_t rate                 # see `cost.decay_rate`
    cdef uint64_t failure_least_ns
    cdef uint32_t sample               # servers compared for a pick
    cdef uint64_t turn                 # see `least.least_of`
