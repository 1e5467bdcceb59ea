# Prequal: picks by fresh probes.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.timed cimport Timed

cdef enum:
    PREQUAL_MOST = 256         # probes in a pool, at most


cdef struct Probe:
    uint64_t in_flight         # as told, and the picks since
    uint64_t latency_ns
    uint64_t at_ns
    uint32_t index             # of the server
    uint32_t uses              # picks it is still good for


cdef struct ProbePool:         # oldest first
    Probe probes[PREQUAL_MOST]
    int size
    int limit
    uint64_t age_ns            # older probes are dropped
    double quantile            # above this one of requests in flight a server is hot
    double removal             # probes removed per pick
    double to_remove           # removals due
    bint worst_next            # who is removed next: the worst, or the oldest


cdef void pool_put(ProbePool* pool, Probe probe) noexcept nogil
cdef void pool_drop(ProbePool* pool, int at) noexcept nogil
cdef void pool_expire(ProbePool* pool, uint64_t now_ns) noexcept nogil
cdef int pool_best(const ProbePool* pool, const uint8_t* barred) noexcept nogil
cdef void pool_use(ProbePool* pool, int at) noexcept nogil


cdef class Prequal(Timed):
    cdef ProbePool probes
    cdef uint64_t* epochs_seen         # by index, as of the last change
    cdef Py_ssize_t n_seen
    cdef double per_pick               # probes wanted
    cdef double owed                   # and not sent yet
    cdef double delta
    cdef double reuse                  # picks that a probe is good for
    cdef dict given                    # what the constructor got
