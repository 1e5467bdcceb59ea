"""The memory of the shared region: where each of its parts lies."""

import os

from libc.stdint cimport uint32_t
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from lbcore.state.layout cimport (
    DENIAL_ROWS, HEADER_BYTES, KEYED_ROWS, LABEL_ROWS, METRIC_ROWS, RING_KINDS, DenialRow, Header, KeyedPart, KeyedRow, LabelRow,
    LogRing, MetricRow, ServerCell, ServerStats, ServiceCell, ServiceStats, WorkerStats,
)

cdef extern from "<unistd.h>" nogil:
    ctypedef long off_t
    off_t lseek(int fd, off_t offset, int whence)
    const int SEEK_DATA
    const int SEEK_HOLE


cdef class RegionMemory:
    """A mapping of the region, without what it is used for. Unmapped when it is deallocated."""

    def __cinit__(self):
        self.base = NULL
        self.fd = -1

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)
        if self.fd >= 0:
            os.close(self.fd)

    cdef int map(self, int fd, size_t size) except -1:
        cdef void* base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise OSError(f"cannot map {size} bytes of shared memory")
        self.base = <char*>base
        self.size = size
        self.fd = fd
        self.header = <Header*>self.base
        return 0

    cdef void place(self) noexcept:
        """Lay the cells out behind the header; every part is a multiple of 64 bytes, so all cells stay aligned."""
        self.workers = self.header.workers
        self.services = self.header.services
        self.servers = self.n_servers = self.header.servers
        self.service_cells = <ServiceCell*>(self.base + HEADER_BYTES)
        self.server_cells = <ServerCell*>(self.service_cells + self.services)
        self.worker_rows = <WorkerStats*>(self.server_cells + self.servers)
        self.server_rows = <ServerStats*>(self.worker_rows + self.workers)
        self.service_rows = <ServiceStats*>(self.server_rows + <size_t>self.workers * self.servers)
        self.metrics = <MetricRow*>(self.service_rows + <size_t>self.workers * self.services)
        self.labels = <LabelRow*>(self.metrics + <size_t>self.workers * METRIC_ROWS)
        self.denials = <DenialRow*>(self.labels + <size_t>self.workers * LABEL_ROWS)
        self.keyed_parts = <KeyedPart*>(self.denials + <size_t>self.workers * DENIAL_ROWS)
        self.keyed = <KeyedRow*>(self.keyed_parts + self.workers + 1)
        self.rings = <LogRing*>(self.keyed + <size_t>(self.workers + 1) * KEYED_ROWS)

    cdef bint rows_written(self, const char* rows, size_t size, uint32_t count, uint32_t* first, uint32_t* after) noexcept nogil:
        """Find the next rows, from `first` on, whose beginnings are in pages that were written to: from `first` to in front of `after`.

        Reading another page would allocate it. Returns False if there are none.
        """
        cdef off_t begin = rows - self.base, start, stop
        if first[0] >= count:
            return False
        start = lseek(self.fd, begin + <off_t>(first[0] * size), SEEK_DATA)
        if start < 0 or start >= begin + <off_t>(count * size):
            return False
        stop = lseek(self.fd, start, SEEK_HOLE)
        first[0] = <uint32_t>((start - begin + <off_t>size - 1) // <off_t>size)
        after[0] = count if stop < 0 else min(count, <uint32_t>((stop - begin + <off_t>size - 1) // <off_t>size))
        after[0] = max(after[0], first[0])
        return True

    def check_service(self, uint32_t slot):
        """Raise IndexError unless `slot` is a service's."""
        if slot >= self.services:
            raise IndexError(f"service slot {slot} of {self.services}")

    def check_server(self, uint32_t slot):
        """Raise IndexError unless `slot` is a server's."""
        if slot >= self.servers:
            raise IndexError(f"server slot {slot} of {self.servers}")

    def check_worker(self, uint32_t index):
        """Raise IndexError unless `index` is a worker's."""
        if index >= self.workers:
            raise IndexError(f"worker {index} of {self.workers}")


cdef size_t region_bytes(uint32_t workers, uint32_t services, uint32_t servers) noexcept nogil:
    cdef size_t size = HEADER_BYTES
    size += <size_t>services * sizeof(ServiceCell)
    size += <size_t>servers * sizeof(ServerCell)
    size += <size_t>workers * sizeof(WorkerStats)
    size += <size_t>workers * servers * sizeof(ServerStats)
    size += <size_t>workers * services * sizeof(ServiceStats)
    size += <size_t>workers * METRIC_ROWS * sizeof(MetricRow)
    size += <size_t>workers * LABEL_ROWS * sizeof(LabelRow)
    size += <size_t>workers * DENIAL_ROWS * sizeof(DenialRow)
    size += <size_t>(workers + 1) * (sizeof(KeyedPart) + KEYED_ROWS * sizeof(KeyedRow))
    size += <size_t>RING_KINDS * workers * sizeof(LogRing)
    return size
