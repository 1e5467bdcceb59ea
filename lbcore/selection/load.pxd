# What is known of the work of one server: the input of every selector that goes by load.

from libc.stdint cimport uint64_t

cdef struct Load:              # written with the helpers of atomic.pxd; may lie in memory that processes share
    uint64_t in_flight         # requests not ended
    uint64_t latency_ewma_ns   # moving average of the latency; 0 = none yet
    uint64_t latency_at_ns     # monotonic time of its last sample
    uint64_t tried_ns          # when a sweep picked it last, see sweep.pxd; at first, when it was first seen; 0 = not yet
