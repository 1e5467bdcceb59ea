"""The shared region: one sealed memfd, mapped by the supervisor and every worker.

The supervisor creates it, workers attach by file descriptor. It is sparse: its virtual size depends on the number of cells, its
memory only on the cells in use. It is unmapped when the Region object is deallocated, never before, because compiled tables have
pointers into it.
"""

import fcntl
import os
import time

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from lbcore.selection.atomic cimport (
    atomic_add_u32,
    atomic_add_u64,
    atomic_and_u32,
    atomic_load_u32,
    atomic_load_u64,
    atomic_or_u32,
    atomic_store_u32,
    atomic_store_u64,
    atomic_swap_if_u32,
    atomic_unlock_u32,
)
from lbcore.state.layout cimport (
    TICKET_KEY_BYTES,
    TICKET_KEYS,
    DOWN_ADMIN,
    DOWN_CHECK,
    DOWN_EJECTED,
    CLIENT_TO_SERVER, DATAGRAM_LOSSES, ERROR_KINDS, HANDSHAKE_CAUSES, SERVER_TO_CLIENT,
    HEADER_BYTES,
    KEYED_ROWS,
    LAYOUT_VERSION,
    SECRET_BYTES,
    MAX_BUCKETS,
    MAX_ENTRY_POINTS,
    MAX_WORKERS,
    METRIC_ROWS,
    RING_KINDS,
    RING_LINES,
    RING_RECORDS,
    RING_SPANS,
    STATUS_CLASSES,
    EntryPointStats,
    Header,
    KeyedPart,
    KeyedRow,
    LogRing,
    MetricRow,
    ServerCell,
    ServerStats,
    ServiceCell,
    ServiceStats,
    WorkerStats,
)

from lbcore.state.counters import DATAGRAM_LOSSES as DATAGRAM_LOSS_NAMES, HANDSHAKE_CAUSES as HANDSHAKE_NAMES
from lbcore.state.counters import ERROR_NAMES, CallCounters, EntryPointCounters, QueueCounters, ServerCounters

cdef extern from "<unistd.h>" nogil:
    ctypedef long off_t
    off_t lseek(int fd, off_t offset, int whence)
    const int SEEK_DATA
    const int SEEK_HOLE

cdef enum:
    DEFAULT_SERVICES = 65536           # routers have cells too
    DEFAULT_SERVERS = 65536
    MAX_CELLS = 1 << 20

cdef uint64_t REGION_MAGIC = 0x4C42434F52453031       # "LBCORE01"
cdef uint32_t STRUCT_BYTES = <uint32_t>(
    sizeof(Header) + 31 * sizeof(ServiceCell) + 37 * sizeof(ServerCell) + 41 * sizeof(ServerStats) + 43 * sizeof(WorkerStats)
    + 47 * sizeof(ServiceStats)
    + 53 * sizeof(KeyedRow) + 57 * sizeof(KeyedPart)
    + 59 * sizeof(LogRing)
)

entry_points_max = MAX_ENTRY_POINTS
CHECK, EJECTED, ADMIN = DOWN_CHECK, DOWN_EJECTED, DOWN_ADMIN   # reasons not to pick a server, as bits


