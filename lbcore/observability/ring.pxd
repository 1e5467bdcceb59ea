# Lines of the access log on their way from the workers to the one process that writes them, through shared memory.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport LogRing
from lbcore.state.region cimport Region

cdef enum:
    LINE_SKIPPED = 0xFFFFFFFF  # as a length: the rest of the ring is unused, the next line is at its beginning


cdef struct LineHead:          # before each line, at a multiple of its size
    uint64_t time_ns           # monotonic, of the end of the exchange; never smaller than that of the line before
    uint32_t length            # bytes of the line, its end included
    uint32_t unused


cdef class LineWriter:         # of one worker: puts lines into its ring
    cdef Region region         # keeps the ring mapped
    cdef LogRing* ring
    cdef uint64_t at           # of the line that is being made, as in LogRing.filled

    cdef char* begin(self, Py_ssize_t length) noexcept
    cdef void commit(self, const char* end, uint64_t time_ns) noexcept
