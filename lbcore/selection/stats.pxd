# The state of one server for display.

from libc.stdint cimport uint64_t


cdef class ServerStats:
    cdef readonly object weight
    cdef readonly double share
    cdef readonly uint64_t picks
    cdef readonly uint64_t in_flight
    cdef readonly object max_in_flight
    cdef readonly object latency_s
    cdef readonly str state
