# Sweeps: every server is picked at least once in ten seconds, however slow it was.
#
# An algorithm that chooses by latency picks a slow server seldom, and then does not learn that it is fast again. A sweep overrides
# some picks: twice a second it looks through the servers, some of them at each pick, and picks one whose last request began more
# than TRY_AFTER_NS ago. It overrides at most one pick in four, so that sparse requests are not all spent on slow servers. While no
# sweep is due, it costs a pick one comparison of the time.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_member
from lbcore.selection.atomic cimport atomic_load_u64, atomic_store_u64
from lbcore.selection.load cimport Load

cdef enum:
    SWEEP_LOOKS = 64           # servers examined by one pick at most
    SWEEP_REST = 3             # picks between two that are overridden

cdef extern from *:
    """
    #define LB_TRY_AFTER_NS ((uint64_t)7 * 1000000000)
    #define LB_SWEEP_EVERY_NS ((uint64_t)500 * 1000000)
    """
    uint64_t TRY_AFTER_NS "LB_TRY_AFTER_NS"            # the rest of ten seconds is the time that a sweep may take
    uint64_t SWEEP_EVERY_NS "LB_SWEEP_EVERY_NS"        # from the end of a sweep to the start of the next one


cdef struct Sweep:
    uint64_t due_ns            # when the next sweep starts
    uint32_t at                # the slot to examine next
    uint32_t left              # slots that this sweep still has to examine; 0 = no sweep is under way
    uint32_t rest              # picks that the sweep must not override before it goes on


cdef inline Py_ssize_t sweep_look(
        Sweep* sweep, const Alias* alias, Load** loads, const uint8_t* barred, uint64_t now_ns) noexcept nogil:
    cdef uint32_t looks, index
    cdef uint64_t tried_ns, latency_ns
    cdef int64_t age_ns                        # signed: `set_time` may have set the clock back
    if sweep.rest:
        sweep.rest -= 1
        return -1
    if sweep.left == 0 or sweep.left > alias.size:
        sweep.left = alias.size
    looks = min(sweep.left, <uint32_t>SWEEP_LOOKS)
    while looks:
        looks -= 1
        sweep.left -= 1
        if sweep.left == 0:
            sweep.due_ns = now_ns + SWEEP_EVERY_NS
        if sweep.at >= alias.size:
            sweep.at = 0
        index = alias_member(alias, sweep.at)
        sweep.at += 1
        if barred != NULL and barred[index]:
            continue
        tried_ns = atomic_load_u64(&loads[index].tried_ns)
        if tried_ns == 0:                      # seen for the first time
            atomic_store_u64(&loads[index].tried_ns, now_ns)
            continue
        age_ns = <int64_t>(now_ns - tried_ns)
        latency_ns = atomic_load_u64(&loads[index].latency_ewma_ns)
        if latency_ns:                         # the last request to end began about one average latency earlier
            age_ns = min(age_ns, <int64_t>(now_ns - atomic_load_u64(&loads[index].latency_at_ns) + latency_ns))
        if age_ns >= <int64_t>TRY_AFTER_NS:
            atomic_store_u64(&loads[index].tried_ns, now_ns)
            sweep.rest = SWEEP_REST
            return index
    return -1


cdef inline Py_ssize_t sweep_next(
        Sweep* sweep, const Alias* alias, Load** loads, const uint8_t* barred, uint64_t now_ns) noexcept nogil:
    """The index of a server that the sweep picks now, or -1.

    loads, barred  by index; `barred` NULL = no server.   alias  the servers that may be picked.
    """
    if now_ns < sweep.due_ns:
        return -1
    return sweep_look(sweep, alias, loads, barred, now_ns)
