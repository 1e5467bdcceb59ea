"""The queue of requests that find all servers of a service full, in the order of arrival. No I/O.

Each worker has its own queue for a service, because only it has the connections of its clients. A slot that is given back in a worker
goes to its own oldest request at once; `tick`, which is called every few milliseconds while the queue is not empty, finds slots that
other workers give back. Each worker publishes the time since which its oldest request waits, and takes no slot while another
worker has a request that arrived more than FAIR_NS earlier. So the order over all workers is that of arrival, to within that time.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.selection.atomic cimport atomic_load_u32, atomic_load_u64, atomic_store_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport ServiceStats
from lbcore.state.region cimport Region

cdef enum:
    FAIR_NS = 20 * 1000 * 1000         # requests that arrived this much earlier precede those of other workers
    STALE_NS = 100 * 1000 * 1000       # published times are valid for this time, so that a worker that hangs delays no request


@cython.final
cdef class Waiter(Pending):
    """A request that waits for a server. It is settled once, after it has left the queue."""

    cdef int cancel(self) except -1:
        """Leave the queue, because the client has gone."""
        cdef WaitQueue queue = self.queue
        if queue is None:
            return 0
        queue.row.abandoned += 1
        return queue.leave(self)


cdef inline bint may_go_anywhere(Waiter waiter) noexcept:
    """Whether any server will do: not if some were tried in vain, so that the request waits for the others."""
    return waiter.session_server is None and waiter.decision.failed is None


@cython.final
cdef class WaitQueue:
    """The queue of one worker and service. At most `max_requests` wait in all workers, for `timeout_ms` each; more are rejected."""

    def __init__(self, Region region, uint32_t worker, uint32_t slot, max_requests: int, timeout_ms: int):
        region.check_service(slot)
        region.check_worker(worker)
        self.region = region
        self.worker = worker
        self.slot = slot
        self.row = region.service_stats(worker, slot)
        self.max_requests = max_requests
        self.timeout_ns = timeout_ms * 1000000

    def belong_to(self, Service service, WaitQueue settings=None) -> None:
        """Become the queue of this LoadBalancer, with these settings. Requests in it continue to wait."""
        cdef Waiter waiter = self.first
        self.service = service
        if settings is not None:
            self.max_requests = settings.max_requests
            self.timeout_ns = settings.timeout_ns
        while waiter is not None:
            if waiter.session_server is not None and waiter.session_server not in service.members:
                self.release(waiter)
            waiter = waiter.newer

    cdef bint is_busy(self) noexcept:
        """Whether any request waits, in any worker, so that a new request has to enter the queue. O(workers)."""
        cdef uint32_t worker
        if self.length:
            return True
        for worker in range(self.region.workers):
            if worker != self.worker and atomic_load_u64(&self.region.service_stats(worker, self.slot).waiting):
                return True
        return False

    cdef bint enter(self, Waiter waiter, uint64_t now_ns) except *:
        """Add a waiter. Returns False if there is no room; workers that do so at the same moment may each add one too many. O(workers)."""
        cdef uint64_t waiting = 0
        cdef uint32_t worker
        for worker in range(self.region.workers):
            waiting += atomic_load_u64(&self.region.service_stats(worker, self.slot).waiting)
        if waiting >= self.max_requests:
            self.row.rejected += 1
            return False
        waiter.queue = self
        waiter.since_ns = now_ns
        waiter.older = self.last
        if self.last is None:
            self.first = waiter
        else:
            self.last.newer = waiter
        self.last = waiter
        self.length += 1
        self.row.queued += 1
        atomic_store_u64(&self.row.polled_ns, waiter.since_ns)
        atomic_store_u64(&self.row.waiting, self.length)
        if waiter.session_server is not None:
            self.row.wanting += 1
            if waiter.session_server.stats.wanted_since_ns == 0:
                atomic_store_u64(&waiter.session_server.stats.wanted_since_ns, waiter.since_ns)
        elif self.row.oldest_ns == 0 and may_go_anywhere(waiter):
            atomic_store_u64(&self.row.oldest_ns, waiter.since_ns)
        return True

    cdef int leave(self, Waiter waiter) except -1:
        """Remove a waiter. O(1), except for the search for the new oldest one."""
        cdef Waiter newer = waiter.newer
        waiter.queue = None
        if waiter.older is None:
            self.first = newer
        else:
            waiter.older.newer = newer
        if newer is None:
            self.last = waiter.older
        else:
            newer.older = waiter.older
        waiter.older = waiter.newer = None
        self.length -= 1
        atomic_store_u64(&self.row.waiting, self.length)
        if waiter.session_server is not None:
            self.row.wanting -= 1
            if waiter.session_server.stats.wanted_since_ns == waiter.since_ns:
                self.note_oldest(waiter.session_server, newer)
        elif self.row.oldest_ns == waiter.since_ns:
            self.note_oldest(None, newer)
        return 0

    cdef int release(self, Waiter waiter) except -1:
        """Let a waiter take any server, because the one that it waits for has gone."""
        cdef Server server = waiter.session_server
        waiter.session_server = None
        self.row.wanting -= 1
        self.note_oldest(server, self.first)
        return self.note_oldest(None, self.first)

    cdef int note_oldest(self, Server server, Waiter waiter) noexcept:
        """Publish since when the oldest waiter for this server (None = any) waits; the search begins at `waiter`."""
        while waiter is not None and (waiter.session_server is not server or (server is None and not may_go_anywhere(waiter))):
            waiter = waiter.newer
        atomic_store_u64(
            &self.row.oldest_ns if server is None else &server.stats.wanted_since_ns, 0 if waiter is None else waiter.since_ns)
        return 0

    cdef int wake(self) except -1:
        """Settle the waiter for which a slot is, or may be, free."""
        if self.first is None or self.waking:
            return 0
        return self.look(False, monotonic_ns())

    cdef int tick(self, uint64_t now_ns) except -1:
        """Find slots that other workers have given back, and reject requests whose timeout has passed at `now_ns`."""
        if self.first is None or self.waking:
            return 0
        return self.look(True, now_ns)

    cdef int look(self, bint expire, uint64_t now_ns) except -1:
        cdef Waiter waiter = self.first, newer
        cdef bint full = False
        cdef uint64_t elsewhere_ns
        self.waking = True
        try:
            self.now_ns = now_ns
            atomic_store_u64(&self.row.polled_ns, self.now_ns)
            elsewhere_ns = self.oldest_elsewhere()
            while waiter is not None and (expire or not full or self.row.wanting):
                newer = waiter.newer
                if waiter.session_server is not None and atomic_load_u32(&waiter.session_server.cell.down):
                    self.release(waiter)
                if waiter.session_server is None:
                    full = full or elsewhere_ns + FAIR_NS < waiter.since_ns or (
                        not self.let_in(waiter) and may_go_anywhere(waiter))
                elif not waiter.session_server.is_full():
                    self.let_in(waiter)
                if expire and waiter.queue is self and self.now_ns >= waiter.since_ns + self.timeout_ns:
                    self.row.timed_out += 1
                    self.leave(waiter)
                    waiter.settle()
                # The consequences of that may have removed other waiters.
                waiter = newer if newer is None or newer.queue is self else self.first
        finally:
            self.waking = False
        return 0

    cdef bint let_in(self, Waiter waiter) except *:
        """Settle a waiter with a server, or without one if no server is left. Returns False if it has to continue to wait."""
        cdef Server server
        waiter.decision.since_ns = waiter.since_ns
        server = self.service.admit(waiter.asker, waiter.decision)
        if server is None and waiter.decision.queue is not None:
            return False
        self.leave(waiter)
        waiter.server = server
        waiter.settle()
        return True

    cdef bint is_fresh(self, ServiceStats* row) noexcept:
        """Whether the published times of another worker are valid."""
        return atomic_load_u64(&row.waiting) and atomic_load_u64(&row.polled_ns) + STALE_NS > self.now_ns

    cdef uint64_t oldest_elsewhere(self) noexcept:
        """The time since which the oldest request for any server waits in other workers; the greatest number if none does."""
        cdef uint64_t oldest = <uint64_t>-1 - FAIR_NS, since
        cdef ServiceStats* row
        cdef uint32_t worker
        for worker in range(self.region.workers):
            row = self.region.service_stats(worker, self.slot)
            if worker != self.worker and self.is_fresh(row):
                since = atomic_load_u64(&row.oldest_ns)
                if since and since < oldest:
                    oldest = since
        return oldest

    cdef bint is_claimed(self, Server server, uint64_t since_ns) noexcept:
        """Whether a request in another worker waits for exactly this server, and has done so for longer."""
        cdef ServiceStats* row
        cdef uint64_t since
        cdef uint32_t worker
        for worker in range(self.region.workers):
            row = self.region.service_stats(worker, self.slot)
            if worker != self.worker and atomic_load_u64(&row.wanting) and self.is_fresh(row):
                since = atomic_load_u64(&self.region.server_stats(worker, server.slot).wanted_since_ns)
                if since and since + FAIR_NS < since_ns:
                    return True
        return False


def adopt(known: dict, balancers: dict) -> None:
    """Have the queues of the table in force be those of a new one.

    known      queues by the name of their service; changed.
    balancers  by name: LoadBalancers of the new table, of services whose queue may be another one; None: there is none any more.

    Requests continue to wait in the order of arrival, for the servers of the new table. The queue of a service that has been removed
    empties itself; a service that has no limits any more takes all waiting requests.
    """
    for name, balancer in balancers.items():
        queue = known.pop(name, None)
        if balancer is None:
            continue
        settings = balancer.queue
        if queue is None or queue.slot != balancer.slot or (settings is None and queue.length == 0):
            if settings is not None:
                known[name] = settings
            continue
        queue.belong_to(balancer, settings)
        if settings is not None:
            balancer.queue = queue
        known[name] = queue
