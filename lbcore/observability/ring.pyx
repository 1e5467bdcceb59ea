"""Rings in shared memory, through which workers pass lines of the access log, and spans, to the process that writes them. No I/O.

Each worker alone fills its ring, without a lock; one process empties all rings. A line is complete before `LogRing.filled` is advanced
past it. Lines of a worker that has died are written. If a ring has no room, the line is dropped and counted.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from lbcore.selection.atomic cimport atomic_add_u64
from lbcore.state.layout cimport LOG_RING_BYTES, RING_KINDS, RING_LINES, RING_RECORDS, RING_SPANS, RING_TAPS, LogRing
from lbcore.state.region cimport Region

LINES, SPANS, RECORDS, TAPS = RING_LINES, RING_SPANS, RING_RECORDS, RING_TAPS

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t lb_load_acquire(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_ACQUIRE); }
    static inline void lb_store_release(uint64_t *cell, uint64_t value) { __atomic_store_n(cell, value, __ATOMIC_RELEASE); }
    """
    # The position of a ring: a load that sees a store also sees all writes before that store.
    uint64_t load_acquire "lb_load_acquire"(const uint64_t* cell) noexcept nogil
    void store_release "lb_store_release"(uint64_t* cell, uint64_t value) noexcept nogil

cdef enum:
    HEAD_BYTES = 16            # of LineHead
    LOW_BYTES = 1 << 20        # an empty ring that was filled beyond this starts again at its beginning, so that memory is reused
    MERGE_BYTES = 1 << 20      # a merge ends with the line that reaches this size, unless it is told another one


def check_kind(kind):
    """Raise IndexError unless `kind` is one of rings."""
    if not 0 <= kind < RING_KINDS:
        raise IndexError(f"kind {kind} of rings")


cdef inline uint64_t room_for(Py_ssize_t length) noexcept nogil:
    """Bytes that a line of this length occupies in a ring."""
    return HEAD_BYTES + ((<uint64_t>length + HEAD_BYTES - 1) & ~<uint64_t>(HEAD_BYTES - 1))


@cython.final
cdef class LineWriter:
    """Fills one ring of a worker. To be used by one thread. `kind`: LINES, SPANS, RECORDS or TAPS."""

    def __init__(self, Region region, worker, kind=LINES):
        region.check_worker(worker)
        check_kind(kind)
        self.region = region
        self.ring = region.ring(kind, worker)
        self.lost = &region.header.lost[<int>kind]

    cdef char* begin(self, Py_ssize_t length) noexcept:
        """Room for a line of at most `length` bytes, valid until `commit`; NULL if there is none: the line is dropped and counted."""
        cdef LogRing* ring = self.ring
        cdef uint64_t filled = ring.filled, emptied = load_acquire(&ring.emptied)
        cdef uint64_t at = filled & (LOG_RING_BYTES - 1)
        cdef uint64_t left = LOG_RING_BYTES - at
        cdef uint64_t skipped = 0
        if left < room_for(length) or (at > LOW_BYTES and filled == emptied):
            skipped = left
        if length >= LOG_RING_BYTES or filled + skipped + room_for(length) - emptied > LOG_RING_BYTES:
            self.lose(1)
            return NULL
        if skipped:
            (<LineHead*>(ring.data + at)).length = LINE_SKIPPED
        self.at = filled + skipped
        return ring.data + (self.at & (LOG_RING_BYTES - 1)) + HEAD_BYTES

    cdef void commit(self, const char* end, uint64_t time_ns, uint32_t items) noexcept:
        """Publish the line, which ends at `end`."""
        cdef LineHead* head = <LineHead*>(self.ring.data + (self.at & (LOG_RING_BYTES - 1)))
        head.time_ns = time_ns
        head.length = <uint32_t>(end - <char*>head - HEAD_BYTES)
        head.items = items
        store_release(&self.ring.filled, self.at + room_for(head.length))

    cdef void lose(self, uint64_t items) noexcept:
        """Count what is lost."""
        atomic_add_u64(self.lost, items)

    def put(self, line: bytes, time_ns: int, items: int = 1) -> bool:
        """Add a line. Returns whether there was room."""
        cdef char* out = self.begin(len(line))
        if out == NULL:
            return False
        memcpy(out, <const char*>line, len(line))
        self.commit(out + len(line), time_ns, items)
        return True

    @property
    def pending_bytes(self) -> int:
        """Bytes that are not written yet."""
        return self.ring.filled - load_acquire(&self.ring.emptied)


