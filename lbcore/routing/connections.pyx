"""How many connections each client has open, over all workers, to limit them. No I/O.

Each worker keeps a hash table of its own in the region, so that what a dead worker had open can be taken back; who asks
adds the workers' counts up. One lock of the region makes that exact: it is held for a few lookups, once per connection
that comes or goes where a limit is configured, and is taken from a worker that dies with it.
"""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from lbcore.selection.mix cimport mix64
from lbcore.selection.atomic cimport atomic_lock_u32, atomic_unlock_u32
from lbcore.state.layout cimport CONNECTION_ROWS, ConnectionRow
from lbcore.state.region cimport Region

cdef extern from "<sched.h>" nogil:
    int sched_yield()

cdef enum:
    MASK = CONNECTION_ROWS - 1
    FULL = CONNECTION_ROWS // 4 * 3    # rows of a worker in use; a client beyond is not let in
    SPINS = 2000               # then its owner is dead, and counts by itself a moment later


@cython.final
cdef class ConnectionTable:
    """The counts as one worker sees and changes them."""

    def __cinit__(self, Region region, uint32_t worker):
        region.check_worker(worker)
        self.region = region
        self.worker = worker
        self.seed = mix64(<uint64_t>region.header.started_unix_ns ^ <uint64_t>region.header.started_ns)

    cdef bint enter(self, uint64_t group, const uint8_t* ip, int64_t amount) noexcept nogil:
        """Count one connection more of a client in a group, unless it has `amount` already. Returns whether it was counted.

        group  what is limited together. ip: 16 bytes. O(workers).
        """
        cdef uint64_t* used = &self.region.worker(self.worker).connection_rows
        cdef bint locked = self.lock(), counted = False
        cdef ConnectionRow* row
        cdef int64_t open_now = 0
        cdef uint32_t worker
        for worker in range(self.region.workers):
            if self.region.worker(worker).connection_rows:
                open_now += self.find(worker, group, ip).count
        if open_now < amount:
            row = self.find(self.worker, group, ip)
            if row.count or used[0] < FULL:
                if row.count == 0:
                    memcpy(row.ip, ip, 16)
                    row.group = group
                    used[0] += 1
                row.count += 1
                counted = True
        self.unlock(locked)
        return counted

    cdef void leave(self, uint64_t group, const uint8_t* ip) noexcept nogil:
        """A connection that was counted has closed."""
        cdef bint locked = self.lock()
        cdef ConnectionRow* row = self.find(self.worker, group, ip)
        if row.count > 1:
            row.count -= 1
        elif row.count == 1:
            self.remove(row)
            self.region.worker(self.worker).connection_rows -= 1
        self.unlock(locked)

    cdef uint32_t home(self, uint64_t group, const uint8_t* ip) noexcept nogil:
        """Where a row belongs. Seeded: nobody can choose addresses that meet."""
        cdef uint64_t words[2]
        memcpy(words, ip, 16)
        return <uint32_t>mix64(mix64(mix64(self.seed ^ group) ^ words[0]) ^ words[1]) & MASK

    cdef ConnectionRow* find(self, uint32_t worker, uint64_t group, const uint8_t* ip) noexcept nogil:
        """A worker's row of a client, or the empty one where it would be."""
        cdef ConnectionRow* rows = self.region.connection_rows(worker)
        cdef uint32_t at = self.home(group, ip)
        while rows[at].count and (rows[at].group != group or memcmp(rows[at].ip, ip, 16)):
            at = (at + 1) & MASK
        return &rows[at]

    cdef void remove(self, ConnectionRow* row) noexcept nogil:
        """Empty a row of this worker, and close the gap for those that would have stood there (Knuth 6.4, algorithm R)."""
        cdef ConnectionRow* rows = self.region.connection_rows(self.worker)
        cdef uint32_t gap = <uint32_t>(row - rows), at = gap, home
        while True:
            at = (at + 1) & MASK
            if rows[at].count == 0:
                break
            home = self.home(rows[at].group, rows[at].ip)
            if ((at - home) & MASK) >= ((at - gap) & MASK):
                rows[gap] = rows[at]
                gap = at
        memset(&rows[gap], 0, sizeof(ConnectionRow))

    cdef bint lock(self) noexcept nogil:
        cdef int spin
        for spin in range(SPINS):
            if atomic_lock_u32(&self.region.header.connections_lock, self.worker + 1):
                return True
            sched_yield()
        return False

    cdef void unlock(self, bint locked) noexcept nogil:
        if locked:
            atomic_unlock_u32(&self.region.header.connections_lock)

    def admit(self, group: int, bytes ip, amount: int) -> bool:
        """`enter` for Python."""
        assert len(ip) == 16
        return self.enter(group, <const uint8_t*><const char*>ip, amount)

    def release(self, group: int, bytes ip) -> None:
        """`leave` for Python."""
        assert len(ip) == 16
        self.leave(group, <const uint8_t*><const char*>ip)

    @property
    def rows(self) -> int:
        """Clients of this worker."""
        return self.region.worker(self.worker).connection_rows
