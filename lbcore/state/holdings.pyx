"""What middlewares know beyond one exchange, by their identity, so that it outlives reloads. No I/O.

- A Group has keys that are limited over all workers: what is held (`hold`, `release`), what is used up (`take`). Its rows lie in
  the region's KeyedTable, which is bounded and counts what it evicts or refuses. What a worker held that dies is given back.
- `State.keep` keeps an object of this worker, for as long as any configuration uses it.
"""

import hashlib
from weakref import WeakValueDictionary

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lbcore.selection.atomic cimport atomic_load_u32
from lbcore.selection.mix cimport mix64
from lbcore.state.keyed cimport KeyedTable
from lbcore.state.layout cimport DENIAL_ROWS, DenialRow, KeyedRow, WorkerStats
from lbcore.state.region cimport Region


@cython.final
cdef class Group:
    """The keys of one middleware, or of its use by one router or service."""

    def __cinit__(self, KeyedTable table, str identity):
        self.table = table
        self.identity = identity
        self.number = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest(), "little")
        self.parts = {}

    cdef Group part(self, str place):
        """The group of its use by one router or service: see `Context.place`. Bounded by the configuration. Usually O(1) without a
        heap call."""
        cdef Group found
        if place is self.last_place:           # nearly always: the names of routers and services are made once
            return self.last_part
        found = self.parts.get(place)
        if found is None:
            found = self.parts[place] = Group(self.table, f"{self.identity}|{place}")
        self.last_place, self.last_part = place, found
        return found

    cdef bint hold(self, const uint8_t* key, int64_t amount) noexcept:
        """Hold one more of a key of 16 bytes, unless `amount` are held already, or there is no room. To be released by `on_end`."""
        return self.table.hold(self.number, key, amount)

    cdef void release(self, const uint8_t* key) noexcept:
        self.table.release(self.number, key)

    cdef KeyedRow* take(self, const uint8_t* key, uint64_t now_ns) noexcept:
        """The row of a key, between `table.lock` and `table.unlock` alone: see `KeyedTable.take`."""
        return self.table.take(self.number, key, now_ns)

    cdef void key_of(self, const char* text, Py_ssize_t length, uint8_t* key) noexcept:
        """Make a key of a text: 128 bits, seeded, so that a client cannot choose texts with the same one. O(length)."""
        cdef uint64_t first = mix64(self.table.seed ^ <uint64_t>length), second = mix64(first ^ self.number), word
        cdef Py_ssize_t left = length
        while left > 0:
            word = 0
            if left >= 8:
                memcpy(&word, text, 8)
            else:
                memcpy(&word, text, left)
            text += 8
            left -= 8
            first = mix64(first ^ word)
            second = mix64(second + first)
        memcpy(key, &first, 8)
        memcpy(key + 8, &second, 8)


@cython.final
cdef class Denials:
    """The refusals of the middleware with this key. It gets its row when it first refuses something, and the same one after a reload."""

    def __cinit__(self, KeyedTable table, uint64_t key):
        self.table = table
        self.key = key

    cdef void add(self) noexcept:
        """Count one: where all rows are taken, among those that are shed. The first time O(rows in use)."""
        cdef WorkerStats* worker
        cdef DenialRow* row
        cdef DenialRow* behind
        if self.count == NULL:
            worker = self.table.region.worker(self.table.worker)
            row = self.table.region.denial_rows(self.table.worker)
            behind = row + worker.denial_rows
            while row < behind and row.key != self.key:
                row += 1
            if row == behind:
                if worker.denial_rows == DENIAL_ROWS:
                    self.count = &worker.denials_shed
                else:
                    row.key = self.key
                    worker.denial_rows += 1
            if self.count == NULL:
                self.count = &row.count
        self.count[0] += 1


@cython.final
cdef class State:
    """What the middlewares of one worker have. It outlives configurations.

    loop  the event loop in which they run; None: a configuration is only checked.
    """

    def __cinit__(self, Region region, uint32_t worker, loop=None):
        self.loop = loop
        self.table = KeyedTable(region, worker)
        self.objects = WeakValueDictionary()

    def group(self, str identity):
        """The group of that identity, `name@provider`: the same rows in every worker, before and after a reload."""
        return Group(self.table, identity)

    @property
    def secret(self) -> bytes:
        """Of the instance: see `Region.secret`."""
        return self.table.region.secret

    @property
    def workers(self) -> int:
        """Of the instance."""
        return self.table.region.workers

    cdef int64_t instances(self) noexcept:
        """Of the fleet that live, this one among them; at least 1."""
        return max(<int64_t>atomic_load_u32(&self.table.region.header.instances), 1)

    cdef void count_missed_store(self) noexcept:
        """A limit has decided about a request without its store."""
        self.table.region.worker(self.table.worker).stores_missed += 1

    cdef void count_denied_retry(self) noexcept:
        """The budget of a middleware had no room for an attempt."""
        self.table.region.worker(self.table.worker).retries_denied += 1

    def count_shed_password(self) -> None:
        """A request was refused since its password could not be checked."""
        self.table.region.worker(self.table.worker).passwords_shed += 1

    def keep(self, str identity, make):
        """The object of that identity, made by `make()` unless a configuration that is in use has it. It needs `__weakref__`.

        Every user has to keep a reference: the object ends with the last configuration that uses it.
        """
        found = self.objects.get(identity)
        if found is None:
            found = self.objects[identity] = make()
        return found
