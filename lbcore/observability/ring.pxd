# Rings in shared memory, through which workers pass lines of the access log, and spans, to the process that writes them.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport LogRing
from lbcore.state.region cimport Region

cdef enum:
    LINE_SKIPPED = 0xFFFFFFFF  # as a length: the rest of the ring is unused, and the next line is at the beginning of the ring


cdef struct LineHead:          # before each line, at a multiple of its size
    uint64_t time_ns           # monotonic time of the end of the exchange; not smaller than that of the previous line
    uint32_t length            # bytes of the line, with its line end
    uint32_t items             # that are counted if it is lost: 1, or the spans in it


cdef class LineWriter:         # puts the lines of one worker into its ring
    cdef Region region         # keeps the ring mapped
    cdef LogRing* ring
    cdef uint64_t* lost        # of all workers; in the region
    cdef uint64_t at           # position of the line that is being written, counted as LogRing.filled

    cdef char* begin(self, Py_ssize_t length) noexcept
    cdef void commit(self, const char* end, uint64_t time_ns, uint32_t items) noexcept
    cdef void lose(self, uint64_t items) noexcept
