# Pairs drawn some picks ahead, so that what a pick reads is in the cache by then.
#
# Among many servers nearly all of a random pick's time is waiting for memory: the load of both servers, and the objects that
# stand for them. A pair depends on the state of the generator alone; it is worked out AHEAD picks before it is used, and its
# memory is asked for. Nothing else follows from it: the same picks come without.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_draw, alias_other
from lbcore.selection.load cimport Load
from lbcore.selection.prefetch cimport prefetch

cdef enum:
    AHEAD = 32                 # pairs; a power of two
    AHEAD_GROUP = 8            # of them are drawn together: their waits for the table overlap
    AHEAD_NEAR = 16            # picks ahead of which objects are asked for, their addresses having come meanwhile
    AHEAD_FROM = 4096          # servers: fewer stay in the cache by themselves
    AHEAD_FROM_BARE = 32768    # where their objects are not wanted


cdef struct AheadPair:
    uint64_t after             # state of the generator once the pair was drawn
    uint32_t first
    uint32_t second


cdef struct Ahead:
    AheadPair ring[AHEAD]
    uint64_t before            # state of the generator that the next pair follows from
    uint32_t at                # of the next pair
    bint ready
    void** objects             # by index: what stands for a server; only its address is used
    uint64_t* picks            # by index: counted where the object is wanted
    Load* loads                # by index; NULL: they are not needed


cdef inline void ahead_group(
        Ahead* ahead, const Alias* alias, uint64_t random, uint32_t at, bint for_python) noexcept nogil:
    """Draw a group of pairs, and ask for what tells who of each will be picked."""
    cdef AheadPair* pair = &ahead.ring[at % AHEAD]
    cdef uint32_t i
    for i in range(AHEAD_GROUP):
        pair.first = pair.second = alias_draw(alias, &random)
        if for_python:
            prefetch(&ahead.objects[pair.first])
        if ahead.loads != NULL:
            pair.second = alias_other(alias, pair.first, &random)
            if for_python:
                prefetch(&ahead.objects[pair.second])
            prefetch(&ahead.loads[pair.first])
            prefetch(&ahead.loads[pair.second])
        pair.after = random
        pair += 1


cdef inline AheadPair* ahead_next(Ahead* ahead, const Alias* alias, uint64_t* random, bint for_python) noexcept nogil:
    """Two different servers drawn by weight, as `alias_draw` and `alias_other` give them; one, twice, without `loads`.

    for_python  the object that stands for the server picked is what the caller wants.
    """
    cdef AheadPair* found
    cdef uint32_t i
    if ahead.at % AHEAD_GROUP == 0 or ahead.before != random[0] or not ahead.ready:
        if ahead.before != random[0] or not ahead.ready:
            ahead.at = 0
            ahead.ready = True
            ahead_group(ahead, alias, random[0], 0, for_python)
            i = AHEAD_GROUP
            while i < AHEAD:
                ahead_group(ahead, alias, ahead.ring[i - 1].after, i, for_python)
                i += AHEAD_GROUP
        else:
            # The last group has been used up.
            i = ahead.at + AHEAD - AHEAD_GROUP
            ahead_group(ahead, alias, ahead.ring[(i - 1) % AHEAD].after, i, for_python)
    if for_python:
        # Which of two it will be is a guess: to be wrong costs a wait, to ask for both costs more.
        found = &ahead.ring[(ahead.at + AHEAD_NEAR) % AHEAD]
        i = found.first
        if ahead.loads != NULL and ahead.loads[found.second].in_flight < ahead.loads[i].in_flight:
            i = found.second
        prefetch(ahead.objects[i])
        prefetch(&ahead.picks[i])
    found = &ahead.ring[ahead.at % AHEAD]
    ahead.at += 1
    random[0] = ahead.before = found.after
    return found
