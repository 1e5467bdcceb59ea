"""Draws in proportion to weights, in constant time: the alias method. No I/O.

Each of n servers with weight has a slot, and each slot gets 1/n of all draws; what the server itself does not use of its slot
belongs to one other server. A draw selects a slot and then one of the two. Source: A. J. Walker, An efficient method for generating
discrete random variables with general distributions, ACM TOMS 3 (1977); built in linear time as in M. D. Vose, IEEE Trans. Software
Engineering 17 (1991), but with integers, so that rounding errors do not add up. A probability is off by less than 2**-32.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.rng cimport random_next
from lbcore.selection.wide cimport uint128

cdef enum:
    BARRED_DRAWS = 16          # draws before all servers are examined


cdef void fill(AliasSlot* slots, uint64_t* parts, uint32_t* stack, Alias* alias, uint64_t total) noexcept nogil:
    """Fill the slots. `parts`: weight times number of slots, so that `total` is a full slot. `stack`: room for one index per slot.

    The stack holds the slots that are not full from the left, and the others from the right.
    """
    cdef uint32_t n = alias.size, n_small = 0, n_large = 0, small, large, i
    for i in range(n):
        if parts[i] < total:
            stack[n_small] = i
            n_small += 1
        else:
            n_large += 1
            stack[n - n_large] = i
    while n_small and n_large:
        n_small -= 1
        small = stack[n_small]
        large = stack[n - n_large]
        slots[small].keep = <uint32_t>((<uint128>parts[small] << 32) // total)
        slots[small].other = large if alias.members == NULL else alias.members[large]
        parts[large] -= total - parts[small]
        if parts[large] < total:
            n_large -= 1
            stack[n_small] = large
            n_small += 1
    # All slots that are left are exactly full.
    for i in range(n_large):
        large = stack[n - 1 - i]
        slots[large].keep = 0xFFFFFFFF
        slots[large].other = large if alias.members == NULL else alias.members[large]


cdef int alias_build(Alias* alias, const uint32_t* weights, Py_ssize_t count, bint by_weight) except -1:
    """Replace the table by one for `count` servers, of which those of weight 0 are never drawn.

    by_weight  False: all servers with weight are drawn with equal probability.
    Cost: O(count). Memory: 8 bytes per server if weights differ, and 4 more if some are 0. Raises MemoryError.
    """
    cdef uint64_t total = 0
    cdef uint32_t n = 0, any_weight = 0
    cdef bint alike = True
    cdef Py_ssize_t i
    cdef Alias built
    cdef uint64_t* parts
    cdef uint32_t* stack
    built.slots = NULL
    built.members = NULL
    for i in range(count):
        if weights[i]:
            total += weights[i]
            alike = alike and (n == 0 or weights[i] == any_weight)
            any_weight = weights[i]
            n += 1
    built.size = n
    if n < count and n:
        built.members = <uint32_t*>malloc(n * sizeof(uint32_t))
        if built.members == NULL:
            raise MemoryError
        n = 0
        for i in range(count):
            if weights[i]:
                built.members[n] = <uint32_t>i
                n += 1
    if by_weight and not alike:
        built.slots = <AliasSlot*>malloc(n * sizeof(AliasSlot))
        parts = <uint64_t*>malloc(n * sizeof(uint64_t))
        stack = <uint32_t*>malloc(n * sizeof(uint32_t))
        if built.slots == NULL or parts == NULL or stack == NULL:
            free(parts)
            free(stack)
            alias_free(&built)
            raise MemoryError
        for i in range(n):
            parts[i] = <uint64_t>weights[alias_member(&built, <uint32_t>i)] * n
        fill(built.slots, parts, stack, &built, total)
        free(parts)
        free(stack)
    alias_free(alias)
    alias[0] = built
    return 0


cdef void alias_free(Alias* alias) noexcept nogil:
    free(alias.slots)
    free(alias.members)
    alias.slots = NULL
    alias.members = NULL
    alias.size = 0


cdef Py_ssize_t alias_draw_but(
        const Alias* alias, const uint32_t* weights, const uint8_t* barred, Py_ssize_t first, uint64_t* random) noexcept nogil:
    """A server drawn by weight among those that are not barred and not `first`; -1 when there is none. O(servers) at worst.

    weights  by index, those from which the table was built.
    barred   by index; NULL = none is barred.   first  an index; -1 = none.
    """
    cdef uint32_t drawn, i
    cdef uint64_t total = 0, at
    if alias.size == 0:
        return -1
    for i in range(BARRED_DRAWS):
        drawn = alias_draw(alias, random)
        if drawn != first and (barred == NULL or not barred[drawn]):
            return drawn
    for i in range(alias.size):
        drawn = alias_member(alias, i)
        if drawn != first and (barred == NULL or not barred[drawn]):
            total += 1 if alias.slots == NULL else weights[drawn]
    if total == 0:
        return -1
    at = <uint64_t>((<uint128>random_next(random) * total) >> 64)
    for i in range(alias.size):
        drawn = alias_member(alias, i)
        if drawn != first and (barred == NULL or not barred[drawn]):
            total = 1 if alias.slots == NULL else weights[drawn]
            if at < total:
                break
            at -= total
    return drawn
