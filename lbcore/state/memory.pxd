# The memory of the shared region, for C. Slots come from a SlotMap, and are not checked here.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.selection.atomic cimport atomic_add_u64, atomic_load_u64
from lbcore.state.layout cimport (
    DENIAL_ROWS, KEYED_ROWS, LABEL_ROWS, METRIC_ROWS, DenialRow, Header, KeyedPart, KeyedRow, LabelRow, LogRing, MetricRow,
    ServerCell, ServerStats, ServiceCell, ServiceStats, WorkerStats,
)


cdef class RegionMemory:
    cdef char* base                    # page-aligned, owned: mapped until the object is deallocated
    cdef size_t size                   # bytes
    cdef readonly int fd               # of the memfd; owned
    cdef Header* header
    cdef ServiceCell* service_cells
    cdef ServerCell* server_cells
    cdef WorkerStats* worker_rows
    cdef ServerStats* server_rows      # [worker][server]; points into `base`, like the pointers below
    cdef ServiceStats* service_rows    # [worker][service]
    cdef MetricRow* metrics            # [worker][METRIC_ROWS]
    cdef LabelRow* labels              # [worker][LABEL_ROWS]
    cdef DenialRow* denials            # [worker][DENIAL_ROWS]
    cdef KeyedPart* keyed_parts        # [worker, or `workers` for the shared one]
    cdef KeyedRow* keyed               # likewise, [KEYED_ROWS]
    cdef LogRing* rings                # [RingKind][worker]
    cdef uint32_t n_servers            # length of one worker's row of server_rows
    cdef readonly uint32_t workers     # rows; a worker's index is below it
    cdef readonly uint32_t services    # cells; a service's slot is below it
    cdef readonly uint32_t servers     # cells; a server's slot is below it

    cdef int map(self, int fd, size_t size) except -1
    cdef void place(self) noexcept
    cdef bint rows_written(self, const char* rows, size_t size, uint32_t count, uint32_t* first, uint32_t* after) noexcept nogil

    cdef inline ServiceCell* service(self, uint32_t slot) noexcept nogil:
        return self.service_cells + slot

    cdef inline ServerCell* server(self, uint32_t slot) noexcept nogil:
        return self.server_cells + slot

    cdef inline ServerStats* server_stats(self, uint32_t worker, uint32_t slot) noexcept nogil:
        return self.server_rows + <size_t>worker * self.n_servers + slot

    cdef inline ServiceStats* service_stats(self, uint32_t worker, uint32_t slot) noexcept nogil:
        return self.service_rows + <size_t>worker * self.services + slot

    cdef inline MetricRow* metric_rows(self, uint32_t worker) noexcept nogil:
        return self.metrics + <size_t>worker * METRIC_ROWS

    cdef inline LabelRow* label_rows(self, uint32_t worker) noexcept nogil:
        return self.labels + <size_t>worker * LABEL_ROWS

    cdef inline DenialRow* denial_rows(self, uint32_t worker) noexcept nogil:
        return self.denials + <size_t>worker * DENIAL_ROWS

    cdef inline KeyedPart* keyed_part(self, uint32_t part) noexcept nogil:
        return self.keyed_parts + part

    cdef inline KeyedRow* keyed_rows(self, uint32_t part) noexcept nogil:
        return self.keyed + <size_t>part * KEYED_ROWS

    cdef inline uint64_t breaker_trips(self) noexcept nogil:
        return atomic_load_u64(&self.header.breaker_trips)

    cdef inline void count_breaker_trip(self) noexcept nogil:
        atomic_add_u64(&self.header.breaker_trips, 1)

    cdef inline WorkerStats* worker(self, uint32_t index) noexcept nogil:
        return self.worker_rows + index

    cdef inline LogRing* ring(self, uint32_t kind, uint32_t worker) noexcept nogil:
        return self.rings + <size_t>kind * self.workers + worker


cdef size_t region_bytes(uint32_t workers, uint32_t services, uint32_t servers) noexcept nogil
