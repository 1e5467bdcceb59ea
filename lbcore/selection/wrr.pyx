"""Smooth weighted round robin: nginx's sequence, computed in advance. No I/O.

Before each pick every server gains its weight; the server that has most (the first one, among equals) is picked and loses the
sum of all weights. After W picks every server was picked exactly w times. Source: nginx,
ngx_http_upstream_get_peer; the algorithm is by Maxim Dounin, 2012. Vector: weights 5, 1, 1 give a a b a c a a.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, malloc

from lbcore.selection.cycle cimport CYCLE_LIMIT, Cycle, common_divisor, cycle_free
from lbcore.selection.ordered cimport Ordered


cdef struct Group:             # servers of one weight, which are picked in round robin because they gain the same
    int64_t weight
    int64_t rounds             # times that all its members were picked
    uint32_t first             # position of its first member
    uint32_t size              # number of members
    uint32_t next              # offset of the member that is picked next


cdef void fill(uint32_t* order, Py_ssize_t period, Group* groups, Py_ssize_t n_groups, const uint32_t* members) noexcept nogil:
    cdef Py_ssize_t step, g
    cdef int64_t gained, most
    cdef Group* group
    cdef Group* best
    for step in range(1, period + 1):
        best = &groups[0]
        most = step * best.weight - period * best.rounds
        for g in range(1, n_groups):
            group = &groups[g]
            gained = step * group.weight - period * group.rounds
            if gained > most or (gained == most and members[group.first + group.next] < members[best.first + best.next]):
                best = group
                most = gained
        order[step - 1] = members[best.first + best.next]
        best.next += 1
        if best.next == best.size:
            best.next = 0
            best.rounds += 1


cdef int wrr_build(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1:
    """Replace the contents of `cycle` by the order of `count` servers; servers of weight 0 are never picked.

    Returns 0, or 1 if the period is above CYCLE_LIMIT; then `cycle` is unchanged. Raises MemoryError.
    Cost: O(period * different weights), not O(period * servers). Memory: 4 bytes per step.
    """
    cdef uint32_t divisor = 0
    cdef int64_t total = 0
    cdef Py_ssize_t i, period, n_groups = 0
    cdef uint32_t* order = NULL
    cdef uint32_t* members = NULL
    cdef Group* groups = NULL
    cdef Group* group
    cdef list sorted_members = [i for i in range(count) if weights[i]]
    for i in range(count):
        total += weights[i]
        divisor = common_divisor(weights[i], divisor)
    if total == 0:
        cycle_free(cycle)
        return 0
    period = <Py_ssize_t>(total // divisor)
    if period > CYCLE_LIMIT:
        return 1
    sorted_members.sort(key=lambda index: -<int64_t>weights[<Py_ssize_t>index])
    order = <uint32_t*>malloc(period * sizeof(uint32_t))
    members = <uint32_t*>malloc(count * sizeof(uint32_t))
    groups = <Group*>malloc(count * sizeof(Group))
    try:
        if order == NULL or members == NULL or groups == NULL:
            free(order)
            raise MemoryError
        for i in range(len(sorted_members)):
            members[i] = sorted_members[i]
            if n_groups == 0 or weights[members[i]] != weights[members[i - 1]]:
                group = &groups[n_groups]
                group.weight = weights[members[i]] // divisor
                group.rounds = group.size = group.next = 0
                group.first = <uint32_t>i
                n_groups += 1
            groups[n_groups - 1].size += 1
        with nogil:
            fill(order, period, groups, n_groups, members)
    finally:
        free(members)
        free(groups)
    cycle_free(cycle)
    cycle.order = order
    cycle.period = period
    return 0


@cython.final
cdef class SmoothWRR(Ordered):
    """SmoothWRR(servers=(), *, seed=0)\n--\n\nSmooth weighted round robin, in the order of nginx.

    A pick is O(1); if the period of the weights is above 262,144, it is O(log n) in Tijdeman's order instead, which is smoother.
    A change of weights costs O(period * different weights) before the next pick. Memory: 4 bytes per step of the period.
    """

    def __init__(self, servers=(), *, seed: int = 0):
        self.setup(servers, seed)

    cdef int build_cycle(self) except -1:
        return wrr_build(&self.cycle, self.open, self.count)
