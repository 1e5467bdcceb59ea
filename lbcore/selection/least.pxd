# The server with the least cost among all, or among a random sample.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_member
from lbcore.selection.cost cimport load_cost
from lbcore.selection.load cimport Load
from lbcore.selection.rng cimport random_below
from lbcore.selection.wide cimport ratio_below

cdef enum:
    LEAST_SAMPLE = 16          # default size of the sample


cdef inline Py_ssize_t least_of(
        const Alias* alias, const uint32_t* weights, Load** loads, const uint8_t* barred, uint32_t sample, uint64_t turn,
        uint64_t* random, int kind, uint64_t now_ns, uint64_t pace) noexcept nogil:
    """The server with the least cost per weight; -1 when all are barred. O(sample), or O(servers) if all of the sample is barred.

    weights, loads, barred  by index; `barred` NULL = none is barred.
    turn  a number that increases from pick to pick: it selects the first server to compare, which wins ties.
    kind, now_ns, pace  see `cost.load_cost`.
    """
    cdef uint32_t n = alias.size, looked = n, step = 1, slot, index, i, tries
    cdef uint64_t cost, best_cost = 0
    cdef Py_ssize_t best = -1
    if n == 0:
        return -1
    if n > sample:
        # A random step as well as a random start, so that samples differ.
        slot = random_below(random, n)
        step = random_below(random, n // sample) + 1
        looked = sample
    else:
        slot = <uint32_t>(turn % n)
    for tries in range(2):
        for i in range(looked):
            index = alias_member(alias, slot)
            slot += step
            if slot >= n:
                slot -= n
            if barred != NULL and barred[index]:
                continue
            cost = load_cost(loads[index], kind, now_ns, pace)
            if best < 0 or ratio_below(cost, weights[index], best_cost, weights[best]):
                best = index
                best_cost = cost
                if cost == 0:
                    return best
        if best >= 0 or looked == n:
            break
        looked = n
        step = 1
    return best
