"""The smoothest weighted round-robin order there is, computed once per set of servers and weights. No I/O.

After any k picks every server has had its exact share k*w/W to within 1 - 1/(2n-2), less than one pick; after W picks
exactly w. Source: R. Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980): pick j of a server with
rate r = w/W may come at step k when j-1 + e <= k*r, and has to by the step before (k-1)*r > j - e, where e = 1/(2n-2);
whoever has to be first goes first.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free, malloc


cdef uint32_t common_divisor(uint32_t a, uint32_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef struct Job:               # the next pick of one server
    int64_t due                # last step at which it may come
    uint32_t index


cdef inline bint before(const Job* a, const Job* b) noexcept nogil:
    return a.due < b.due or (a.due == b.due and a.index < b.index)


cdef void heap_push(Job* heap, Py_ssize_t* size, Job job) noexcept nogil:
    cdef Py_ssize_t at = size[0], up
    size[0] += 1
    while at > 0:
        up = (at - 1) // 2
        if not before(&job, &heap[up]):
            break
        heap[at] = heap[up]
        at = up
    heap[at] = job


cdef Job heap_pop(Job* heap, Py_ssize_t* size) noexcept nogil:
    cdef Job top = heap[0], last
    cdef Py_ssize_t at = 0, down, n = size[0] - 1
    size[0] = n
    last = heap[n]
    while True:
        down = 2 * at + 1
        if down >= n:
            break
        if down + 1 < n and before(&heap[down + 1], &heap[down]):
            down += 1
        if not before(&heap[down], &last):
            break
        heap[at] = heap[down]
        at = down
    heap[at] = last
    return top


cdef void fill(uint32_t* order, Py_ssize_t period, const uint32_t* weights, uint32_t divisor, Py_ssize_t count,
               Py_ssize_t picked_at_all, Job* heap, uint32_t* first_at, uint32_t* next_of, int64_t* picked) noexcept nogil:
    """`first_at[k]` heads the list (linked by `next_of`, indexes plus one) of servers whose next pick is free from step k."""
    cdef int64_t scale = 2 * picked_at_all - 2, weight, step, free_from
    cdef Py_ssize_t size = 0
    cdef uint32_t i, link
    cdef Job job
    for i in range(count):
        weight = weights[i] // divisor
        if weight == 0:
            continue
        picked[i] = 0
        free_from = (period + scale * weight - 1) // (scale * weight)
        next_of[i] = first_at[free_from]
        first_at[free_from] = i + 1
    for step in range(1, period + 1):
        link = first_at[step]
        while link:
            i = link - 1
            link = next_of[i]
            weight = weights[i] // divisor
            job.index = i
            job.due = ((picked[i] + 1) * scale - 1) * period // (scale * weight) + 1
            heap_push(heap, &size, job)
        job = heap_pop(heap, &size)
        i = job.index
        order[step - 1] = i
        picked[i] += 1
        weight = weights[i] // divisor
        if picked[i] < weight:
            free_from = ((picked[i] * scale + 1) * period + scale * weight - 1) // (scale * weight)
            if free_from <= step:
                free_from = step + 1
            next_of[i] = first_at[free_from]
            first_at[free_from] = i + 1


cdef int cycle_build(Cycle* cycle, const uint32_t* slots, const uint32_t* weights, Py_ssize_t count) except -1:
    """Compute the order of `count` servers; those of weight 0 never come. Replaces what `cycle` held.

    Returns 0, or 1 when the period is beyond CYCLE_LIMIT: then nothing has changed. Raises MemoryError.
    Cost: O(period * log(count)) time; 4 bytes per step are kept.
    """
    cdef uint32_t divisor = 0
    cdef int64_t total = 0
    cdef Py_ssize_t i, period, positive = 0, last = 0
    cdef uint32_t* order = NULL
    cdef Job* heap = NULL
    cdef uint32_t* first_at = NULL
    cdef uint32_t* next_of = NULL
    cdef int64_t* picked = NULL
    for i in range(count):
        total += weights[i]
        divisor = common_divisor(weights[i], divisor)
        if weights[i]:
            positive += 1
            last = i
    if total == 0:
        cycle_free(cycle)
        return 0
    period = <Py_ssize_t>(total // divisor)
    if period > CYCLE_LIMIT:
        return 1
    order = <uint32_t*>malloc(period * sizeof(uint32_t))
    heap = <Job*>malloc(count * sizeof(Job))
    first_at = <uint32_t*>calloc(period + 2, sizeof(uint32_t))
    next_of = <uint32_t*>malloc(count * sizeof(uint32_t))
    picked = <int64_t*>calloc(count, sizeof(int64_t))
    try:
        if order == NULL or heap == NULL or first_at == NULL or next_of == NULL or picked == NULL:
            free(order)
            raise MemoryError
        if positive == 1:
            order[0] = <uint32_t>last
        else:
            fill(order, period, weights, divisor, count, positive, heap, first_at, next_of, picked)
    finally:
        free(heap)
        free(first_at)
        free(next_of)
        free(picked)
    for i in range(period):
        order[i] = slots[order[i]]
    cycle_free(cycle)
    cycle.order = order
    cycle.period = period
    return 0


cdef void cycle_free(Cycle* cycle) noexcept nogil:
    free(cycle.order)
    cycle.order = NULL
    cycle.period = 0


def smooth_order(weights: list) -> list | None:
    """The order for a list of weights, as indexes; None when its period is beyond CYCLE_LIMIT."""
    cdef Cycle cycle
    cdef Py_ssize_t i, count = len(weights)
    cdef uint32_t* values = <uint32_t*>malloc(2 * (count + 1) * sizeof(uint32_t))
    cycle.order = NULL
    cycle.period = 0
    if values == NULL:
        raise MemoryError
    try:
        for i in range(count):
            values[i] = i
            values[count + i] = weights[i]
        if cycle_build(&cycle, values, values + count, count):
            return None
        return [cycle.order[i] for i in range(cycle.period)]
    finally:
        free(values)
        cycle_free(&cycle)
