# The load of one server: the input of every selector that chooses by load.

from libc.stdint cimport uint64_t

cdef struct Load:              # accessed with the functions of atomic.pxd; may lie in memory that processes share
    uint64_t in_flight         # sum of the costs of the requests that have not ended
    uint64_t latency_ewma_ns   # moving average of the latency; 0 = no sample yet
    uint64_t latency_at_ns     # monotonic time of the last sample
    uint64_t tried_ns          # time of the last pick by a sweep (sweep.pxd), at first that of the addition; 0 = not known
