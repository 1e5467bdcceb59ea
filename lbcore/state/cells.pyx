"""What the supervisor does with the cells of services and servers: health, weights, positions, counts of what is under way.

Slots are checked here. The data plane reads and writes the same cells by pointers.
"""

import time

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from lbcore.selection.atomic cimport (
    atomic_add_u32, atomic_add_u64, atomic_and_u32, atomic_load_u32, atomic_load_u64, atomic_or_u32, atomic_store_u32,
    atomic_store_u64, atomic_swap_if_u64,
)
from lbcore.state.layout cimport (
    DOWN_ADMIN, DOWN_CHECK, DOWN_EJECTED, MAX_TAPS, LabelRow, MetricRow, ServerCell, ServerStats, ServiceCell, ServiceStats, TapCell,
)

CHECK, EJECTED, ADMIN = DOWN_CHECK, DOWN_EJECTED, DOWN_ADMIN   # reasons not to pick a server, as bits
most_taps = MAX_TAPS


cdef class Cells(RegionMemory):
    """The cells of a region."""

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

    def latency_ns(self, uint32_t slot):
        """The moving average of the time to first byte; 0 = not measured."""
        self.check_server(slot)
        return atomic_load_u64(&self.server(slot).load.latency_ewma_ns)

    @property
    def eligibility(self):
        """The number of times that any server has gone up or down, or changed its weight."""
        return atomic_load_u64(&self.header.eligibility)

    def service_is_up(self, uint32_t slot):
        """Whether the service was up when a worker last derived that from its children."""
        self.check_service(slot)
        return atomic_load_u32(&self.service(slot).down) == 0

    def service_changed_ns(self, uint32_t slot):
        """Monotonic time of the last change of `service_is_up`; 0 = never."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).changed_ns)

    def sequence(self, uint32_t slot):
        """The picks of the service so far, over all workers; those for further attempts are not among them."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).sequence)

    def take_sequence(self, uint32_t slot, uint64_t count=1):
        """Take `count` picks at once. Returns the first of them."""
        self.check_service(slot)
        return atomic_add_u64(&self.service(slot).sequence, count)

    def sessions(self, uint32_t slot):
        """Requests of a sticky service that went to the member of their session, and that began a session."""
        self.check_service(slot)
        return atomic_load_u64(&self.service(slot).sessions_kept), atomic_load_u64(&self.service(slot).sessions_begun)

    def counted_in_flight(self, uint32_t slot):
        """The shared count of exchanges in flight at a server; 0 if it is not kept."""
        self.check_server(slot)
        return atomic_load_u64(&self.server(slot).load.in_flight)

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

    def forget_requests(self, uint32_t slot):
        """Reset the request counters of a service or router, because its slot gets another identity."""
        cdef uint32_t worker
        cdef Py_ssize_t i
        cdef MetricRow* row
        cdef LabelRow* label
        for worker in range(self.workers):
            for i in range(<Py_ssize_t>self.worker(worker).metric_rows):
                row = self.metric_rows(worker) + i
                if (row.key >> 61) & 3 and <uint32_t>(row.key >> 32 & 0xFFFFFF) == slot:
                    memset(<char*>row + sizeof(uint64_t), 0, sizeof(MetricRow) - sizeof(uint64_t))
            for i in range(<Py_ssize_t>self.worker(worker).label_rows):
                label = self.label_rows(worker) + i
                if (label.key >> 61) & 3 and <uint32_t>(label.key >> 32 & 0xFFFFFF) == slot:
                    label.count = 0

    def resemble(self, RegionMemory other, services, servers):
        """Take over all that choices depend on, in these slots, from a region of the same size: health, weights, positions, loads."""
        cdef uint32_t slot
        cdef ServiceCell* service
        cdef ServerCell* server
        for slot in services:
            self.check_service(slot)
            other.check_service(slot)
            service = self.service(slot)
            service.sequence = atomic_load_u64(&other.service(slot).sequence)
            service.further = atomic_load_u64(&other.service(slot).further)
            service.mirrored = atomic_load_u64(&other.service(slot).mirrored)
            service.in_flight = atomic_load_u64(&other.service(slot).in_flight)
        for slot in servers:
            self.check_server(slot)
            other.check_server(slot)
            server = self.server(slot)
            server.down = atomic_load_u32(&other.server(slot).down)
            server.weight = atomic_load_u32(&other.server(slot).weight)
            server.weight_set = atomic_load_u32(&other.server(slot).weight_set)
            server.load = other.server(slot).load
            server.debt = atomic_load_u32(&other.server(slot).debt)
            server.trial = atomic_load_u32(&other.server(slot).trial)
            server.ramp_percent = atomic_load_u32(&other.server(slot).ramp_percent)
        atomic_add_u64(&self.header.eligibility, 1)

    cdef TapCell* tap(self, uint32_t slot) except NULL:
        if slot >= MAX_TAPS:
            raise IndexError(f"tap {slot} of {MAX_TAPS}")
        return &self.header.taps[slot]

    def watch_requests(self, uint64_t until_ns):
        """Have workers show single requests until a monotonic time; 0: no more. Called by the supervisor, again and again while somebody
        watches: the watch ends by itself with the one who calls."""
        atomic_store_u64(&self.header.tapped_until_ns, until_ns)

    def grant_tap(self, uint32_t slot, uint64_t count, uint64_t most):
        """Let so many more requests be shown to one who watches, but not more than `most`. Returns the number of those that were not, since
        nothing was left, from the creation of the region on. Called by the supervisor."""
        cdef TapCell* cell = self.tap(slot)
        cdef uint64_t left = atomic_load_u64(&cell.left)
        if left > most:
            atomic_store_u64(&cell.left, most)     # what another one has left
        else:
            atomic_add_u64(&cell.left, min(count, most - left))
        return atomic_load_u64(&cell.skipped)

    def take_tap(self, uint32_t slot):
        """Whether one more request may be shown to one who watches; counts it if not. Called by workers."""
        cdef TapCell* cell = self.tap(slot)
        cdef uint64_t left = atomic_load_u64(&cell.left)
        while left:
            if atomic_swap_if_u64(&cell.left, left, left - 1):
                return True
            left = atomic_load_u64(&cell.left)
        atomic_add_u64(&cell.skipped, 1)
        return False
