"""The memory that bodies of requests may take while they are kept, over all workers. No I/O.

The limit stands in the region and holds for the instance. What a worker that dies had taken is given back by
`Region.clear_worker`.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.state.region cimport Region

cdef enum:
    SHARES = 4                 # of the limit: one request that says no limit of its own gets this part


@cython.final
cdef class MemoryBudget:
    """The budget as one worker sees and uses it."""

    def __cinit__(self, Region region, uint32_t worker):
        region.check_worker(worker)
        self.region = region
        self.header = region.header
        self.row = region.worker(worker)

    cdef bint take(self, int64_t amount) noexcept:
        """Take so many bytes (0 or more). False: there is no room, which is counted; nothing is taken. O(1)."""
        cdef uint64_t limit = self.header.body_memory_limit
        if <uint64_t>amount <= limit:
            # Before the shared count, so that what is counted there is always some worker's.
            self.row.body_memory += amount
            if atomic_add_u64(&self.header.body_memory, <uint64_t>amount) + amount <= limit:
                return True
            self.give(amount)
        self.row.bodies_shed += 1
        return False

    cdef void give(self, int64_t amount) noexcept:
        """Give back what was taken."""
        atomic_add_u64(&self.header.body_memory, <uint64_t>-amount)
        self.row.body_memory -= amount

    cdef int64_t share(self) noexcept:
        """Bytes that one body may have where nothing else limits it."""
        return <int64_t>(self.header.body_memory_limit // SHARES)

    def reserve(self, amount: int) -> bool:
        """`take` for Python."""
        assert amount >= 0
        return self.take(amount)

    def release(self, amount: int) -> None:
        """`give` for Python."""
        self.give(amount)

    @property
    def used(self) -> int:
        """Bytes taken, by all workers."""
        return atomic_load_u64(&self.header.body_memory)
