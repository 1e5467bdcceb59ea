# The cheaper of two different servers drawn by weight.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_draw, alias_draw_but, alias_member, alias_other
from lbcore.selection.cost cimport COST_WAITING, load_cost
from lbcore.selection.load cimport Load
from lbcore.selection.prefetch cimport prefetch
from lbcore.selection.wide cimport ratio_below

cdef enum:
    PAIRS_TOGETHER = 64        # pairs whose loads are prefetched before they are compared, so that waits for memory overlap


cdef inline uint32_t pair_better(
        const uint32_t* weights, const Load* first_load, const Load* second_load, uint32_t first, uint32_t second, int kind,
        uint64_t now_ns, uint64_t pace) noexcept nogil:
    """The cheaper of two servers, or the first if their costs are equal.

    Requests in flight are divided by weight. Latencies are not, because a server of more weight is drawn more often already.
    """
    cdef uint64_t cost = load_cost(first_load, kind, now_ns, pace), other = load_cost(second_load, kind, now_ns, pace)
    if kind != COST_WAITING or cost == 0 or other == 0:
        return second if other < cost else first
    return second if ratio_below(other, weights[second], cost, weights[first]) else first


cdef inline uint32_t pair_of(
        const Alias* alias, const uint32_t* weights, Load** loads, uint64_t* random, int kind, uint64_t now_ns,
        uint64_t pace) noexcept nogil:
    """The cheaper of two different servers drawn by weight, or the first if equal. `alias.size` must not be 0. O(1).

    weights, loads  by index.   kind, now_ns, pace  see `cost.load_cost`.
    """
    cdef uint32_t first, second
    if alias.size == 1:
        return alias_member(alias, 0)
    first = alias_draw(alias, random)
    second = alias_other(alias, first, random)
    return pair_better(weights, loads[first], loads[second], first, second, kind, now_ns, pace)


cdef inline void pairs_of(
        const Alias* alias, const uint32_t* weights, const Load* loads, uint64_t* random, int kind, uint64_t now_ns,
        uint64_t pace, uint32_t* out, Py_ssize_t n) noexcept nogil:
    """`pair_of` n times, during which loads do not change."""
    cdef uint32_t first[PAIRS_TOGETHER]
    cdef uint32_t second[PAIRS_TOGETHER]
    cdef Py_ssize_t i, together
    cdef uint64_t state = random[0]
    while n > 0:
        together = min(n, <Py_ssize_t>PAIRS_TOGETHER)
        for i in range(together):
            first[i] = second[i] = alias_member(alias, 0)
            if alias.size > 1:
                first[i] = alias_draw(alias, &state)
                second[i] = alias_other(alias, first[i], &state)
            prefetch(&loads[first[i]])
            prefetch(&loads[second[i]])
        for i in range(together):
            out[i] = pair_better(weights, &loads[first[i]], &loads[second[i]], first[i], second[i], kind, now_ns, pace)
        out += together
        n -= together
    random[0] = state


cdef inline Py_ssize_t pair_of_but(
        const Alias* alias, const uint32_t* weights, Load** loads, const uint8_t* barred, uint64_t* random, int kind,
        uint64_t now_ns, uint64_t pace) noexcept nogil:
    """`pair_of` among servers that are not barred; -1 when there is none. O(servers) at worst."""
    cdef Py_ssize_t first = alias_draw_but(alias, weights, barred, -1, random), second
    if first < 0:
        return -1
    second = alias_draw_but(alias, weights, barred, first, random)
    if second < 0:
        return first
    return pair_better(weights, loads[first], loads[second], <uint32_t>first, <uint32_t>second, kind, now_ns, pace)
