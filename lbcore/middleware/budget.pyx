"""The budget of a middleware for further attempts: a share of the requests of the last ten seconds, and so many a second. No I/O.

It lies in ten rows of the table that all workers share, one for each second: the requests, and the further attempts. Rows for which
the table has no room count nothing, so that the attempts a second are left.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from lbcore.state.holdings cimport Group
from lbcore.state.layout cimport KeyedRow

cdef enum:
    WINDOW = 10                # seconds

cdef uint64_t SECOND_NS = 1000000000
cdef double ROUNDING = 1e-9    # of the share


cdef union RowKey:
    uint8_t bytes[16]
    uint32_t words[4]


cdef class RetryBudget:
    """ratio   of further attempts to requests; `least`: attempts a second that are allowed beside these."""

    def __init__(self, Group group, double ratio, double least):
        self.group = group
        self.ratio = ratio
        self.least = least * WINDOW

    cpdef void note(self, uint64_t now_ns) noexcept:
        """A request has come."""
        cdef bint locked = self.group.table.lock()
        cdef KeyedRow* row = self.row(now_ns // SECOND_NS, True, now_ns)
        if row != NULL:
            row.value += 1
        self.group.table.unlock(locked)

    cpdef bint spend(self, uint64_t now_ns) noexcept:
        """Take a further attempt. False: there is none left."""
        cdef uint64_t second = now_ns // SECOND_NS, age, requests = 0, attempts = 0
        cdef bint passes, locked = self.group.table.lock()
        cdef KeyedRow* row
        for age in range(min(<uint64_t>WINDOW, second + 1)):
            row = self.row(second - age, False, now_ns)
            if row != NULL:
                requests += <uint64_t>row.value
                attempts += row.reserve
        passes = <double>(attempts + 1) <= self.ratio * <double>requests + self.least + ROUNDING
        if passes:
            row = self.row(second, True, now_ns)
            if row != NULL:
                row.reserve += 1
        self.group.table.unlock(locked)
        return passes

    cpdef void give_back(self, uint64_t now_ns) noexcept:
        """An attempt that was taken is not made."""
        cdef bint locked = self.group.table.lock()
        cdef KeyedRow* row = self.row(now_ns // SECOND_NS, False, now_ns)
        if row != NULL and row.reserve:
            row.reserve -= 1
        self.group.table.unlock(locked)

    cdef KeyedRow* row(self, uint64_t second, bint makes, uint64_t now_ns) noexcept:
        """The row of a second; NULL: there is none. The table is locked.

        makes  whether it is made, and emptied of a second that is long over.
        """
        cdef RowKey key
        cdef KeyedRow* row
        key.words[0], key.words[1], key.words[2], key.words[3] = 0, <uint32_t>(second % WINDOW), 0, 0
        if not makes:
            row = self.group.table.find(self.group.table.region.workers, self.group.number, key.bytes)
            return row if row.used and row.touched_ns // SECOND_NS == second else NULL
        row = self.group.table.insert(self.group.table.region.workers, self.group.number, key.bytes)
        if row != NULL:
            if row.touched_ns // SECOND_NS != second:
                row.value = 0
                row.reserve = 0
            row.touched_ns = now_ns
        return row
