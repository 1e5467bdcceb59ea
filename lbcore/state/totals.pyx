"""Counters of the shared region, summed over all workers."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from lbcore.selection.atomic cimport atomic_load_u32, atomic_load_u64
from lbcore.state.layout cimport (
    CLIENT_TO_SERVER, DATAGRAM_LOSSES, ERROR_KINDS, HANDSHAKE_CAUSES, SERVER_TO_CLIENT, MAX_BUCKETS, MAX_ENTRY_POINTS,
    RING_LINES, RING_RECORDS, RING_SPANS, RING_TAPS, STATUS_CLASSES, DenialRow, EntryPointStats, LabelRow, MetricRow, ServerStats,
    ServiceStats,
)

from lbcore.state.counters import DATAGRAM_LOSSES as DATAGRAM_LOSS_NAMES, HANDSHAKE_CAUSES as HANDSHAKE_NAMES
from lbcore.state.counters import ERROR_NAMES, CallCounters, EntryPointCounters, QueueCounters, ServerCounters


cdef class Totals(Cells):
    """What a region has counted."""

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
            total.hedges,
            total.hedges_won,
        )

    def connect_errors(self):
        """By the slot of a server: its connections that could not be made, over all workers, if there are any. Reads
        the pages alone that a worker has written."""
        cdef dict found = {}
        cdef uint32_t worker, slot, first, after = 0
        cdef uint32_t used = atomic_load_u32(&self.header.servers_used)
        cdef ServerStats* row
        for worker in range(self.workers):
            first = 0
            while self.rows_written(<char*>self.server_stats(worker, 0), sizeof(ServerStats), used, &first, &after):
                for slot in range(first, after):
                    row = self.server_stats(worker, slot)
                    if row.connect_errors:
                        found[slot] = found.get(slot, 0) + row.connect_errors
                first = after
        return found

    def call_counters(self, uint32_t slot):
        """The counters of the calls of a middleware in Python, which has a slot of a server, summed over all workers."""
        self.check_server(slot)
        cdef ServerStats total = self.total(slot)
        return CallCounters(total.requests, total.in_flight, total.slow, total.failed, total.expired)

    def server_in_flight(self, uint32_t slot):
        """Exchanges not ended at a server, over all workers."""
        self.check_server(slot)
        return self.total(slot).in_flight

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
            total.hedges += row.hedges
            total.hedges_won += row.hedges_won
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
            total.denied += row.denied
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
            total.denied,
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

    def label_counters(self) -> dict:
        """Requests by key of `observability.series` and text of `observability.header_labels`, summed over all workers."""
        cdef uint32_t worker
        cdef Py_ssize_t i
        cdef LabelRow* row
        found = {}
        for worker in range(self.workers):
            for i in range(<Py_ssize_t>self.worker(worker).label_rows):
                row = self.label_rows(worker) + i
                if row.count:
                    labels = (row.key, (<char*>row.text)[:row.length])
                    found[labels] = found.get(labels, 0) + row.count
        return found

    def denials(self):
        """By `counters.denial_key`: what middlewares have refused, over all workers, of those that have refused anything. By 0: what
        had no room."""
        cdef uint32_t worker
        cdef uint64_t i, shed = 0
        cdef DenialRow* row
        cdef dict found = {}
        for worker in range(self.workers):
            row = self.denial_rows(worker)
            shed += self.worker(worker).denials_shed
            for i in range(self.worker(worker).denial_rows):
                found[row[i].key] = found.get(row[i].key, 0) + row[i].count
        if shed:
            found[0] = shed
        return found

    def routers_denied(self):
        """By the slot of a router: what middlewares have refused there, over all workers, if anything. Reads the pages alone that a
        worker has written."""
        cdef dict found = {}
        cdef uint32_t worker, slot, first, after = 0
        cdef uint32_t used = atomic_load_u32(&self.header.services_used)
        cdef uint64_t count
        for worker in range(self.workers):
            first = 0
            while self.rows_written(<char*>self.service_stats(worker, 0), sizeof(ServiceStats), used, &first, &after):
                for slot in range(first, after):
                    count = self.service_stats(worker, slot).denied
                    if count:
                        found[slot] = found.get(slot, 0) + count
                first = after
        return found

    @property
    def labels_shed(self):
        """The number of requests whose values of headers had no room."""
        return sum([self.worker(worker).labels_shed for worker in range(self.workers)])

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

    @property
    def taps_lost(self):
        """Likewise, samples of single requests for those who watch them."""
        return atomic_load_u64(&self.header.lost[<int>RING_TAPS])

    @property
    def breakers_tripped(self):
        """The number of times that any circuit breaker has opened."""
        return self.breaker_trips()
