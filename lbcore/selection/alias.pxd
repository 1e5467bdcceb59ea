# Draws in proportion to weights, in constant time: the alias method.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.selection.rng cimport random_below, random_next

cdef enum:
    ALIAS_DRAWS = 8            # draws of a second server before it is taken without weights


cdef struct AliasSlot:
    uint32_t keep              # a draw below it selects the slot's own server
    uint32_t other             # any other draw selects this server


cdef struct Alias:             # owns both arrays: `alias_build` allocates them, `alias_free` frees them
    AliasSlot* slots           # NULL: all weights are equal
    uint32_t* members          # slot -> server; NULL: every server has weight, slot n is server n
    uint32_t size              # number of slots, that is of servers with weight


cdef inline uint32_t alias_member(const Alias* alias, uint32_t slot) noexcept nogil:
    return slot if alias.members == NULL else alias.members[slot]


cdef inline uint32_t alias_draw(const Alias* alias, uint64_t* random) noexcept nogil:
    """The index of a server, drawn by weight. `alias.size` must not be 0."""
    cdef uint64_t drawn = random_next(random)
    cdef uint32_t slot = <uint32_t>(((drawn >> 32) * alias.size) >> 32)
    cdef uint32_t own = alias_member(alias, slot), taken
    if alias.slots == NULL:
        return own
    # A branch here would be guessed wrong as often as not.
    taken = 0 - <uint32_t>(<uint32_t>drawn >= alias.slots[slot].keep)
    return own ^ ((own ^ alias.slots[slot].other) & taken)


cdef inline uint32_t alias_other(const Alias* alias, uint32_t first, uint64_t* random) noexcept nogil:
    """Another server than `first`, drawn by weight; without regard to weights if `first` has nearly all. `alias.size`: 2 or more."""
    cdef uint32_t other, i
    if alias.size == 2:
        other = alias_member(alias, 0)
        return alias_member(alias, 1) if other == first else other
    for i in range(ALIAS_DRAWS):
        other = alias_draw(alias, random)
        if other != first:
            return other
    i = random_below(random, alias.size)
    other = alias_member(alias, i)
    if other == first:
        i += 1
        other = alias_member(alias, 0 if i == alias.size else i)
    return other


cdef int alias_build(Alias* alias, const uint32_t* weights, Py_ssize_t count, bint by_weight) except -1
cdef void alias_free(Alias* alias) noexcept nogil
cdef Py_ssize_t alias_draw_but(
    const Alias* alias, const uint32_t* weights, const uint8_t* barred, Py_ssize_t first, uint64_t* random) noexcept nogil
