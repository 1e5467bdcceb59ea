"""Tijdeman's order: the smoothest weighted round robin possible. No I/O.

After any k picks the number of picks of a server differs from its exact share k*w/W by at most 1 - 1/(2n-2), less than one pick;
after W picks it is exactly w. Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980): pick j of a
server with rate r = w/W may come from the step k on at which j-1 + e <= k*r, and must come before the step at which
(k-1)*r > j - e, where e = 1/(2n-2); of the picks that may come, the one with the earliest deadline does.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from lbcore.selection.cycle cimport CYCLE_LIMIT, Cycle, common_divisor, cycle_free


cdef inline bint before(const Job* a, const Job* b, bint by_due) noexcept nogil:
    cdef int64_t left = a.due if by_due else a.free_from
    cdef int64_t right = b.due if by_due else b.free_from
    return left < right or (left == right and a.index < b.index)


cdef void heap_push(Job* heap, Py_ssize_t* size, Job job, bint by_due) noexcept nogil:
    cdef Py_ssize_t at = size[0], up
    size[0] += 1
    while at > 0:
        up = (at - 1) // 2
        if not before(&job, &heap[up], by_due):
            break
        heap[at] = heap[up]
        at = up
    heap[at] = job


cdef Job heap_pop(Job* heap, Py_ssize_t* size, bint by_due) noexcept nogil:
    cdef Job top = heap[0], last
    cdef Py_ssize_t at = 0, down, n = size[0] - 1
    size[0] = n
    last = heap[n]
    while True:
        down = 2 * at + 1
        if down >= n:
            break
        if down + 1 < n and before(&heap[down + 1], &heap[down], by_due):
            down += 1
        if not before(&heap[down], &last, by_due):
            break
        heap[at] = heap[down]
        at = down
    heap[at] = last
    return top


cdef void schedule(Upcoming* upcoming, uint32_t index) noexcept nogil:
    """Put the next pick of a server into `ready` if it may come at the next step, else into `later`. O(log count)."""
    cdef int128 weight = upcoming.weights[index], scale = upcoming.scale, picked = upcoming.picked[index]
    cdef int128 period = upcoming.period, unit = scale * weight
    cdef Job job
    job.index = index
    job.free_from = <int64_t>(((picked * scale + 1) * period + unit - 1) // unit)
    job.due = <int64_t>((((picked + 1) * scale - 1) * period) // unit) + 1
    if job.free_from <= upcoming.step + 1:
        heap_push(upcoming.ready, &upcoming.n_ready, job, True)
    else:
        heap_push(upcoming.later, &upcoming.n_later, job, False)


cdef void start_period(Upcoming* upcoming) noexcept nogil:
    cdef Py_ssize_t i
    upcoming.n_ready = upcoming.n_later = 0
    upcoming.step = 0
    memset(upcoming.picked, 0, upcoming.count * sizeof(int64_t))
    for i in range(upcoming.count):
        if upcoming.weights[i]:
            schedule(upcoming, <uint32_t>i)


cdef int upcoming_begin(Upcoming* upcoming, const uint32_t* weights, Py_ssize_t count) except -1:
    """Replace the order by that of `count` servers, from its start; servers of weight 0 are never picked.

    O(count log count). Raises MemoryError.
    """
    cdef uint32_t divisor = 0
    cdef Py_ssize_t i, with_weight = 0
    upcoming_free(upcoming)
    upcoming.ready = <Job*>malloc((count + 1) * sizeof(Job))
    upcoming.later = <Job*>malloc((count + 1) * sizeof(Job))
    upcoming.picked = <int64_t*>calloc(count + 1, sizeof(int64_t))
    upcoming.weights = <uint32_t*>malloc((count + 1) * sizeof(uint32_t))
    if upcoming.ready == NULL or upcoming.later == NULL or upcoming.picked == NULL or upcoming.weights == NULL:
        upcoming_free(upcoming)
        raise MemoryError
    for i in range(count):
        divisor = common_divisor(weights[i], divisor)
    for i in range(count):
        upcoming.weights[i] = weights[i] // divisor if divisor else 0
        upcoming.period += upcoming.weights[i]
        with_weight += upcoming.weights[i] != 0
    upcoming.count = count
    upcoming.scale = max(2 * with_weight - 2, <Py_ssize_t>2)
    start_period(upcoming)
    return 0


cdef void upcoming_free(Upcoming* upcoming) noexcept nogil:
    free(upcoming.ready)
    free(upcoming.later)
    free(upcoming.picked)
    free(upcoming.weights)
    memset(upcoming, 0, sizeof(Upcoming))


cdef Py_ssize_t upcoming_next(Upcoming* upcoming) noexcept nogil:
    """The index of the next pick; -1 when no server has weight. O(log count)."""
    cdef Job job
    if upcoming.period == 0:
        return -1
    if upcoming.step == upcoming.period:
        start_period(upcoming)
    upcoming.step += 1
    while upcoming.n_later and upcoming.later[0].free_from <= upcoming.step:
        job = heap_pop(upcoming.later, &upcoming.n_later, False)
        heap_push(upcoming.ready, &upcoming.n_ready, job, True)
    job = heap_pop(upcoming.ready, &upcoming.n_ready, True)
    upcoming.picked[job.index] += 1
    if upcoming.picked[job.index] < upcoming.weights[job.index]:
        schedule(upcoming, job.index)
    return job.index


cdef int chairman_build(Cycle* cycle, const uint32_t* weights, Py_ssize_t count) except -1:
    """Replace the contents of `cycle` by the whole order of `count` servers; servers of weight 0 are never picked.

    Returns 0, or 1 if the period is above CYCLE_LIMIT; then `cycle` is unchanged. Raises MemoryError.
    Cost: O(period * log(count)). Memory: 4 bytes per step.
    """
    cdef Upcoming upcoming
    cdef uint32_t* order
    cdef Py_ssize_t i
    memset(&upcoming, 0, sizeof(upcoming))
    upcoming_begin(&upcoming, weights, count)
    try:
        if upcoming.period > CYCLE_LIMIT:
            return 1
        if upcoming.period == 0:
            cycle_free(cycle)
            return 0
        order = <uint32_t*>malloc(upcoming.period * sizeof(uint32_t))
        if order == NULL:
            raise MemoryError
        with nogil:
            for i in range(upcoming.period):
                order[i] = <uint32_t>upcoming_next(&upcoming)
        cycle_free(cycle)
        cycle.order = order
        cycle.period = upcoming.period
    finally:
        upcoming_free(&upcoming)
    return 0
