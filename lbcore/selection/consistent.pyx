"""Weighted consistent hashing by rejection: O(1) expected for any number of slots. No I/O.

A sparse table has places, found by the hash of a slot's name. A key tries places in a pseudo-random order of its own, each
time with a draw of its own, and takes the first place that belongs to an open slot and whose weight the draw does not
exceed. So shares are proportional to the weights; a slot that closes loses its keys and no other key moves; one that opens
or gains weight takes only the keys it must, and they come from all others alike; one that loses weight gives some away and
gets none (the argument of Dong and Wang, DxHash, 2021, with weights by rejection). A slot of more than a quantum of weight,
the average rounded up to a power of two, has several places, so that few draws are rejected.

Keys move beyond need only when two names meet on one place and a third one comes or goes, or when the number of places
crosses a power of two. Expected tries: 8 to 32 while all are open.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from lbcore.selection.mix cimport hash_bytes, mix64

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


cdef void places_free(Places* places) noexcept nogil:
    free(places.places)
    places.places = NULL
    places.size = 0


# The rest serves tests and tools.

cdef class ConsistentOrder:
    """The same, for Python: names with weights; `find` says which name a key belongs to."""

    cdef Places places
    cdef list names
    cdef uint32_t* open

    def __cinit__(self, weights: dict):
        cdef Py_ssize_t i, n = len(weights)
        self.names = list(weights)
        cdef uint64_t* hashes = <uint64_t*>malloc((n + 1) * sizeof(uint64_t))
        self.open = <uint32_t*>malloc((n + 1) * sizeof(uint32_t))
        if hashes == NULL or self.open == NULL:
            free(hashes)
            raise MemoryError
        for i in range(n):
            text = self.names[i].encode()
            hashes[i] = hash_bytes(text, len(text), 0)
            self.open[i] = weights[self.names[i]]
        try:
            places_build(&self.places, hashes, self.open, n)
        finally:
            free(hashes)

    def __dealloc__(self):
        places_free(&self.places)
        free(self.open)

    def set_open(self, name: str, bint is_open) -> None:
        """Open or close a slot that has weight; the table stays."""
        self.open[<Py_ssize_t>self.names.index(name)] = is_open

    def find(self, key: str, avoid: int = 0) -> str | None:
        text = key.encode()
        found = places_find(&self.places, hash_bytes(text, len(text), 0), self.open, len(self.names), avoid)
        return None if found < 0 else self.names[found]
