"""Weighted consistent hashing for any number of slots: rendezvous hashing for few, rejection in O(1) expected for more. No I/O.

Up to CONSISTENT_FEW slots, a key belongs to the slot of the highest score (see `hrw`), which depends on that slot's name and weight
alone: a change moves keys only to slots that open or gain weight, and from slots that close or lose weight.

Above, a sparse table has places, which a slot gets by the hash of its name. A key tries places in its own pseudo-random order, each
with a draw of its own, and takes the first place that belongs to an open slot and whose weight the draw does not exceed. Shares are
therefore proportional to the weights; a slot that closes loses its keys and no other key moves; a slot that opens or gains weight
takes only the keys it must, evenly from all others; a slot that loses weight gives keys away and gets none (the argument of Dong and
Wang, DxHash, 2021, with weights by rejection). A slot that has more than a quantum of weight, which is the average rounded up to a
power of two, has several places, so that few draws are rejected. More keys move than necessary when two names collide on a place
while a third one is added or removed, and when the quantum or the number of places crosses a power of two, which moves half of the
keys. Expected tries: 8 to 32 while all slots are open.
Vectors: servers app-v1, app-v2, app-v3 of weights 3, 1, 1 give the keys user-0 to user-9 2111113132; servers 0 to 299 of weight 1 give
user-0 to user-5 126, 241, 203, 261, 119, 54.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.bound cimport Bound, admitted
from lbcore.selection.keyed cimport Keyed
from lbcore.selection.mix cimport mix64

cdef enum:
    NOWHERE = 0xFFFFFFFF
    ROOM = 8                   # least number of places for each one taken ...
    MANY = 65536               # ... below this number of places taken, and
    LITTLE_ROOM = 2            # ... from it on
    TRIES = 4096               # places tried; after these, almost all slots are closed, and the key chooses among the open ones


cdef int places_build(Places* places, const uint64_t* names, const uint32_t* weights, Py_ssize_t count) except -1:
    """Build the table for slots 0..count-1. `names`: hashes of their names. O(slots log slots). Raises MemoryError."""
    cdef uint64_t total = 0, size = 16, quantum = 1, taken = 0, step, part, weight
    cdef Py_ssize_t i, with_weight = 0
    cdef Place* found
    for i in range(count):
        total += weights[i]
        with_weight += weights[i] != 0
    while with_weight and quantum * <uint64_t>with_weight < total:
        quantum *= 2
    for i in range(count):
        taken += (weights[i] + quantum - 1) // quantum
    while size < taken * (ROOM if taken < MANY else LITTLE_ROOM):
        size *= 2
    found = <Place*>malloc(size * sizeof(Place))
    if found == NULL:
        raise MemoryError
    for step in range(size):
        found[step].slot = NOWHERE
    # Slots are placed in the order of their names, so that their order in a file decides nothing.
    for item in sorted(range(count), key=lambda i: names[<Py_ssize_t>i]):
        i = item
        weight = weights[i]
        part = 0
        while weight:
            step = mix64(names[i] + part)
            while found[step & (size - 1)].slot != NOWHERE:
                step = mix64(step)
            found[step & (size - 1)].slot = <uint32_t>i
            found[step & (size - 1)].limit = <uint32_t>((min(weight, quantum) << 32) // quantum - 1)
            weight -= min(weight, quantum)
            part += 1
    places_free(places)
    places.places = found
    places.size = size
    return 0


cdef Py_ssize_t places_find(
        const Places* places, uint64_t key, const uint32_t* open, Py_ssize_t count, Py_ssize_t avoid) noexcept nogil:
    """The slot of a key.

    open   by slot: not 0 if the slot may be taken.
    avoid  how many choices to pass over: 0 returns the key's own slot, 1 another one, and so on as long as there are others.
    Returns -1 when no slot is open.
    """
    cdef uint64_t step = mix64(key), found
    cdef const Place* place
    cdef uint32_t last = NOWHERE
    cdef Py_ssize_t i, tries
    if places.places != NULL:
        for tries in range(TRIES):
            place = &places.places[step & (places.size - 1)]
            found = step >> 32
            step = mix64(step + <uint64_t>0x9E3779B97F4A7C15)
            if place.slot == NOWHERE or found > place.limit or open[place.slot] == 0 or place.slot == last:
                continue
            if avoid == 0:
                return place.slot
            avoid -= 1
            last = place.slot
    if count == 0:
        return -1
    found = step % <uint64_t>count
    for i in range(count):
        if open[(found + i) % <uint64_t>count]:
            return <Py_ssize_t>((found + i) % <uint64_t>count)
    return -1


cdef Py_ssize_t places_choose(
        const Places* places, uint64_t key, const uint32_t* open, const uint8_t* barred, const Bound* bound) noexcept nogil:
    """The first slot of a key that is open, not barred and not full; -1 when TRIES places have none."""
    cdef uint64_t step = mix64(key), found
    cdef const Place* place
    cdef Py_ssize_t tries
    for tries in range(TRIES):
        place = &places.places[step & (places.size - 1)]
        found = step >> 32
        step = mix64(step + <uint64_t>0x9E3779B97F4A7C15)
        if place.slot != NOWHERE and found <= place.limit and open[place.slot] and admitted(place.slot, barred, bound):
            return place.slot
    return -1


cdef void places_free(Places* places) noexcept nogil:
    free(places.places)
    places.places = NULL
    places.size = 0


@cython.final
cdef class Consistent(Keyed):
    """Consistent(servers=(), *, seed=0, hash="mix64", bounded_load=None)\n--\n\nWeighted consistent hashing for any number of servers: O(1) expected beyond 256 of them.

    A server that is removed, closes or loses weight gives up the keys that it must, evenly to all others; a server that is added,
    opens or gains weight takes the keys that it must, evenly from all others; no key moves between two servers that stay the same.

    Up to 256 servers this holds for any number of changes at once: a key moves from one server to another only if the weight of the
    second has grown in proportion to that of the first. A pick is O(servers), some 2 to 4 ns for each.

    Above, it holds while the size of the table stays the same. The table has 8 to 16 places for each server, more for a server
    above the average weight; its size and the unit of weight are powers of two. When one of them crosses a power of two, about once
    per doubling of the servers or of the average weight, half of the keys move; between 256 and 257 servers nearly all move.

    Shares are proportional to the weights; the order of servers decides nothing. A change of servers or weights is
    O(servers log servers) before the next pick. Memory: 16 bytes per server; above 256 servers 64 to 128 more, above 65,536
    16 to 32 more.

    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, hash: str = "mix64", bounded_load: float | None = None):
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __dealloc__(self):
        places_free(&self.places)

    cdef int build(self) except -1:
        if self.count <= CONSISTENT_FEW:
            places_free(&self.places)
            return 0
        return places_build(&self.places, self.ids, self.weights, self.count)

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        cdef Py_ssize_t found
        if barred != NULL or self.factor or self.open_total == 0:
            return Keyed.choose(self, key, barred)
        if self.places.places == NULL:
            return self.rank(key, NULL, NULL)
        found = places_choose(&self.places, key, self.open, NULL, NULL)
        return self.rank(key, NULL, NULL) if found < 0 else found

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        cdef Py_ssize_t found = -1
        if self.places.places != NULL:
            found = places_choose(&self.places, key, self.open, barred, bound)
        return self.rank(key, barred, bound) if found < 0 else found
