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

from lbcore.selection.atomic cimport (
    atomic_add_u64, atomic_load_u32, atomic_load_u64, atomic_store_u32, atomic_store_u64, atomic_swap_if_u32,
    atomic_unlock_u32,
)
from lbcore.state.layout cimport (
    TICKET_KEY_BYTES, TICKET_KEYS, HEADER_BYTES, KEYED_ROWS, LAYOUT_VERSION, SECRET_BYTES, MAX_ENTRY_POINTS, MAX_WORKERS,
    STATUS_CLASSES, DenialRow, Header, KeyedPart, KeyedRow, LabelRow, LogRing, ServerCell, ServerStats, ServiceCell,
    ServiceStats, WorkerStats,
)
from lbcore.state.memory cimport region_bytes

cdef enum:
    DEFAULT_SERVICES = 65536           # routers have cells too
    DEFAULT_SERVERS = 65536
    MAX_CELLS = 1 << 20

cdef uint64_t REGION_MAGIC = 0x4C42434F52453031       # "LBCORE01"
cdef uint32_t STRUCT_BYTES = <uint32_t>(
    sizeof(Header) + 31 * sizeof(ServiceCell) + 37 * sizeof(ServerCell) + 41 * sizeof(ServerStats) + 43 * sizeof(WorkerStats)
    + 47 * sizeof(ServiceStats)
    + 53 * sizeof(KeyedRow) + 57 * sizeof(KeyedPart)
    + 59 * sizeof(LogRing) + 61 * sizeof(LabelRow) + 67 * sizeof(DenialRow)
)

entry_points_max = MAX_ENTRY_POINTS


cdef class Region(Totals):
    """Typed shared memory for `workers` workers. Made by `Region.create` or `Region.attach`, never directly."""

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
    def instances(self):
        """The number of instances of the fleet that live, this one among them; 0 = there is no fleet."""
        return atomic_load_u32(&self.header.instances)

    @instances.setter
    def instances(self, uint32_t value):
        atomic_store_u32(&self.header.instances, value)

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


def default_body_memory() -> int:
    """1/32 of the machine's memory, or of the limit of the control group; 16 MiB to 256 MiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            memory = min(memory, int(file.read()))
    except (OSError, ValueError):
        pass                   # no control group, or one without a limit
    return min(max(memory // 32, 16 << 20), 256 << 20)
