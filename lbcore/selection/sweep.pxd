# The least that every server is asked, however slow it was: once in ten seconds.
#
# An algorithm that goes by latency asks a slow server seldom, and then does not learn that it is fast again. So some picks go past
# the choice: twice a second the servers are looked through, some at each pick, and one that was last asked TRY_AFTER_NS ago is
# picked: by one pick of four at most, so that few requests are not all spent on that. A pick pays for one comparison of the time
# while nothing is due.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_member
from lbcore.selection.atomic cimport atomic_load_u64, atomic_store_u64
from lbcore.selection.load cimport Load

cdef enum:
    SWEEP_LOOKS = 64           # servers looked at in one pick at most
    SWEEP_REST = 3             # picks between two that go past the choice

cdef extern from *:
    """
    #define LB_TRY_AFTER_NS ((uint64_t)7 * 1000000000)
    #define LB_SWEEP_EVERY_NS ((uint64_t)500 * 1000000)
    """
    uint64_t TRY_AFTER_NS "LB_TRY_AFTER_NS"            # what is left of ten seconds is for looking through all of them
    uint64_t SWEEP_EVERY_NS "LB_SWEEP_EVERY_NS"        # between two times that all are looked through


cdef struct Sweep:
    uint64_t due_ns            # when servers are looked through next
    uint32_t at                # the slot to look at next
    uint32_t left              # slots still to look at this time; 0 = it has not begun
    uint32_t rest              # picks that are left to the choice before that


cdef inline Py_ssize_t sweep_look(
        Sweep* sweep, const Alias* alias, Load** loads, const uint8_t* barred, uint64_t now_ns) noexcept nogil:
    cdef uint32_t looks, index
    cdef uint64_t tried_ns, latency_ns
    cdef int64_t age_ns                        # signed: a clock that is told may have been set back
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
        if latency_ns:                         # the last request that is over began about its latency before it ended
            age_ns = min(age_ns, <int64_t>(now_ns - atomic_load_u64(&loads[index].latency_at_ns) + latency_ns))
        if age_ns >= <int64_t>TRY_AFTER_NS:
            atomic_store_u64(&loads[index].tried_ns, now_ns)
            sweep.rest = SWEEP_REST
            return index
    return -1


cdef inline Py_ssize_t sweep_next(
        Sweep* sweep, const Alias* alias, Load** loads, const uint8_t* barred, uint64_t now_ns) noexcept nogil:
    """The index of a server that has to be asked now, or -1.

    loads, barred  by index; `barred` NULL = no server.   alias  the servers that may be picked.
    """
    if now_ns < sweep.due_ns:
        return -1
    return sweep_look(sweep, alias, loads, barred, now_ns)