cdef struct Cursor:                    # position of the reader in one ring
    uint64_t at                        # of the next line, counted as LogRing.filled
    uint64_t end


@cython.final
cdef class LineReader:
    """Takes the lines of all workers in the order of time. Only one process at a time may read rings of a kind, in one thread.

    items  in the lines of the last `merge`.
    """

    cdef Region region                 # keeps the rings mapped
    cdef Cursor* cursors               # owned; by worker
    cdef char* text                    # owned; the merged lines
    cdef size_t room                   # bytes at text
    cdef uint32_t kind                 # RingKind
    cdef readonly uint64_t items

    def __cinit__(self, Region region, kind=LINES):
        check_kind(kind)
        self.region = region
        self.kind = kind
        self.cursors = <Cursor*>calloc(region.workers, sizeof(Cursor))
        self.text = <char*>malloc(MERGE_BYTES)
        self.room = MERGE_BYTES
        if self.cursors == NULL or self.text == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.cursors)
        free(self.text)

    cdef LineHead* next_line(self, uint32_t worker) noexcept nogil:
        """The next line of a ring, or NULL."""
        cdef Cursor* cursor = &self.cursors[worker]
        cdef LineHead* head
        while cursor.at < cursor.end:
            head = <LineHead*>(self.region.ring(self.kind, worker).data + (cursor.at & (LOG_RING_BYTES - 1)))
            if head.length != LINE_SKIPPED:
                return head
            cursor.at += LOG_RING_BYTES - (cursor.at & (LOG_RING_BYTES - 1))
        return NULL

    cdef Py_ssize_t gather(self, uint64_t until_ns, Py_ssize_t most) noexcept nogil:
        """Merge lines into `text`, until they have `most` bytes. Returns their length, or -1 without memory."""
        cdef Py_ssize_t length = 0
        cdef LineHead* head
        cdef LineHead* first
        cdef uint32_t worker, chosen = 0
        cdef uint64_t limit_ns
        cdef void* moved
        self.items = 0
        for worker in range(self.region.workers):
            self.cursors[worker].at = self.region.ring(self.kind, worker).emptied
            self.cursors[worker].end = load_acquire(&self.region.ring(self.kind, worker).filled)
        while length < most:
            first = NULL
            limit_ns = until_ns            # up to this time, the ring with the oldest line can be read without comparing the others
            for worker in range(self.region.workers):
                head = self.next_line(worker)
                if head == NULL or head.time_ns > limit_ns:
                    continue
                if first == NULL or head.time_ns < first.time_ns:
                    if first != NULL:
                        limit_ns = first.time_ns
                    first, chosen = head, worker
                else:
                    limit_ns = head.time_ns
            if first == NULL:
                break
            while first != NULL and first.time_ns <= limit_ns and length < most:
                if length + first.length > <Py_ssize_t>self.room:
                    moved = realloc(self.text, length + first.length)
                    if moved == NULL:
                        return length if length else -1
                    self.text = <char*>moved
                    self.room = length + first.length
                memcpy(self.text + length, <char*>first + HEAD_BYTES, first.length)
                length += first.length
                self.items = self.items + first.items
                self.cursors[chosen].at = self.cursors[chosen].at + room_for(first.length)
                first = self.next_line(chosen)
        return length

    def merge(self, until_ns: int, most_bytes: int = MERGE_BYTES) -> bytes:
        """The lines up to a time, oldest first; empty if there are none. They stay in their rings until `release`. Raises MemoryError.

        most_bytes  with the line that reaches them it ends.
        """
        cdef uint64_t until = until_ns
        cdef Py_ssize_t most = most_bytes
        cdef Py_ssize_t length
        with nogil:
            length = self.gather(until, most)
        if length < 0:
            raise MemoryError
        return PyBytes_FromStringAndSize(self.text, length)

    def release(self) -> None:
        """Remove the lines of the last `merge` from their rings, because they are written, or lost."""
        cdef uint32_t worker
        for worker in range(self.region.workers):
            # An unused ring is not touched, so that its memory is never allocated.
            if self.cursors[worker].at != self.region.ring(self.kind, worker).emptied:
                store_release(&self.region.ring(self.kind, worker).emptied, self.cursors[worker].at)

    def note_lost(self, lines: int) -> None:
        """Count lines that could not be written."""
        atomic_add_u64(&self.region.header.lost[self.kind], lines)
