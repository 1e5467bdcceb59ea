"""The keyed table: counts of keys over all workers, of what is held now and of what was used. No I/O.

A key is 16 bytes: an address, or a hash of something longer. Keys belong to groups, which are independent.

- `hold` and `release` count what is open or under way. Each worker counts in a part of its own, so that the counts of a dead worker
  can be dropped; the parts are added up. A row exists while its count is above 0.
- `take` returns the one row of a key that all workers share, for what is used up over time (a token bucket). Such rows stay; if there
  is no room, the least recently used of some rows is evicted.

One lock of the region makes both exact. It is held for a few lookups, and is broken if its owner has died. Every part is bounded;
keys that are refused or evicted for lack of room are counted.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from lbcore.selection.mix cimport mix64
from lbcore.selection.atomic cimport atomic_lock_u32, atomic_unlock_u32
from lbcore.state.layout cimport KEYED_ROWS, KeyedPart, KeyedRow
from lbcore.state.region cimport Region

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    MASK = KEYED_ROWS - 1
    FULL = KEYED_ROWS // 4 * 3         # most rows of a part in use
    LOOKED_AT = 64                     # rows examined for an eviction, of which the oldest is evicted
    SPINS = 20000                      # after this number of attempts the owner of the lock counts as dead


@cython.final
cdef class KeyedTable:
    """The table in the hands of one worker."""

    def __cinit__(self, Region region, uint32_t worker):
        region.check_worker(worker)
        self.region = region
        self.worker = worker
        self.seed = mix64(<uint64_t>region.header.started_unix_ns ^ <uint64_t>region.header.started_ns)

    cdef bint hold(self, uint64_t group, const uint8_t* key, int64_t amount) noexcept nogil:
        """Hold one more of a key in a group, unless `amount` are held already. Returns whether it is held now. O(workers)."""
        cdef uint32_t worker, home = self.home(group, key)
        cdef bint locked = self.lock(), held = False
        cdef KeyedRow* row = self.find_from(self.worker, home, group, key)
        cdef int64_t count = row.count
        for worker in range(self.region.workers):
            if worker != self.worker and self.region.keyed_part(worker).rows:
                count += self.find_from(worker, home, group, key).count
        if count < amount:
            if not row.used:
                row = self.fill(self.worker, row, home, group, key)
            if row != NULL:
                row.count += 1
                held = True
        self.unlock(locked)
        return held

    cdef void release(self, uint64_t group, const uint8_t* key) noexcept nogil:
        """Give back one that this worker holds."""
        cdef bint locked = self.lock()
        cdef KeyedRow* row = self.find(self.worker, group, key)
        if row.count > 1:
            row.count -= 1
        elif row.used:
            self.remove(self.worker, <uint32_t>(row - self.region.keyed_rows(self.worker)))
        self.unlock(locked)

    cdef KeyedRow* take(self, uint64_t group, const uint8_t* key, uint64_t now_ns) noexcept nogil:
        """The row of a key that all workers share, with all fields but the key zero if it is new; NULL = there is no room.

        Only between `lock` and `unlock`, where the row is valid: rows move.
        """
        cdef KeyedRow* row = self.insert(self.region.workers, group, key)
        if row != NULL:
            row.touched_ns = now_ns
        return row

    cdef uint32_t home(self, uint64_t group, const uint8_t* key) noexcept nogil:
        """The first place of a row. Seeded, so that clients cannot choose keys that collide."""
        cdef uint64_t words[2]
        memcpy(words, key, 16)
        return <uint32_t>mix64(mix64(mix64(self.seed ^ group) ^ words[0]) ^ words[1]) & MASK

    cdef KeyedRow* find(self, uint32_t part, uint64_t group, const uint8_t* key) noexcept nogil:
        """The row of a key in a part, or the empty row in its place."""
        return self.find_from(part, self.home(group, key), group, key)

    cdef KeyedRow* find_from(self, uint32_t part, uint32_t home, uint64_t group, const uint8_t* key) noexcept nogil:
        """`find` for a key whose first place is known."""
        cdef KeyedRow* rows = self.region.keyed_rows(part)
        cdef uint32_t at = home
        while rows[at].used and (rows[at].group != group or memcmp(rows[at].key, key, 16) != 0):
            at = (at + 1) & MASK
        return &rows[at]

    cdef KeyedRow* insert(self, uint32_t part, uint64_t group, const uint8_t* key) noexcept nogil:
        """The row of a key in a part, a new one if there was none. NULL = there is no room, which is counted."""
        cdef uint32_t home = self.home(group, key)
        cdef KeyedRow* row = self.find_from(part, home, group, key)
        return row if row.used else self.fill(part, row, home, group, key)

    cdef KeyedRow* fill(self, uint32_t part, KeyedRow* row, uint32_t home, uint64_t group, const uint8_t* key) noexcept nogil:
        """Make the empty row that `find` has found one of the key, which another one may have to be evicted for."""
        cdef KeyedPart* header = self.region.keyed_part(part)
        if header.rows >= FULL:
            if not self.evict(part):
                header.refused += 1
                return NULL
            row = self.find_from(part, home, group, key)
        memcpy(row.key, key, 16)
        row.group = group
        row.used = 1
        header.rows += 1
        return row

    cdef bint evict(self, uint32_t part) noexcept nogil:
        """Evict the least recently used row among those behind the hand that hold nothing. O(LOOKED_AT)."""
        cdef KeyedPart* header = self.region.keyed_part(part)
        cdef KeyedRow* rows = self.region.keyed_rows(part)
        cdef uint32_t at, oldest = KEYED_ROWS, i
        for i in range(LOOKED_AT):
            at = (header.hand + i) & MASK
            if rows[at].used and rows[at].count == 0 and (
                    oldest == KEYED_ROWS or rows[at].touched_ns < rows[oldest].touched_ns):
                oldest = at
        header.hand = (header.hand + LOOKED_AT) & MASK
        if oldest == KEYED_ROWS:
            return False
        self.remove(part, oldest)
        header.evicted += 1
        return True

    cdef void remove(self, uint32_t part, uint32_t gap) noexcept nogil:
        """Empty a row, and move rows into the gap whose first place it is (Knuth 6.4, algorithm R)."""
        cdef KeyedRow* rows = self.region.keyed_rows(part)
        cdef uint32_t at = gap, home
        while True:
            at = (at + 1) & MASK
            if not rows[at].used:
                break
            home = self.home(rows[at].group, rows[at].key)
            if ((at - home) & MASK) >= ((at - gap) & MASK):
                rows[gap] = rows[at]
                gap = at
        memset(&rows[gap], 0, sizeof(KeyedRow))
        self.region.keyed_part(part).rows -= 1

    cdef bint lock(self) noexcept nogil:
        """Take the lock. Returns whether it is held; if not, its owner has died, and the caller continues without it."""
        cdef int spin
        for spin in range(SPINS):
            if atomic_lock_u32(&self.region.header.keyed_lock, self.worker + 1):
                return True
            sched_yield()
        return False

    cdef void unlock(self, bint locked) noexcept nogil:
        if locked:
            atomic_unlock_u32(&self.region.header.keyed_lock)

    def admit(self, group: int, bytes key, amount: int) -> bool:
        """`hold` for Python."""
        assert len(key) == 16
        return self.hold(group, <const uint8_t*><const char*>key, amount)

    def leave(self, group: int, bytes key) -> None:
        """`release` for Python."""
        assert len(key) == 16
        self.release(group, <const uint8_t*><const char*>key)

    def spend(self, group: int, bytes key, amount: int, now_ns: int) -> int:
        """Add to the use of a key, over all workers. Returns the sum."""
        assert len(key) == 16
        cdef bint locked = self.lock()
        cdef KeyedRow* row = self.take(group, <const uint8_t*><const char*>key, now_ns)
        cdef int64_t value = 0
        if row != NULL:
            row.value += amount
            value = row.value
        self.unlock(locked)
        return value

    def held(self, group: int, bytes key=None) -> tuple:
        """How many are held of a key, or of all keys of a group, over all workers, and of how many keys. Read without the lock.
        O(KEYED_ROWS) for each worker that holds any."""
        cdef uint64_t number = group
        cdef KeyedRow* rows
        cdef int64_t count = 0
        cdef uint32_t worker, i, keys = 0
        for worker in range(self.region.workers):
            if self.region.keyed_part(worker).rows == 0:
                continue
            if key is not None:
                rows = self.find(worker, number, <const uint8_t*><const char*>key)
                count += rows.count
                keys += rows.used
                continue
            rows = self.region.keyed_rows(worker)
            for i in range(KEYED_ROWS):
                if rows[i].used and rows[i].group == number:
                    count += rows[i].count
                    keys += 1
        return count, keys

    @property
    def rows(self) -> int:
        """Number of keys that this worker holds."""
        return self.region.keyed_part(self.worker).rows

    @property
    def shared_rows(self) -> int:
        """Number of keys that all workers share."""
        return self.region.keyed_part(self.region.workers).rows

    @property
    def evictions(self) -> int:
        """Number of evicted rows, and of keys that found no room, over all parts."""
        return self.region.keys_evicted + self.region.keys_refused
