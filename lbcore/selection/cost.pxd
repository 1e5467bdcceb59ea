# The cost of one more request at a server, from its load: lower is better. Whole numbers, the same on every platform.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_load_u64, atomic_store_u64
from lbcore.selection.load cimport Load
from lbcore.selection.wide cimport uint128

cdef enum Cost:
    COST_WAITING               # requests in flight
    COST_QUEUE                 # requests in flight plus one; 0 at an idle server, whatever its weight
    COST_LATENCY               # (requests in flight plus one) * average latency, which decays when it is old
    COST_PEAK                  # (requests in flight plus one) * average latency, which decays all the time

cdef enum:
    MEAN_SHARE = 8             # a sample moves a mean by one part in this number

cdef extern from *:
    """
    #define LB_LATENCY_LIMIT_NS ((uint64_t)1 << 42)
    #define LB_COLD_NS ((uint64_t)1 << 49)
    #define LB_MOST_IN_FLIGHT (((uint64_t)1 << 20) - 1)
    #define LB_FAILURE_LIMIT_NS ((uint64_t)600 * 1000000000)
    #define LB_LOG2_E ((uint64_t)6196328019)
    """
    uint64_t LATENCY_LIMIT_NS "LB_LATENCY_LIMIT_NS"    # 73 minutes; longer latencies count as this one
    uint64_t COLD_NS "LB_COLD_NS"                      # cost of a request in flight at a server without samples
    uint64_t MOST_IN_FLIGHT "LB_MOST_IN_FLIGHT"        # more requests count as this many, so that products fit in 64 bits
    uint64_t FAILURE_LIMIT_NS "LB_FAILURE_LIMIT_NS"    # ten minutes: the most that repeated failures count
    uint64_t LOG2_E "LB_LOG2_E"                        # log2(e) * 2**32


cdef inline uint64_t decay_rate(uint64_t tau_ns) noexcept nogil:
    """The rate for `decayed`, 2**64 * log2(e) / tau. `tau_ns`: 2 or more."""
    return <uint64_t>(((<uint128>LOG2_E << 64) // tau_ns) >> 32)


cdef inline uint64_t halved(uint64_t value, uint128 halvings) noexcept nogil:
    """value / 2**(halvings / 2**32), off by 2 parts in a million at most."""
    cdef uint64_t one = <uint64_t>1 << 32, u, part
    if halvings >> 38:
        return 0
    # 2**-f = exp(-u) for the fraction f, by its series, in units of 2**-32
    u = (<uint64_t><uint32_t>halvings * <uint64_t>2977044472) >> 32
    part = one - u // 7
    part = one - ((u * part) >> 32) // 6
    part = one - ((u * part) >> 32) // 5
    part = one - ((u * part) >> 32) // 4
    part = one - ((u * part) >> 32) // 3
    part = one - ((u * part) >> 32) // 2
    part = one - ((u * part) >> 32)
    return <uint64_t>((<uint128>value * part) >> 32) >> <uint64_t>(halvings >> 32)


cdef inline uint64_t decayed(uint64_t value, uint64_t age_ns, uint64_t rate) noexcept nogil:
    """value * exp(-age / tau), off by 2 parts in a million at most. `value`: below 2**43."""
    return halved(value, (<uint128>age_ns * rate) >> 32)


cdef inline uint64_t load_age(const Load* load, uint64_t now_ns) noexcept nogil:
    """Ns since the last sample; 0 if the clock of another processor was ahead."""
    cdef int64_t age = <int64_t>(now_ns - atomic_load_u64(&load.latency_at_ns))
    return <uint64_t>age if age > 0 else 0


cdef inline uint64_t load_cost(const Load* load, int kind, uint64_t now_ns, uint64_t pace) noexcept nogil:
    """The cost of one more request at a server, its weight aside.

    pace  `decay_rate` of the time over which an average decays: with COST_PEAK from its last sample on, with COST_LATENCY from
          that time after its last sample on.
    A server without samples is tried at once, but with one request at a time while other servers have samples.
    """
    cdef uint64_t waiting = atomic_load_u64(&load.in_flight), latency
    cdef uint128 halvings
    if kind == COST_WAITING:
        return waiting
    if kind == COST_QUEUE:
        return waiting + 1 if waiting else 0
    latency = atomic_load_u64(&load.latency_ewma_ns)
    waiting = min(waiting, MOST_IN_FLIGHT)
    if latency == 0:
        return COLD_NS * min(waiting, 4095)
    halvings = (<uint128>load_age(load, now_ns) * pace) >> 32
    if kind == COST_PEAK:
        latency = halved(latency, halvings)
    elif halvings > LOG2_E:
        latency = halved(latency, halvings - LOG2_E)
    return latency * (waiting + 1)


cdef inline void note_mean(Load* load, uint64_t latency_ns, uint64_t now_ns, uint64_t rate) noexcept nogil:
    """Add a sample to the average: it moves it by an eighth, or by 1 - exp(-age / tau) if that is more, so that a sample after a long
    pause counts. The first sample becomes the average. `rate`: `decay_rate` of tau."""
    cdef uint64_t mean = atomic_load_u64(&load.latency_ewma_ns), apart, kept, age = load_age(load, now_ns)
    latency_ns = min(latency_ns, LATENCY_LIMIT_NS)
    if mean:
        apart = mean - latency_ns if mean > latency_ns else latency_ns - mean
        kept = min(apart - apart // MEAN_SHARE, decayed(apart, age, rate))
        latency_ns = latency_ns + kept if mean > latency_ns else latency_ns - kept
    atomic_store_u64(&load.latency_ewma_ns, max(latency_ns, <uint64_t>1))
    atomic_store_u64(&load.latency_at_ns, now_ns)


cdef inline void note_peak(Load* load, uint64_t latency_ns, uint64_t now_ns, uint64_t rate) noexcept nogil:
    """Add a sample to the average: a higher one replaces it, a lower one moves it by 1 - exp(-age / tau). `rate`: `decay_rate` of tau."""
    cdef uint64_t mean = atomic_load_u64(&load.latency_ewma_ns)
    latency_ns = min(latency_ns, LATENCY_LIMIT_NS)
    if latency_ns < mean:
        latency_ns += decayed(mean - latency_ns, load_age(load, now_ns), rate)
    atomic_store_u64(&load.latency_ewma_ns, max(latency_ns, <uint64_t>1))
    atomic_store_u64(&load.latency_at_ns, now_ns)


cdef inline uint64_t failure_ns(const Load* load, uint64_t latency_ns, uint64_t least_ns) noexcept nogil:
    """The latency that a failed request counts as: at least `least_ns`, and at least twice the average up to ten minutes.

    A server that fails fast must not look fast, however slow the other servers are.
    """
    cdef uint64_t twice = min(2 * atomic_load_u64(&load.latency_ewma_ns), FAILURE_LIMIT_NS)
    return max(max(latency_ns, least_ns), twice)
