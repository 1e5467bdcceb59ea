"""Weighted consistent hashing for any number of slots: by rendezvous among few, by rejection in O(1) expected among more. No I/O.

Among CONSISTENT_FEW slots and fewer, a key belongs to the slot of the highest score (see `hrw`), which depends on that slot's
name and weight alone: a change moves keys only to slots that open or gain weight, and from those that close or lose some.

Among more, a sparse table has places, found by the hash of a slot's name. A key tries places in a pseudo-random order of its
own, each time with a draw of its own, and takes the first place that belongs to an open slot and whose weight the draw does not
exceed. So shares are proportional to the weights; a slot that closes loses its keys and no other key moves; one that opens
or gains weight takes only the keys it must, and they come from all others alike; one that loses weight gives some away and
gets none (the argument of Dong and Wang, DxHash, 2021, with weights by rejection). A slot of more than a quantum of weight,
the average rounded up to a power of two, has several places, so that few draws are rejected. There, keys move beyond need when
two names meet on one place and a third one comes or goes, and when the quantum or the number of places crosses a power of two:
then half of them do. Expected tries: 8 to 32 while all are open.
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
    ROOM = 8                   # places per place that is taken, at least
    MANY = 65536               # from here on:
    LITTLE_ROOM = 2
    TRIES = 4096               # then almost everything is closed: any open slot, chosen by the key


cdef int places_build(Places* places, const uint64_t* names, const uint32_t* weights, Py_ssize_t count) except -1:
    """Place slots 0..count-1. `names` are hashes of their names, and what the order of placing follows. O(slots log slots)."""
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
    # By name, not by position: the order of a file decides nothing.
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

    open   by slot: not 0 where the slot may be taken.
    avoid  how many choices to pass over: 0 gives the key's own slot, 1 another one, and so on as long as there are others.
    Returns -1 when nothing is open.
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
    """The first slot of a key that is open, not barred and not full; -1 when it is not found soon."""
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

    A server that goes, closes or loses weight gives up the keys that it must, to all others alike; one that comes, opens or gains
    weight takes what it must, from all others alike; no key moves between two servers that stay as they are.

    Among 256 servers and fewer that is all, whatever changes at once: a key moves from one server to another only if the weight of
    the second has grown in proportion to the first one's. A pick is O(servers), some 2 to 4 ns each.

    Among more it holds as long as the number of places stays what it is: 8 to 16 times the servers' weights, each in units of the
    average one and rounded up, and a power of two, as is the unit. When one of the two crosses its next power of two, about once per
    doubling of the servers or of the average weight, half of the keys move, and between 256 and 257 servers nearly all.

    Shares are proportional to the weights; the order of servers decides nothing. A change of servers or weights is
    O(servers log servers) before the next pick. Memory: 16 bytes per server, beyond 256 of them 64 to 128 more, beyond 65,536
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
