# Pairs of servers drawn some picks ahead, so that the memory that a pick reads is in the cache by then.
#
# Among many servers, a random pick spends nearly all its time waiting for memory: for the loads of both servers, and for the
# objects that represent them. A pair depends on the state of the generator alone, so it is drawn AHEAD picks before it is used, and
# its memory is prefetched. The picks are the same as without.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.alias cimport Alias, alias_draw, alias_other
from lbcore.selection.load cimport Load
from lbcore.selection.prefetch cimport prefetch

cdef enum:
    AHEAD = 32                 # pairs; a power of two
    AHEAD_GROUP = 8            # pairs drawn together, so that their waits for the table overlap
    AHEAD_NEAR = 16            # picks before its use at which an object is prefetched; its address has arrived by then
    AHEAD_FROM = 4096          # servers; fewer stay in the cache by themselves
    AHEAD_FROM_BARE = 32768    # the same, for callers that need no objects


cdef struct AheadPair:
    uint64_t after             # state of the generator after the pair was drawn
    uint32_t first
    uint32_t second


cdef struct Ahead:
    AheadPair ring[AHEAD]
    uint64_t before            # state of the generator from which the next pair is drawn
    uint32_t at                # number of the next pair
    bint ready                 # False: `ring` is stale
    void** objects             # by index: the Python objects of the servers; borrowed, never dereferenced
    uint64_t* picks            # by index; borrowed from the Algorithm until its next change
    Load* loads                # by index; borrowed likewise; NULL: draw single servers, their loads are not needed


cdef inline void ahead_group(
        Ahead* ahead, const Alias* alias, uint64_t random, uint32_t at, bint for_python) noexcept nogil:
    """Draw a group of pairs, and prefetch the loads that decide between the two."""
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
    """The pair that `alias_draw` and `alias_other` would draw now; without `loads` one server, twice.

    for_python  the caller is going to use the object of the server that it picks.
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
        # Which of the two will be picked is a guess: a wrong one costs a wait, prefetching both costs more.
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
