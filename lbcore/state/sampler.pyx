"""What the counters of all workers add up to, look by look: rates, numbers of the moment, and quantiles of durations.

One reader of the region, in the supervisor. A look visits what is in use alone: pages of the region that no worker has written to
are not read, since reading would allocate them.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from lbcore.selection.atomic cimport atomic_load_u32, atomic_load_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.durations cimport quantile_of
from lbcore.state.layout cimport (
    MAX_ENTRY_POINTS, STATUS_CLASSES, TIME_BUCKETS, EntryPointStats, ServerCell, ServerStats, ServiceCell, ServiceStats,
)
from lbcore.state.region cimport Region

cdef enum Kind:
    KIND_SERVERS               # members of services
    KIND_SERVICES              # and routers
    KIND_POINTS
    KINDS

SERVERS, SERVICES, POINTS = KIND_SERVERS, KIND_SERVICES, KIND_POINTS

cdef enum:                     # of what a member is a part
    SUM_RATE = 1
    SUM_IN_FLIGHT = 2

RATE, IN_FLIGHT = SUM_RATE, SUM_IN_FLIGHT

cdef uint64_t ACTIVE_NS = 35 * 1000 * 1000 * 1000      # after its last change; longer than three windows


@cython.final
cdef class Sampler:
    """`points`: the number of entry points. Counters from before the first look count as of now."""

    def __cinit__(self, Region region, uint32_t points=0):
        cdef int kind
        cdef size_t size
        self.region = region
        self.points = min(points, <uint32_t>MAX_ENTRY_POINTS)
        for kind in range(KINDS):
            size = self.region.servers if kind == KIND_SERVERS else self.region.services if kind == KIND_SERVICES else MAX_ENTRY_POINTS
            self.tracks[kind] = <Track*>calloc(size, sizeof(Track))
            self.states[kind] = <uint64_t*>calloc(size, sizeof(uint64_t))
            self.until_ns[kind] = <uint64_t*>calloc(size, sizeof(uint64_t))
            self.peaks[kind] = <Peak*>calloc(size, sizeof(Peak))
            if self.tracks[kind] == NULL or self.states[kind] == NULL or self.until_ns[kind] == NULL or self.peaks[kind] == NULL:
                raise MemoryError
        self.visited = <uint32_t*>calloc(max(region.servers, region.services, <uint32_t>MAX_ENTRY_POINTS), sizeof(uint32_t))
        if self.visited == NULL:
            raise MemoryError
        self.looked_ns = self.second_ns = self.turned_ns[0] = self.turned_ns[1] = monotonic_ns()

    def __dealloc__(self):
        cdef int kind
        for kind in range(KINDS):
            free(self.tracks[kind])
            free(self.states[kind])
            free(self.until_ns[kind])
            free(self.peaks[kind])
        free(self.visited)
        free(self.summands)

    def look(self) -> None:
        """Read the region once."""
        self.look_now(False)

    def end_second(self) -> None:
        """`look`, and take the maxima of rates: since the last call about a second has passed. After a longer time the mean of that
        time counts."""
        self.look_now(True)

    cdef int look_now(self, bint ends_second) except -1:
        cdef uint64_t now_ns = monotonic_ns()
        cdef int kind
        self.looks += 1
        with nogil:
            self.second_s = (now_ns - self.second_ns) / 1e9 if ends_second else 0.0
            for kind in range(KINDS):
                self.look_at(kind, now_ns)
            self.add_summands(now_ns)
            self.looked_ns = now_ns
            if ends_second:
                self.second_ns = now_ns
        return 0

    cdef uint32_t used(self, int kind) noexcept nogil:
        """Slots below this one may have been given out."""
        if kind == KIND_SERVERS:
            return atomic_load_u32(&self.region.header.servers_used)
        if kind == KIND_SERVICES:
            return atomic_load_u32(&self.region.header.services_used)
        return self.points

    cdef void look_at(self, int kind, uint64_t now_ns) noexcept nogil:
        cdef uint32_t used = self.used(kind), worker, slot, i
        cdef uint32_t first, after = 0
        cdef char* rows
        cdef size_t size = sizeof(ServerStats) if kind == KIND_SERVERS else sizeof(ServiceStats)
        self.n_visited = 0
        for worker in range(self.region.workers):
            if kind == KIND_POINTS:
                for slot in range(used):
                    self.add_row(kind, worker, slot)
                continue
            rows = <char*>self.region.server_stats(worker, 0) if kind == KIND_SERVERS else <char*>self.region.service_stats(worker, 0)
            first = 0
            while self.region.rows_written(rows, size, used, &first, &after):
                # A row is looked at if its beginning is there, which is written to first.
                self.add_rows(kind, worker, first, after)
                first = after
        for slot in range(used):
            if kind != KIND_POINTS and self.state_of(kind, slot) != self.states[kind][slot]:
                self.states[kind][slot] = self.state_of(kind, slot)
                self.until_ns[kind][slot] = now_ns + ACTIVE_NS
                self.enter(kind, slot)
        for i in range(self.n_visited):
            self.settle(kind, self.visited[i], now_ns)

    cdef void add_rows(self, int kind, uint32_t worker, uint32_t first, uint32_t after) noexcept nogil:
        cdef uint32_t slot
        cdef ServerStats* server
        cdef ServiceStats* service
        for slot in range(first, after):
            if kind == KIND_SERVERS:
                server = self.region.server_stats(worker, slot)
                if server.requests == 0:
                    continue
            else:
                service = self.region.service_stats(worker, slot)
                if service.requests == 0 and service.queued == 0 and service.waiting == 0:
                    continue
            self.add_row(kind, worker, slot)

    cdef Track* enter(self, int kind, uint32_t slot) noexcept nogil:
        """Have the present look visit a slot. Returns its track, in which `fresh` is being added up."""
        cdef Track* track = self.tracks[kind] + slot
        if track.look != self.looks:
            track.look = self.looks
            memset(track.fresh, 0, sizeof(track.fresh))
            self.visited[self.n_visited] = slot
            self.n_visited = self.n_visited + 1
        return track

    cdef void add_row(self, int kind, uint32_t worker, uint32_t slot) noexcept nogil:
        cdef uint64_t* fresh = self.enter(kind, slot).fresh
        cdef ServerStats* server
        cdef ServiceStats* service
        cdef EntryPointStats* point
        cdef uint64_t ended = 0
        cdef int i
        if kind == KIND_SERVERS:
            server = self.region.server_stats(worker, slot)
            fresh[<int>W_REQUESTS] += server.requests
            for i in range(STATUS_CLASSES):
                fresh[<int>W_RESPONSES + i] += server.responses[i]
            fresh[<int>W_CONNECT_ERRORS] += server.connect_errors
            fresh[<int>W_RETRIES] += server.retries
            fresh[<int>W_BYTES_IN] += server.bytes_out         # towards the server: what clients have sent
            fresh[<int>W_BYTES_OUT] += server.bytes_in
            fresh[<int>W_SHED] += server.shed + server.oversized
            fresh[<int>W_IN_FLIGHT] += server.in_flight
        elif kind == KIND_SERVICES:
            service = self.region.service_stats(worker, slot)
            fresh[<int>W_REQUESTS] += service.requests
            for i in range(STATUS_CLASSES):
                fresh[<int>W_RESPONSES + i] += service.responses[i]
                ended += service.responses[i]
            fresh[<int>W_QUEUED] += service.queued
            fresh[<int>W_DENIED] += service.denied
            if service.requests > ended:
                fresh[<int>W_IN_FLIGHT] += service.requests - ended
            fresh[<int>W_WAITING] += service.waiting
        else:
            point = &self.region.worker(worker).entry_points[slot]
            fresh[<int>W_REQUESTS] += point.requests
            for i in range(STATUS_CLASSES):
                fresh[<int>W_RESPONSES + i] += point.responses[i]
                ended += point.responses[i]
            fresh[<int>W_QUEUED] += point.accepted
            fresh[<int>W_DENIED] += point.denied
            fresh[<int>W_RETRIES] += point.datagrams_in
            fresh[<int>W_BYTES_IN] += point.bytes_in
            fresh[<int>W_BYTES_OUT] += point.bytes_out
            if point.requests > ended:
                fresh[<int>W_IN_FLIGHT] += point.requests - ended
            fresh[<int>W_WAITING] += point.open_connections

    cdef void settle(self, int kind, uint32_t slot, uint64_t now_ns) noexcept nogil:
        """Compare what was added up with the look before."""
        cdef Track* track = self.tracks[kind] + slot
        cdef ServiceCell* cell
        cdef int i
        if kind == KIND_SERVICES:
            cell = self.region.service(slot)
            track.fresh[<int>W_KEPT] = atomic_load_u64(&cell.sessions_kept)
            track.fresh[<int>W_BEGUN] = atomic_load_u64(&cell.sessions_begun)
        if track.fresh[<int>W_REQUESTS] < track.words[<int>W_REQUESTS]:        # the slot has another identity
            memset(track.words, 0, sizeof(track.words))
            memset(track.told, 0, sizeof(track.told))
            memset(track.times, 0, sizeof(track.times))
            memset(track.bases, 0, sizeof(track.bases))
        self.take_peaks(kind, slot, now_ns)
        if memcmp(track.fresh, track.words, sizeof(track.words)) == 0:
            return
        if self.until_ns[kind][slot] <= self.looked_ns or track.told_ns == 0:      # it was idle
            memcpy(track.told, track.words, sizeof(track.words))
            track.told_ns = self.looked_ns
            for i in range(2):
                memcpy(track.bases[i].words, track.words, sizeof(track.words))
                memcpy(track.bases[i].times, track.times, sizeof(track.times))
        memcpy(track.words, track.fresh, sizeof(track.words))
        self.until_ns[kind][slot] = now_ns + ACTIVE_NS
        self.read_times(kind, slot)

    cdef void take_peaks(self, int kind, uint32_t slot, uint64_t now_ns) noexcept nogil:
        """Compare what was added up with the highest so far."""
        cdef uint64_t* fresh = self.tracks[kind][slot].fresh
        cdef Peak* peak = self.peaks[kind] + slot
        cdef uint64_t requests = fresh[<int>W_REQUESTS], queued = fresh[<int>W_QUEUED]
        raise_to(peak, H_IN_FLIGHT, fresh[<int>W_IN_FLIGHT], now_ns)
        raise_to(peak, H_WAITING, fresh[<int>W_WAITING], now_ns)
        if self.second_s <= 0:
            return
        # A slot that has another identity now begins with less.
        peak.rate = (requests - peak.counted[0]) / self.second_s if requests > peak.counted[0] else 0.0
        peak.look = self.looks
        raise_to(peak, H_RATE, peak.rate, now_ns)
        if kind == KIND_POINTS and queued > peak.counted[1]:
            raise_to(peak, H_ACCEPTED, (queued - peak.counted[1]) / self.second_s, now_ns)
        peak.counted[0], peak.counted[1] = requests, queued

    cdef void add_summands(self, uint64_t now_ns) noexcept nogil:
        """Compare what the members of each service have together with the highest so far."""
        cdef Summand* summand
        cdef Peak* member
        cdef double rate = 0, in_flight = 0
        cdef Py_ssize_t i
        for i in range(self.n_summands):
            summand = self.summands + i
            member = self.peaks[<int>KIND_SERVERS] + summand.member
            if summand.parts & SUM_RATE and self.second_s > 0 and member.look == self.looks:
                rate += member.rate
            if summand.parts & SUM_IN_FLIGHT:
                in_flight += self.tracks[<int>KIND_SERVERS][summand.member].words[<int>W_IN_FLIGHT]
            if i + 1 == self.n_summands or self.summands[i + 1].service != summand.service:
                raise_to(self.peaks[<int>KIND_SERVICES] + summand.service, H_IN_FLIGHT, in_flight, now_ns)
                raise_to(self.peaks[<int>KIND_SERVICES] + summand.service, H_RATE, rate, now_ns)
                rate = in_flight = 0

    def add_up(self, bytes summands) -> None:
        """Set what the numbers of services are the sums of, one service after the other: three uint32_t each, the slot of the service,
        that of a member, and what is added up: RATE, IN_FLIGHT."""
        cdef Py_ssize_t count = len(summands) // <Py_ssize_t>sizeof(Summand), i
        cdef Summand* fresh = <Summand*>calloc(count + 1, sizeof(Summand))
        if fresh == NULL:
            raise MemoryError
        memcpy(fresh, <const char*>summands, count * sizeof(Summand))
        free(self.summands)
        self.summands, self.n_summands = fresh, 0
        for i in range(count):
            if fresh[i].service >= self.region.services or fresh[i].member >= self.region.servers:
                raise IndexError("a slot that is none")
        self.n_summands = count

    def maxima(self, int kind, uint32_t slot) -> bytes:
        """The highest numbers of an object, and for each the monotonic time of the look that has found it, in ns: four doubles, and four
        uint64_t; 0: there is none. What is in flight; what waits in the queue (of entry points: open connections); requests within a
        second; of entry points: connections within a second."""
        self.track(kind, slot)
        return (<char*>&self.peaks[kind][slot])[:HEIGHTS * (sizeof(double) + sizeof(uint64_t))]

    def forget_maxima(self, int kind, uint32_t slot, bint wholly=True) -> None:
        """Begin anew with those of a slot. `wholly`: its identity is another one, with counters of its own."""
        self.track(kind, slot)
        self.forget_peak(kind, slot, wholly)

    cdef void forget_peak(self, int kind, uint32_t slot, bint wholly) noexcept nogil:
        cdef Peak* peak = self.peaks[kind] + slot
        if wholly:
            peak.counted[0] = peak.counted[1] = 0
        if peak.at_ns[0] or peak.at_ns[1] or peak.at_ns[2] or peak.at_ns[3]:       # else its page stays untouched
            memset(peak, 0, HEIGHTS * (sizeof(double) + sizeof(uint64_t)))

    def forget_all_maxima(self) -> None:
        """Begin anew with those of all."""
        cdef int kind
        cdef uint32_t slot
        for kind in range(KINDS):
            for slot in range(self.used(kind)):
                self.forget_peak(kind, slot, False)

    cdef void read_times(self, int kind, uint32_t slot) noexcept nogil:
        cdef Track* track = self.tracks[kind] + slot
        cdef uint32_t* times
        cdef uint32_t worker
        cdef int i
        memset(track.times, 0, sizeof(track.times))
        for worker in range(self.region.workers):
            if kind == KIND_SERVERS:
                times = self.region.server_stats(worker, slot).first_bytes
            elif kind == KIND_SERVICES:
                times = self.region.service_stats(worker, slot).durations
            else:
                times = self.region.worker(worker).entry_points[slot].durations
            for i in range(TIME_BUCKETS):
                track.times[i] += times[i]

    cdef uint64_t state_of(self, int kind, uint32_t slot) noexcept nogil:
        cdef ServerCell* server
        cdef ServiceCell* service
        if kind == KIND_SERVERS:
            server = self.region.server(slot)
            return (<uint64_t>atomic_load_u32(&server.weight) << 32) ^ (<uint64_t>server.generation << 40) \
                ^ atomic_load_u32(&server.down) ^ (atomic_load_u32(&server.weight_set) << 3) \
                ^ (atomic_load_u32(&server.trial) << 4) ^ (atomic_load_u32(&server.ramp_percent) << 8)
        service = self.region.service(slot)
        return (atomic_load_u64(&service.sessions_kept) + atomic_load_u64(&service.sessions_begun)) << 1 \
            ^ atomic_load_u32(&service.down)

    cdef Track* track(self, int kind, uint32_t slot) except NULL:
        cdef uint32_t size = self.region.servers if kind == KIND_SERVERS else self.region.services if kind == KIND_SERVICES \
            else MAX_ENTRY_POINTS
        if not 0 <= kind < KINDS or slot >= size:
            raise IndexError(f"kind {kind}, slot {slot}")
        return self.tracks[kind] + slot

    def active(self, int kind) -> list:
        """The slots whose counters or states have changed within the last windows."""
        self.track(kind, 0)
        cdef uint32_t slot
        return [slot for slot in range(self.used(kind)) if self.until_ns[kind][slot] > self.looked_ns]

    def is_active(self, int kind, uint32_t slot) -> bool:
        """Whether a slot is among `active`."""
        self.track(kind, slot)
        return self.until_ns[kind][slot] > self.looked_ns

    @property
    def window_s(self) -> float:
        """The length of `window`, in seconds."""
        return (self.looked_ns - self.turned_ns[0]) / 1e9

    @property
    def newer_s(self) -> float:
        """The time since the last rotation, in seconds."""
        return (self.looked_ns - self.turned_ns[1]) / 1e9

    def begin(self) -> None:
        """Have the rates of `take` count from now."""
        cdef int kind
        cdef uint32_t slot
        cdef Track* track
        for kind in range(KINDS):
            for slot in range(self.used(kind)):
                if self.until_ns[kind][slot] > self.looked_ns:
                    track = self.tracks[kind] + slot
                    memcpy(track.told, track.words, sizeof(track.words))
                    track.told_ns = self.looked_ns

    def take(self, int kind, uint32_t slot) -> tuple:
        """What has changed since the last call, per second, in the order of `Word`; in flight and waiting as they are now."""
        cdef Track* track = self.track(kind, slot)
        cdef double seconds = (self.looked_ns - track.told_ns) / 1e9 if track.told_ns else 0.0
        cdef int i
        if seconds <= 0:
            seconds = 1.0
        found = [(track.words[i] - track.told[i]) / seconds for i in range(<int>W_IN_FLIGHT)]
        found.append(<double>track.words[<int>W_IN_FLIGHT])
        found.append(<double>track.words[<int>W_WAITING])
        memcpy(track.told, track.words, sizeof(track.words))
        track.told_ns = self.looked_ns
        return tuple(found)

    def totals(self, int kind, uint32_t slot) -> tuple:
        """The sums at the last look, in the order of `Word`."""
        cdef Track* track = self.track(kind, slot)
        cdef int i
        return tuple([track.words[i] for i in range(WORDS)])

    def window(self, int kind, slots, bint newer=False) -> tuple:
        """Of several slots, within the window: requests, failed ones, and the quantiles 0.5, 0.95 and 0.99 in ms.

        newer  since the last rotation; otherwise since the one before.
        Failed are those with 5xx, or without an answer. The quantiles are None if nothing was measured.
        """
        cdef uint32_t times[TIME_BUCKETS]
        cdef uint64_t requests = 0, failed = 0
        cdef Track* track
        cdef Base* base
        cdef int i
        cdef double median, high, highest
        memset(times, 0, sizeof(times))
        for slot in slots:
            track = self.track(kind, slot)
            base = &track.bases[1 if newer else 0]
            requests += track.words[<int>W_REQUESTS] - base.words[<int>W_REQUESTS]
            failed += track.words[<int>W_RESPONSES] - base.words[<int>W_RESPONSES]
            failed += track.words[<int>W_RESPONSES + 5] - base.words[<int>W_RESPONSES + 5]
            for i in range(TIME_BUCKETS):
                times[i] += track.times[i] - base.times[i]
        median, high, highest = quantile_of(times, 0.5), quantile_of(times, 0.95), quantile_of(times, 0.99)
        if median < 0:
            return requests, failed, None, None, None
        return requests, failed, median, high, highest

    def rotate(self) -> None:
        """Begin a new window."""
        cdef int kind
        cdef uint32_t slot
        cdef Track* track
        self.turned_ns[0] = self.turned_ns[1]
        self.turned_ns[1] = self.looked_ns
        for kind in range(KINDS):
            for slot in range(self.used(kind)):
                if self.until_ns[kind][slot] > self.looked_ns:
                    track = self.tracks[kind] + slot
                    track.bases[0] = track.bases[1]
                    memcpy(track.bases[1].words, track.words, sizeof(track.words))
                    memcpy(track.bases[1].times, track.times, sizeof(track.times))


cdef void raise_to(Peak* peak, int height, double value, uint64_t now_ns) noexcept nogil:
    if value > peak.most[height]:
        peak.most[height] = value
        peak.at_ns[height] = now_ns