cdef class Region:
    """Typed shared memory for `workers` workers. Made by `Region.create` or `Region.attach`, never directly."""

    def __cinit__(self):
        self.base = NULL
        self.fd = -1

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)
        if self.fd >= 0:
            os.close(self.fd)

    @staticmethod
    def create(uint32_t workers, uint32_t services=DEFAULT_SERVICES, uint32_t servers=DEFAULT_SERVERS, body_memory=None):
        """Create an empty region.

        body_memory  bytes for request bodies that are kept; None = `default_body_memory`.
        Raises ValueError for a size out of range, OSError when there is no memory.
        """
        limits: tuple = (("workers", workers, MAX_WORKERS), ("services", services, MAX_CELLS), ("servers", servers, MAX_CELLS))
        for name, value, limit in limits:
            if not 1 <= value <= limit:
                raise ValueError(f"{name} must be between 1 and {limit}, not {value}")
        cdef size_t size = region_bytes(workers, services, servers)
        cdef Region region = Region.__new__(Region)
        fd = os.memfd_create("lbcore-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            # Sealed against shrinking, so that no access to the mapping causes SIGBUS.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            region.map(fd, size)
        except BaseException:
            os.close(fd)
            raise
        region.header.layout_version = LAYOUT_VERSION
        region.header.struct_bytes = STRUCT_BYTES
        region.header.region_bytes = size
        region.header.workers = workers
        region.header.services = services
        region.header.servers = servers
        region.header.started_unix_ns = time.time_ns()
        region.header.started_ns = time.monotonic_ns()
        region.header.body_memory_limit = default_body_memory() if body_memory is None else body_memory
        region.set_ticket_keys(os.urandom(TICKET_KEYS * TICKET_KEY_BYTES))
        region.set_secret(os.urandom(SECRET_BYTES))
        region.header.magic = REGION_MAGIC
        region.place()
        return region

    cdef void set_ticket_keys(self, bytes keys) noexcept:
        memcpy(self.header.ticket_keys, <const char*>keys, sizeof(self.header.ticket_keys))

    cdef void set_secret(self, bytes secret) noexcept:
        memcpy(self.header.secret, <const char*>secret, SECRET_BYTES)

    @property
    def secret(self) -> bytes:
        """The secret of the instance, the same in all of its processes, another one after a restart."""
        return (<char*>self.header.secret)[:SECRET_BYTES]

    def rotate_ticket_keys(self) -> None:
        """Make a new key, which encrypts the TLS session tickets from now on. Tickets of the two previous keys stay valid.

        To be called by one process only, and not twice during a handshake: it overwrites a key that no handshake uses any more.
        """
        cdef uint64_t epoch = self.header.ticket_epoch + 1
        cdef bytes key = os.urandom(TICKET_KEY_BYTES)
        memcpy(self.header.ticket_keys[epoch % TICKET_KEYS], <const char*>key, TICKET_KEY_BYTES)
        atomic_store_u64(&self.header.ticket_epoch, epoch)

    @staticmethod
    def attach(int fd):
        """Map the region of `fd`, whose ownership passes to the Region.

        Raises ValueError, leaving `fd` open, if it is no region, or one of another build.
        """
        cdef Region region = Region.__new__(Region)
        size = os.fstat(fd).st_size
        if size < HEADER_BYTES:
            raise ValueError(f"not a shared region: {size} bytes")
        region.map(fd, size)
        cdef Header* header = region.header
        problem = ""
        if header.magic != REGION_MAGIC:
            problem = "not a shared region: wrong magic number"
        elif header.layout_version != LAYOUT_VERSION or header.struct_bytes != STRUCT_BYTES:
            problem = f"shared region has layout {header.layout_version}/{header.struct_bytes}, this build {LAYOUT_VERSION}/{STRUCT_BYTES}"
        elif header.region_bytes != <uint64_t>size or region_bytes(header.workers, header.services, header.servers) != <size_t>size:
            problem = f"shared region is {size} bytes, its header says {header.region_bytes}"
        if problem:
            region.fd = -1
            raise ValueError(problem)
        region.place()
        return region

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
        self.keyed_parts = <KeyedPart*>(self.metrics + <size_t>self.workers * METRIC_ROWS)
        self.keyed = <KeyedRow*>(self.keyed_parts + self.workers + 1)
        self.rings = <LogRing*>(self.keyed + <size_t>(self.workers + 1) * KEYED_ROWS)

    # What the process as a whole runs.

    @property
    def generation(self):
        """Configurations published so far."""
        return atomic_load_u64(&self.header.generation)

    @generation.setter
    def generation(self, uint64_t value):
        atomic_store_u64(&self.header.generation, value)

    @property
    def started_unix_ns(self):
        """Wall clock at creation, ns."""
        return self.header.started_unix_ns

    @property
    def started_ns(self):
        """Monotonic clock at creation, ns."""
        return self.header.started_ns

    @property
    def log_lines_lost(self):
        """Lines of the access log that were lost, over all workers: no room in memory, or they could not be written."""
        return atomic_load_u64(&self.header.lost[<int>RING_LINES])

    @property
    def spans_lost(self):
        """Spans that were lost, over all workers: no room in memory, or the collector has not taken them."""
        return atomic_load_u64(&self.header.lost[<int>RING_SPANS])

    @property
    def log_records_lost(self):
        """Likewise, records of the access log for a collector."""
        return atomic_load_u64(&self.header.lost[<int>RING_RECORDS])

    # Cells. Slots are checked here: these are for the control plane.

    def reset_service(self, uint32_t slot):
        """Reset the cell of a service. Only while no table uses the slot."""
        self.check_service(slot)
        cdef uint32_t worker
        if slot < self.header.services_used:
            self.forget_requests(slot)
            for worker in range(self.workers):
                memset(self.service_stats(worker, slot), 0, sizeof(ServiceStats))
        memset(self.service(slot), 0, sizeof(ServiceCell))
        if self.header.services_used <= slot:
            atomic_store_u32(&self.header.services_used, slot + 1)

    def reset_server(self, uint32_t slot):
        """Reset the cell and the counters of a server, which is up then. Only while no table uses the slot."""
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        cdef uint32_t generation = atomic_load_u32(&cell.generation)
        cdef uint32_t worker
        if slot < self.header.servers_used:        # a slot never used is zero; not touching it keeps the region sparse
            generation += 1
            for worker in range(self.workers):
                memset(self.server_stats(worker, slot), 0, sizeof(ServerStats))
        else:
            atomic_store_u32(&self.header.servers_used, slot + 1)
        memset(cell, 0, sizeof(ServerCell))
        cell.generation = generation

    def server_generation(self, uint32_t slot):
        """The number of identities that the slot had before its present one."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).generation)

    def is_up(self, uint32_t slot):
        """Whether the server may be picked."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).down) == 0

    def down_reasons(self, uint32_t slot):
        """DownReason bits; 0 = the server may be picked."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).down)

    def changed_ns(self, uint32_t slot):
        """Monotonic time at which the server last went up or down; 0 = never."""
        self.check_server(slot)
        return atomic_load_u64(&self.server(slot).changed_ns)

    def set_up(self, uint32_t slot, bint up, uint32_t reason=DOWN_CHECK):
        """Remove (`up`) or set a reason not to pick the server, for all workers at once.

        Returns whether the server has gone up or down by that; it is up while it has no reason.
        """
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        cdef uint32_t before
        if up:
            before = atomic_and_u32(&cell.down, ~reason)
        else:
            before = atomic_or_u32(&cell.down, reason)
        cdef uint32_t after = before & ~reason if up else before | reason
        if (before == 0) == (after == 0):
            return False
        atomic_store_u64(&cell.changed_ns, time.monotonic_ns())
        atomic_add_u64(&self.header.eligibility, 1)
        return True

    def clear_down(self, uint32_t slot):
        """Remove all reasons, failures and trials of a server."""
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        atomic_store_u32(&cell.failures, 0)
        atomic_store_u32(&cell.ejections, 0)
        atomic_store_u32(&cell.trial, 0)
        return self.set_up(slot, True, ~<uint32_t>0)

    def failures(self, uint32_t slot):
        """The number of failed requests since the last success, as far as ejection counts them."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).failures)

    def eject(self, uint32_t slot):
        """Eject a server, as a worker does after too many failures. Returns whether that has been done."""
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        cdef uint32_t before = atomic_or_u32(&cell.down, DOWN_EJECTED)
        if before & DOWN_EJECTED:                  # a worker was faster
            return False
        atomic_store_u32(&cell.trial, 0)
        atomic_store_u32(&cell.failures, 0)
        atomic_add_u32(&cell.ejections, 1)
        if before == 0:
            atomic_store_u64(&cell.changed_ns, time.monotonic_ns())
            atomic_add_u64(&self.header.eligibility, 1)
        return True

    def ejections(self, uint32_t slot):
        """The number of consecutive ejections of the server."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).ejections)

    def on_trial(self, uint32_t slot):
        """Whether the ejection of the server has ended for one request alone, whose outcome decides."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).trial) != 0

    def try_again(self, uint32_t slot):
        """End an ejection for one request at first, whose outcome decides."""
        self.check_server(slot)
        atomic_store_u32(&self.server(slot).trial, 1)
        return self.set_up(slot, True, DOWN_EJECTED)

    def weight_override(self, uint32_t slot):
        """The weight that overrides the configured one, or None."""
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        return atomic_load_u32(&cell.weight) if atomic_load_u32(&cell.weight_set) else None

    def latency_ns(self, uint32_t slot):
        """The moving average of the time to first byte; 0 = not measured."""
        self.check_server(slot)
        return atomic_load_u64(&self.server(slot).load.latency_ewma_ns)

    @property
    def instances(self):
        """The number of instances of the fleet that live, this one among them; 0 = there is no fleet."""
        return atomic_load_u32(&self.header.instances)

    @instances.setter
    def instances(self, uint32_t value):
        atomic_store_u32(&self.header.instances, value)

    @property
    def breakers_tripped(self):
        """The number of times that any circuit breaker has opened."""
        return self.breaker_trips()

    @property
    def eligibility(self):
        """The number of times that any server has gone up or down, or changed its weight."""
        return atomic_load_u64(&self.header.eligibility)

    def set_weight(self, uint32_t slot, weight):
        """Override a server's configured weight, for all workers at once; None ends the override."""
        self.check_server(slot)
        cdef ServerCell* cell = self.server(slot)
        atomic_store_u32(&cell.weight, weight or 0)
        atomic_store_u32(&cell.weight_set, weight is not None)
        atomic_add_u64(&self.header.eligibility, 1)

    def ramp_percent(self, uint32_t slot):
        """The part of its weight that counts during slow start, in percent; 0 = all of it."""
        self.check_server(slot)
        return atomic_load_u32(&self.server(slot).ramp_percent)

    def set_ramp(self, uint32_t slot, uint32_t percent):
        """Set the part of a server's weight that counts, for all workers at once; 0 = all of it."""
        self.check_server(slot)
        if not 0 <= percent < 100:
            raise ValueError(f"{percent} per cent")
        if atomic_load_u32(&self.server(slot).ramp_percent) != percent:
            atomic_store_u32(&self.server(slot).ramp_percent, percent)
            atomic_add_u64(&self.header.eligibility, 1)

    def service_is_up(self, uint32_t slot):
        """Whether the service was up when a worker last derived that from its children."""
        self.check_service(slot)
        return atomic_load_u32(&self.service(slot).down) == 0

    def service_changed_ns(self, uint32_t slot):
        """Monotonic time of the last change of `service_is_up`; 0 = never."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).changed_ns)

    def sequence(self, uint32_t slot):
        """The picks of the service so far, over all workers."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).sequence)

    def take_sequence(self, uint32_t slot, uint64_t count=1):
        """Take `count` picks at once. Returns the first of them."""
        self.check_service(slot)
        return atomic_add_u64(&self.service(slot).sequence, count)

    # Counters.

    def server_counters(self, uint32_t slot):
        """The counters of a server, summed over all workers."""
        self.check_server(slot)
        cdef ServerStats total = self.total(slot)
        return ServerCounters(
            total.requests,
            total.in_flight,
            total.connect_errors,
            total.retries,
            tuple([total.responses[i] for i in range(STATUS_CLASSES)]),
            total.bytes_in,
            total.bytes_out,
            total.shed,
            total.oversized,
            total.first_byte_ns / 1e9,
        )

    def call_counters(self, uint32_t slot):
        """The counters of the calls of a middleware in Python, which has a slot of a server, summed over all workers."""
        self.check_server(slot)
        cdef ServerStats total = self.total(slot)
        return CallCounters(total.requests, total.in_flight, total.slow, total.failed, total.expired)

    def server_in_flight(self, uint32_t slot):
        """Exchanges not ended at a server, over all workers."""
        self.check_server(slot)
        return self.total(slot).in_flight

    cdef uint64_t counted_by_workers(self, uint32_t slot) noexcept nogil:
        """The sum of the workers' own counts of exchanges in flight at a server."""
        cdef uint64_t held = 0
        cdef uint32_t worker
        for worker in range(self.workers):
            held += atomic_load_u64(&self.server_stats(worker, slot).held)
        return held

    def in_flight_drift(self, slots, service=None):
        """The difference between the shared count of exchanges in flight and the sum of the workers' own counts; 0 if right.

        slots    of one server, or of all servers of a service.
        service  the slot of the service whose count is compared; None = the count of the one server.

        Exchanges that begin and end meanwhile can cause a difference; only one that persists is an error.
        """
        cdef uint64_t held = 0, counted
        cdef uint32_t slot
        for slot in slots:
            self.check_server(slot)
            held += self.counted_by_workers(slot)
        if service is not None:
            self.check_service(service)
            counted = atomic_load_u64(&self.service(service).in_flight)
        else:
            counted = atomic_load_u64(&self.server(slots[0]).load.in_flight)
        return <int64_t>(counted - held)

    def correct_in_flight(self, uint32_t slot, int64_t drift, bint of_service=False):
        """Subtract a drift from the shared count of a server, or of a service."""
        if of_service:
            self.check_service(slot)
            atomic_add_u64(&self.service(slot).in_flight, <uint64_t>-drift)
        else:
            self.check_server(slot)
            atomic_add_u64(&self.server(slot).load.in_flight, <uint64_t>-drift)

    def counted_in_flight(self, uint32_t slot):
        """The shared count of exchanges in flight at a server; 0 if it is not kept."""
        self.check_server(slot)
        return atomic_load_u64(&self.server(slot).load.in_flight)

    def queue_counters(self, uint32_t slot):
        """The counters of the queue of a service, summed over all workers."""
        self.check_service(slot)
        cdef uint64_t waiting = 0, queued = 0, timed_out = 0, rejected = 0, abandoned = 0
        cdef ServiceStats* row
        cdef uint32_t worker
        for worker in range(self.workers):
            row = self.service_stats(worker, slot)
            waiting += row.waiting
            queued += row.queued
            timed_out += row.timed_out
            rejected += row.rejected
            abandoned += row.abandoned
        return QueueCounters(waiting, queued, timed_out, rejected, abandoned)

    cdef ServerStats total(self, uint32_t slot) noexcept nogil:
        cdef ServerStats total
        cdef ServerStats* row
        cdef uint32_t worker
        cdef int i
        memset(&total, 0, sizeof(ServerStats))
        for worker in range(self.workers):
            row = self.server_stats(worker, slot)
            total.requests += row.requests
            total.in_flight += row.in_flight
            total.connect_errors += row.connect_errors
            total.retries += row.retries
            for i in range(STATUS_CLASSES):
                total.responses[i] += row.responses[i]
            total.bytes_in += row.bytes_in
            total.bytes_out += row.bytes_out
            total.shed += row.shed
            total.oversized += row.oversized
            total.first_byte_ns += row.first_byte_ns
            total.slow += row.slow
            total.failed += row.failed
            total.expired += row.expired
        return total

    def entry_point_counters(self, uint32_t index, worker=None):
        """The counters of an entry point, summed over all workers, or those of one worker."""
        cdef EntryPointStats total
        cdef EntryPointStats* row
        cdef uint32_t w
        cdef int i
        if index >= MAX_ENTRY_POINTS:
            raise IndexError(f"entry point {index} of {MAX_ENTRY_POINTS}")
        if worker is not None:
            self.check_worker(worker)
        memset(&total, 0, sizeof(EntryPointStats))
        for w in range(self.workers):
            if worker is not None and w != worker:
                continue
            row = &self.worker(w).entry_points[index]
            total.accepted += row.accepted
            total.open_connections += row.open_connections
            total.requests += row.requests
            for i in range(STATUS_CLASSES):
                total.responses[i] += row.responses[i]
            for i in range(ERROR_KINDS):
                total.errors[i] += row.errors[i]
            total.bytes_in += row.bytes_in
            total.bytes_out += row.bytes_out
            for i in range(HANDSHAKE_CAUSES):
                total.handshakes_failed[i] += row.handshakes_failed[i]
            total.datagrams_in += row.datagrams_in
            total.datagrams_out += row.datagrams_out
            for i in range(2 * DATAGRAM_LOSSES):
                (&total.datagrams_lost[0][0])[i] += (&row.datagrams_lost[0][0])[i]
            total.sessions_shed += row.sessions_shed
        return EntryPointCounters(
            total.accepted,
            total.open_connections,
            total.requests,
            tuple([total.responses[i] for i in range(STATUS_CLASSES)]),
            {name: total.errors[i] for i, name in enumerate(ERROR_NAMES)},
            total.bytes_in,
            total.bytes_out,
            {name: total.handshakes_failed[i] for i, name in enumerate(HANDSHAKE_NAMES)},
            total.datagrams_in,
            total.datagrams_out,
            {name: total.datagrams_lost[<int>CLIENT_TO_SERVER][i] for i, name in enumerate(DATAGRAM_LOSS_NAMES)},
            {name: total.datagrams_lost[<int>SERVER_TO_CLIENT][i] for i, name in enumerate(DATAGRAM_LOSS_NAMES)},
            total.sessions_shed,
        )

    def request_counters(self) -> dict:
        """By key of `observability.series`: (count, seconds, bytes in, bytes out, buckets), summed over all workers."""
        cdef uint32_t worker
        cdef Py_ssize_t i
        cdef int b
        cdef MetricRow* row
        found = {}
        for worker in range(self.workers):
            for i in range(<Py_ssize_t>self.worker(worker).metric_rows):
                row = self.metric_rows(worker) + i
                if row.count == 0:
                    continue
                counts = (row.count, row.duration_ns / 1e9, row.bytes_in, row.bytes_out)
                buckets = [row.buckets[b] for b in range(MAX_BUCKETS)]
                before = found.get(row.key)
                if before is not None:
                    counts = tuple([a + b for a, b in zip(before[:4], counts)])
                    buckets = [a + b for a, b in zip(before[4], buckets)]
                found[row.key] = (*counts, buckets)
        return found

    def forget_requests(self, uint32_t slot):
        """Reset the request counters of a service or router, because its slot gets another identity."""
        cdef uint32_t worker
        cdef Py_ssize_t i
        cdef MetricRow* row
        for worker in range(self.workers):
            for i in range(<Py_ssize_t>self.worker(worker).metric_rows):
                row = self.metric_rows(worker) + i
                if (row.key >> 61) & 3 and <uint32_t>(row.key >> 32 & 0xFFFFFF) == slot:
                    memset(<char*>row + sizeof(uint64_t), 0, sizeof(MetricRow) - sizeof(uint64_t))

    def sessions(self, uint32_t slot):
        """Requests of a sticky service that went to the member of their session, and that began a session."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).sessions_kept), atomic_load_u64(&self.service(slot).sessions_begun)

    # Memory.

    @property
    def body_memory(self):
        """Bytes of request bodies that all workers keep."""
        return atomic_load_u64(&self.header.body_memory)

    def body_memory_drift(self):
        """The difference between `body_memory` and the sum of the workers' own counts: see `in_flight_drift`."""
        cdef uint64_t taken = 0
        cdef uint32_t worker
        for worker in range(self.workers):
            taken += atomic_load_u64(&self.worker(worker).body_memory)
        return <int64_t>(atomic_load_u64(&self.header.body_memory) - taken)

    def correct_body_memory(self, int64_t drift):
        """Subtract a drift from `body_memory`."""
        atomic_add_u64(&self.header.body_memory, <uint64_t>-drift)

    @property
    def body_memory_limit(self):
        """The limit of `body_memory`."""
        return self.header.body_memory_limit

    @property
    def bodies_shed(self):
        """The number of bodies that were not kept, or dropped, for lack of room."""
        return sum([self.worker(worker).bodies_shed for worker in range(self.workers)])

    @property
    def connections_shed(self):
        """Idle connections that were closed since there were no descriptors for others."""
        return sum([self.worker(worker).connections_shed for worker in range(self.workers)])

    @property
    def passwords_shed(self):
        """Requests that were refused since their password could not be checked."""
        return sum([self.worker(worker).passwords_shed for worker in range(self.workers)])

    @property
    def retries_denied(self):
        """Attempts for which the budget of `retry` had no room."""
        return sum([self.worker(worker).retries_denied for worker in range(self.workers)])

    @property
    def stores_missed(self):
        """Requests about which limits have decided without their store, since that was away."""
        return sum([self.worker(worker).stores_missed for worker in range(self.workers)])

    @property
    def keys_evicted(self):
        """The number of keys of limits that were evicted to make room for others."""
        return sum([self.keyed_part(part).evicted for part in range(self.workers + 1)])

    @property
    def keys_refused(self):
        """The number of keys of limits for which there was no room, nothing that could be evicted being there."""
        return sum([self.keyed_part(part).refused for part in range(self.workers + 1)])

    @property
    def keys_used(self):
        """The number of keys of limits: (those that are used up over time, those that are held, of all workers)."""
        held = sum([self.keyed_part(part).rows for part in range(self.workers)])
        return self.keyed_part(self.workers).rows, held

    # Life of a worker.

    def beat(self, uint32_t worker):
        """Record an iteration of the worker's loop. Called by the worker."""
        self.check_worker(worker)
        atomic_store_u64(&self.worker(worker).heartbeat_ns, time.monotonic_ns())

    def heartbeat_ns(self, uint32_t worker):
        """Monotonic time of the last iteration of the worker's loop; 0 = there was none."""
        self.check_worker(worker)
        return atomic_load_u64(&self.worker(worker).heartbeat_ns)

    def worker_generation(self, uint32_t worker):
        """The configuration that the worker runs."""
        self.check_worker(worker)
        return atomic_load_u64(&self.worker(worker).generation)

    def set_worker_generation(self, uint32_t worker, uint64_t generation):
        """Set the configuration that the worker runs. Called by the worker."""
        self.check_worker(worker)
        atomic_store_u64(&self.worker(worker).generation, generation)

    def clear_worker(self, uint32_t worker):
        """Subtract the open connections and exchanges of a dead worker; its totals stay."""
        self.check_worker(worker)
        cdef uint32_t slot
        cdef int index
        cdef WorkerStats* row = self.worker(worker)
        row.heartbeat_ns = 0
        row.generation = 0
        atomic_add_u64(&self.header.body_memory, <uint64_t>0 - row.body_memory)
        row.body_memory = 0
        for index in range(MAX_ENTRY_POINTS):
            row.entry_points[index].open_connections = 0
        cdef ServerStats* server
        cdef ServiceStats* service
        cdef uint64_t ended
        cdef uint32_t first = 0, after = 0
        while self.rows_written(<char*>self.server_stats(worker, 0), sizeof(ServerStats), self.header.servers_used, &first, &after):
            for slot in range(first, after):
                server = self.server_stats(worker, slot)
                if server.held:
                    atomic_add_u64(&self.server(slot).load.in_flight, <uint64_t>0 - server.held)
                    server.held = 0
                if server.in_flight or server.wanted_since_ns:
                    server.in_flight = 0
                    server.wanted_since_ns = 0
            first = after
        for slot in range(self.header.servers_used):
            # Which worker had the trial is not known: at worst one more request tries a server on trial.
            if atomic_load_u32(&self.server(slot).trial) == 2:
                atomic_swap_if_u32(&self.server(slot).trial, 2, 1)
        first = 0
        while self.rows_written(<char*>self.service_stats(worker, 0), sizeof(ServiceStats), self.header.services_used, &first, &after):
            for slot in range(first, after):
                service = self.service_stats(worker, slot)
                if service.waiting:
                    service.waiting = service.wanting = service.oldest_ns = 0
                ended = 0
                for index in range(STATUS_CLASSES):
                    ended += service.responses[index]
                if service.requests > ended:   # those that were under way have ended without an answer
                    service.responses[0] += service.requests - ended
            first = after
        if self.keyed_part(worker).rows:
            memset(self.keyed_rows(worker), 0, KEYED_ROWS * sizeof(KeyedRow))
            self.keyed_part(worker).rows = 0
        if atomic_load_u32(&self.header.keyed_lock) == worker + 1:
            atomic_unlock_u32(&self.header.keyed_lock)

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

    # Bounds.

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


def default_body_memory() -> int:
    """1/32 of the machine's memory, or of the limit of the control group; 16 MiB to 256 MiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            memory = min(memory, int(file.read()))
    except (OSError, ValueError):
        pass                   # no control group, or one without a limit
    return min(max(memory // 32, 16 << 20), 256 << 20)


cdef size_t region_bytes(uint32_t workers, uint32_t services, uint32_t servers) noexcept nogil:
    cdef size_t size = HEADER_BYTES
    size += <size_t>services * sizeof(ServiceCell)
    size += <size_t>servers * sizeof(ServerCell)
    size += <size_t>workers * sizeof(WorkerStats)
    size += <size_t>workers * servers * sizeof(ServerStats)
    size += <size_t>workers * services * sizeof(ServiceStats)
    size += <size_t>workers * METRIC_ROWS * sizeof(MetricRow)
    size += <size_t>(workers + 1) * (sizeof(KeyedPart) + KEYED_ROWS * sizeof(KeyedRow))
    size += <size_t>RING_KINDS * workers * sizeof(LogRing)
    return size
