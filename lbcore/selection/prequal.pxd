# Prequal: the server with the best answer to a recent probe.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.timed cimport Timed

cdef enum:
    PREQUAL_MOST = 256         # probes in a pool, at most


cdef struct Probe:
    uint64_t in_flight         # the server's answer, plus the picks by this probe since
    uint64_t latency_ns        # the server's answer
    uint64_t at_ns             # time of the answer
    uint32_t index             # of the server
    uint32_t uses              # picks for which the probe may still be used


cdef struct ProbePool:         # oldest first
    Probe probes[PREQUAL_MOST]
    int size
    int limit
    uint64_t age_ns            # older probes are dropped
    double quantile            # a server with more requests in flight than this quantile of the pool's is hot
    double removal             # probes removed per pick: r_remove
    double to_remove           # removals that are due
    bint worst_next            # the next removal takes the worst probe, else the oldest


cdef void pool_put(ProbePool* pool, Probe probe) noexcept nogil
cdef void pool_drop(ProbePool* pool, int at) noexcept nogil
cdef void pool_expire(ProbePool* pool, uint64_t now_ns) noexcept nogil
cdef int pool_best(const ProbePool* pool, const uint8_t* barred) noexcept nogil
cdef void pool_use(ProbePool* pool, int at) noexcept nogil


cdef class Prequal(Timed):
    cdef ProbePool probes
    cdef uint64_t* epochs_seen         # owned; by index: Algorithm.epochs as of the last change
    cdef Py_ssize_t n_seen             # items of `epochs_seen`
    cdef double per_pick               # probes per pick: r_probe
    cdef double owed                   # probes that are due and that `to_probe` has not returned yet
    cdef double delta
    cdef double reuse                  # picks for which a probe may be used: b
    cdef dict given                    # the constructor's options
