"""Maglev hashing: a lookup table that servers take turns to fill, each in its own order of preference. No I/O.

Slot j of a server's preference is (offset + j * skip) % M, M a prime, offset = mix64(id) % M, skip = mix64(id + 1) % (M - 1) + 1.
In turn t, server i takes its next free slot if t * w_i has reached its target, which then grows by w_max: so server i has the turns
ceil(k * w_max / w_i). Source: Eisenbud and others, Maglev: a fast and reliable software network load balancer, NSDI 2016, section
3.4; the weights as in Envoy, maglev_lb.cc. The slot of a key follows from the upper bits of mix64 of its hash.
Vector: servers app-v1, app-v2, app-v3 of weights 3, 1, 1 give the keys user-0 to user-9 1123112311.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lbcore.selection.bound cimport Bound, admitted
from lbcore.selection.keyed cimport Keyed
from lbcore.selection.mix cimport mix64
from lbcore.selection.wide cimport scaled

cdef enum:
    SLOTS_EACH = 64            # least number of slots for each server if no table size is given
    TRIES = 128                # slots tried before servers are ranked
    MOST_SLOTS = 1 << 30

# Primes, each about four times the one before.
SIZES = (65537, 262147, 1048583, 4194319, 16777259, 67108879, 268435459, 1073741827)


def is_prime(number: int) -> bool:
    if number < 2:
        return False
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return True


cdef int maglev_fill(
        uint32_t* table, uint64_t size, const uint64_t* ids, const uint32_t* weights, const uint32_t* order, Py_ssize_t count,
        uint32_t* room) noexcept nogil:
    """Fill a table of `size` slots, a prime.

    order  the indexes of the servers in the order of their names.
    room   scratch memory for 4 * count + 2 * (size + 2) numbers, and size bits.
    O(size * ln(size)) expected, for any number of servers and any weights.
    """
    cdef uint32_t* next_slot = room
    cdef uint32_t* skip = next_slot + count
    cdef uint32_t* turns = skip + count            # by server: turns taken so far
    cdef uint32_t* after = turns + count           # by server: the next server with the same turn
    cdef uint32_t* first = after + count           # by turn: the first of its servers, ...
    cdef uint32_t* last = first + size + 2         # ... and the last
    cdef uint32_t* taken = last + size + 2         # a bit for each slot; a bit map stays in the cache
    cdef uint64_t turn, due, most = 0, left = size, slot
    cdef Py_ssize_t k
    cdef uint32_t i, following
    memset(first, 0xFF, (size + 2) * sizeof(uint32_t))
    memset(taken, 0, (size // 32 + 1) * sizeof(uint32_t))
    for k in range(count):
        most = max(most, <uint64_t>weights[k])
    if most == 0:
        memset(table, 0xFF, size * sizeof(uint32_t))
        return 0
    for k in range(count):
        i = order[k]
        if weights[i] == 0:
            continue
        next_slot[i] = <uint32_t>(mix64(ids[i]) % size)
        skip[i] = <uint32_t>(mix64(ids[i] + 1) % (size - 1) + 1)
        turns[i] = 0
        due = (most + weights[i] - 1) // weights[i]
        if due <= size:
            after[i] = MAGLEV_EMPTY
            if first[due] == MAGLEV_EMPTY:
                first[due] = i
            else:
                after[last[due]] = i
            last[due] = i
    for turn in range(1, size + 1):
        i = first[turn]
        while i != MAGLEV_EMPTY:
            slot = next_slot[i]
            while taken[slot >> 5] >> (slot & 31) & 1:
                slot += skip[i]
                if slot >= size:
                    slot -= size
            taken[slot >> 5] |= <uint32_t>1 << (slot & 31)
            table[slot] = i
            left -= 1
            if left == 0:
                return 0
            next_slot[i] = <uint32_t>slot
            turns[i] += 1
            following = after[i]
            due = ((<uint64_t>turns[i] + 1) * most + weights[i] - 1) // weights[i]
            if due <= size:
                after[i] = MAGLEV_EMPTY
                if first[due] == MAGLEV_EMPTY:
                    first[due] = i
                else:
                    after[last[due]] = i
                last[due] = i
            i = following
    return 0


cdef uint64_t maglev_after(uint64_t slot, uint64_t size) noexcept nogil:
    """The slot to try next if the server of a slot may not be picked."""
    return scaled(mix64(slot + <uint64_t>0x9E3779B97F4A7C15), size)


@cython.final
cdef class Maglev(Keyed):
    """Maglev(servers=(), *, seed=0, table_size=None, hash="mix64", bounded_load=None)\n--\n\nMaglev hashing: a pick is one load from a table, O(1), and shares are exact to one slot.

    A change of servers or weights moves the keys that it must, and about one in a hundred of the others, more if servers have few
    slots; closing a server moves only its keys, slot by slot to other servers by a second hash. The order of servers
    decides nothing. A change of servers or weights costs O(table * ln(table)) before the next pick (some 2 ms for 65,537
    slots, 0.4 s for 4,194,319); closing and opening copies the table. Memory: 4 bytes per slot, 8 while a server is
    closed; three times as much during the change.

    table_size    number of slots, a prime above the number of servers; None = the first of 65,537, 262,147, 1,048,583, 4,194,319
                  and so on that has 64 slots for each server: 65,536 servers need 4,194,319. A table of another size maps keys
                  differently: when the number of servers crosses such a step (the first is at 1,024), nearly all keys move. A
                  server whose share of the weight is less than a slot may get none.
    hash          of keys and names, one of `HASHES`.
    bounded_load  None, or how many times its share of the requests under lease a server may have (above 1).
    """

    def __init__(self, servers=(), *, seed: int = 0, table_size: int | None = None, hash: str = "mix64",
                 bounded_load: float | None = None):
        self.table_size = 0
        if table_size is not None:
            if isinstance(table_size, bool) or not isinstance(table_size, int):
                raise TypeError(f"table_size has to be an int, not {table_size!r}")
            if not 2 < table_size <= MOST_SLOTS or not is_prime(table_size):
                raise ValueError(f"table_size has to be a prime between 3 and {MOST_SLOTS}, not {table_size}")
            self.table_size = table_size
        self.setting(hash, bounded_load)
        self.setup(servers, seed)

    def __dealloc__(self):
        if self.live != self.table:
            free(self.live)
        free(self.table)

    cdef dict options(self):
        found = Keyed.options(self)
        if self.table_size:
            found["table_size"] = self.table_size
        return found

    cdef int append(self, object server, object weight, bint up) except -1:
        if self.table_size and <uint64_t>self.count + 1 >= self.table_size:
            raise ValueError(f"a table of {self.table_size} slots is for fewer servers than that")
        return Keyed.append(self, server, weight, up)

    cdef uint32_t* filled(self, uint64_t size, const uint32_t* weights) except NULL:
        """A new table for these weights, owned by the caller. Raises MemoryError."""
        cdef Py_ssize_t i = 0
        cdef uint32_t* table = <uint32_t*>malloc(size * sizeof(uint32_t))
        cdef uint32_t* order = <uint32_t*>malloc((self.count + 1) * sizeof(uint32_t))
        cdef uint32_t* room = <uint32_t*>malloc((4 * self.count + 2 * (size + 2) + size // 32 + 1) * sizeof(uint32_t))
        if table == NULL or order == NULL or room == NULL:
            free(table)
            free(order)
            free(room)
            raise MemoryError
        for index in sorted(range(self.count), key=lambda index: self.ids[<Py_ssize_t>index]):
            order[i] = index
            i += 1
        with nogil:
            maglev_fill(table, size, self.ids, weights, order, self.count, room)
        free(order)
        free(room)
        return table

    cdef int build(self) except -1:
        cdef uint64_t size = self.table_size
        cdef uint32_t* table
        if size == 0:
            size = next(size for size in SIZES if size >= SLOTS_EACH * self.count)
        table = self.filled(size, self.weights)
        if self.live != self.table:
            free(self.live)
        free(self.table)
        self.table = self.live = table
        self.size = size
        return 0

    cdef int resolve(self) except -1:
        """Derive `live`: slots of closed servers go to open ones."""
        cdef uint64_t slot, at
        cdef int tries
        cdef uint32_t* spare = NULL
        if self.live != self.table:
            free(self.live)
            self.live = self.table
        if self.all_open or self.open_total == 0:
            return 0
        self.live = <uint32_t*>malloc(self.size * sizeof(uint32_t))
        if self.live == NULL:
            self.live = self.table
            raise MemoryError
        memcpy(self.live, self.table, self.size * sizeof(uint32_t))
        try:
            for slot in range(self.size):
                at = slot
                for tries in range(TRIES):
                    if self.open[self.table[at]]:
                        break
                    at = maglev_after(at, self.size)
                if self.open[self.table[at]]:
                    self.live[slot] = self.table[at]
                    continue
                if spare == NULL:  # almost all servers are closed: fill a second table with the open ones alone
                    spare = self.filled(self.size, self.open)
                self.live[slot] = spare[slot]
        finally:
            free(spare)
        return 0

    cdef Py_ssize_t choose(self, uint64_t key, const uint8_t* barred) noexcept nogil:
        if barred != NULL or self.factor or self.open_total == 0:
            return Keyed.choose(self, key, barred)
        return self.live[scaled(mix64(key), self.size)]

    cdef int choose_many(self, const uint64_t* keys, uint32_t* out, Py_ssize_t n) noexcept nogil:
        cdef Py_ssize_t i, index
        for i in range(n):
            index = self.choose(keys[i], NULL)
            if index < 0:
                return -1
            out[i] = <uint32_t>index
        return 0

    cdef Py_ssize_t seek(self, uint64_t key, const uint8_t* barred, const Bound* bound) noexcept nogil:
        cdef uint64_t slot = scaled(mix64(key), self.size)
        cdef Py_ssize_t tries, index
        for tries in range(TRIES):
            index = self.live[slot]
            if admitted(index, barred, bound):
                return index
            slot = maglev_after(slot, self.size)
        return self.rank(key, barred, bound)
