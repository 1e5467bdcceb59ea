# What it costs to wait for a server, from its load: lower is better. Whole numbers, the same on every platform.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_load_u64, atomic_store_u64
from lbcore.selection.load cimport Load
from lbcore.selection.wide cimport uint128

cdef enum Cost:
    COST_WAITING               # requests in flight
    COST_QUEUE                 # the same, with the one to come; a server without any costs nothing, whatever its weight
    COST_LATENCY               # average latency, less when it is old, times requests in flight with the one to come
    COST_PEAK                  # the same, of an average that decays all the time

cdef enum:
    MEAN_SHARE = 8             # a sample moves a mean by one part of this

cdef extern from *:
    """
    #define LB_LATENCY_LIMIT_NS ((uint64_t)1 << 42)
    #define LB_COLD_NS ((uint64_t)1 << 49)
    #define LB_MOST_IN_FLIGHT (((uint64_t)1 << 20) - 1)
    #define LB_FAILURE_LIMIT_NS ((uint64_t)60 * 1000000000)
    """
    uint64_t LATENCY_LIMIT_NS "LB_LATENCY_LIMIT_NS"    # 73 minutes: more counts as that
    uint64_t COLD_NS "LB_COLD_NS"                      # what a request at a server without any sample counts
    uint64_t MOST_IN_FLIGHT "LB_MOST_IN_FLIGHT"
    uint64_t FAILURE_LIMIT_NS "LB_FAILURE_LIMIT_NS"    # what failures add up to


cdef inline uint64_t decay_rate(uint64_t tau_ns) noexcept nogil:
    """2**64 * log2(e) / tau: what `decayed` needs. `tau_ns`: 2 or more."""
    return <uint64_t>(((<uint128><uint64_t>6196328019 << 64) // tau_ns) >> 32)


cdef inline uint64_t decayed(uint64_t value, uint64_t age_ns, uint64_t rate) noexcept nogil:
    """value * exp(-age / tau), off by 2 parts in a million at most. `value`: below 2**43."""
    cdef uint128 halvings = (<uint128>age_ns * rate) >> 32
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


cdef inline uint64_t load_age(const Load* load, uint64_t now_ns) noexcept nogil:
    """Time since the last sample; 0 where another processor's clock was ahead."""
    cdef int64_t age = <int64_t>(now_ns - atomic_load_u64(&load.latency_at_ns))
    return <uint64_t>age if age > 0 else 0


cdef inline uint64_t load_cost(const Load* load, int kind, uint64_t now_ns, uint64_t pace) noexcept nogil:
    """The cost of one more request at a server, its weight aside.

    pace  COST_LATENCY: the age in ns from which on an average counts for less, by its share of that; COST_PEAK: `decay_rate`.
    A server without a sample is tried at once, but by one request at a time as long as others have one.
    """
    cdef uint64_t waiting = atomic_load_u64(&load.in_flight), latency, age
    if kind == COST_WAITING:
        return waiting
    if kind == COST_QUEUE:
        return waiting + 1 if waiting else 0
    latency = atomic_load_u64(&load.latency_ewma_ns)
    waiting = min(waiting, MOST_IN_FLIGHT)
    if latency == 0:
        return COLD_NS * min(waiting, 4095)
    age = load_age(load, now_ns)
    if kind == COST_PEAK:
        latency = decayed(latency, age, pace)
    elif age > pace:
        latency = <uint64_t>(<uint128>latency * pace // age)
    return latency * (waiting + 1)


cdef inline void note_mean(Load* load, uint64_t latency_ns, uint64_t now_ns) noexcept nogil:
    """Let a sample move the average; the first one counts whole."""
    cdef uint64_t mean = atomic_load_u64(&load.latency_ewma_ns)
    latency_ns = min(latency_ns, LATENCY_LIMIT_NS)
    if mean == 0:
        mean = latency_ns
    elif latency_ns > mean:
        mean += (latency_ns - mean) // MEAN_SHARE
    else:
        mean -= (mean - latency_ns) // MEAN_SHARE
    atomic_store_u64(&load.latency_ewma_ns, max(mean, <uint64_t>1))
    atomic_store_u64(&load.latency_at_ns, now_ns)


cdef inline void note_peak(Load* load, uint64_t latency_ns, uint64_t now_ns, uint64_t rate) noexcept nogil:
    """A sample above the average replaces it; one below moves it by 1 - exp(-age / tau). `rate`: `decay_rate` of tau."""
    cdef uint64_t mean = atomic_load_u64(&load.latency_ewma_ns)
    latency_ns = min(latency_ns, LATENCY_LIMIT_NS)
    if latency_ns < mean:
        latency_ns += decayed(mean - latency_ns, load_age(load, now_ns), rate)
    atomic_store_u64(&load.latency_ewma_ns, max(latency_ns, <uint64_t>1))
    atomic_store_u64(&load.latency_at_ns, now_ns)


cdef inline uint64_t failure_ns(const Load* load, uint64_t latency_ns, uint64_t least_ns) noexcept nogil:
    """What a request that failed counts: never less than `least_ns`, nor than twice the average up to a minute.

    So whoever fails fast does not look fast, however slow the others are.
    """
    cdef uint64_t twice = min(2 * atomic_load_u64(&load.latency_ewma_ns), FAILURE_LIMIT_NS)
    return max(max(latency_ns, least_ns), twice)
