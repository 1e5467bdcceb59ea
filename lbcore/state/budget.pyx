"""The memory budget for request bodies that are kept, over all workers. No I/O.

The limit is in the region, and holds for the instance. `Region.clear_worker` gives back the memory of a worker that has died.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.state.region cimport Region

cdef enum:
    SHARES = 4                 # a request without a limit of its own gets one of this many parts of the budget


@cython.final
cdef class MemoryBudget:
    """The budget in the hands of one worker."""

    def __cinit__(self, Region region, uint32_t worker):
        region.check_worker(worker)
        self.region = region
        self.header = region.header
        self.row = region.worker(worker)

    cdef bint take(self, int64_t amount) noexcept:
        """Take `amount` bytes (0 or more). Returns False, and counts it, if there is no room; then nothing is taken. O(1)."""
        cdef uint64_t limit = self.header.body_memory_limit
        if <uint64_t>amount <= limit:
            # Before the shared count, so that the workers' counts always cover that.
            self.row.body_memory += amount
            if atomic_add_u64(&self.header.body_memory, <uint64_t>amount) + amount <= limit:
                return True
            self.give(amount)
        self.row.bodies_shed += 1
        return False

    cdef void give(self, int64_t amount) noexcept:
        """Give back `amount` bytes."""
        atomic_add_u64(&self.header.body_memory, <uint64_t>-amount)
        self.row.body_memory -= amount

    cdef int64_t share(self) noexcept:
        """The limit in bytes of one body without a limit of its own."""
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
