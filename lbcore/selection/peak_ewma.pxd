# Peak EWMA.

from libc.stdint cimport uint64_t

from lbcore.selection.timed cimport Timed


cdef class PeakEWMA(Timed):
    cdef object decay_s
    cdef object failure_s
    cdef uint64_t rate                 # see `cost.decay_rate`
    cdef uint64_t failure_least_ns
