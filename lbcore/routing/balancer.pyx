"""Services that choose among members by weight and strategy: servers, or other services. No I/O."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport MOST_TRIES, Decision, Savepoint
from lbcore.routing.member cimport Member
from lbcore.routing.picker cimport Picker, RoundRobin
from lbcore.routing.queue cimport WaitQueue
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service, UpstreamPolicy
from lbcore.routing.sticky cimport StickyCookie
from lbcore.routing.tcp_route cimport TcpPolicy
from lbcore.selection.cost cimport failure_ns
from lbcore.selection.cycle cimport CYCLE_LIMIT
from lbcore.selection.atomic cimport (
    atomic_add_u32, atomic_add_u64, atomic_load_u32, atomic_load_u64, atomic_or_u32, atomic_store_u32, atomic_store_u64,
    atomic_swap_if_u32, atomic_swap_if_u64,
)
from lbcore.state.layout cimport DOWN_EJECTED, FAILURE_TIMES, ServerCell
from lbcore.state.region cimport Region

MAX_WEIGHT = 1 << 30
MAX_MEMBERS = CYCLE_LIMIT // 2

cdef enum:
    MOST_LOOKS = 8             # most attempts of one request to choose by new state, because services went down meanwhile
    DRAWS = 16                 # picks until one is not passed over
    MOST_DEBT = 64             # most picks by cookie that are charged to a member
    PARTS = 128                # parts of a weight; a power of two, with which consistent hashing keeps all places
    MOST_SCALED = 1 << 24      # larger weights are not scaled
    SLOW_NS = 1000 * 1000 * 1000  # least latency that a failed request counts as, so that failing does not look fast


cdef inline bint has_failed(Balancer balancer, Py_ssize_t index, Decision decision) except *:
    """Whether this server, or enough servers of this balancer, could not be reached for this request."""
    return decision.failed is not None and (
        decision.spent or balancer in decision.failed or balancer.members[index] in decision.failed)


cdef class Balancer(Service):
    """Members with weights, a strategy, and sessions if it is sticky.

    A member of weight 0 gets no new clients; sessions that name it stay. When a member goes up or down, or changes its weight, the
    picker is rebuilt: skipping the member instead would favour its neighbour.
    """

    def __cinit__(self, str name, list members, list weights, Region region, uint32_t slot, *more, **named):
        cdef Py_ssize_t i
        self.name = name
        self.members = members
        self.count = len(members)
        if self.count > MAX_MEMBERS:
            raise ValueError(f"{self.count} members in one service: {MAX_MEMBERS} at most")
        self.weights = <uint32_t*>calloc(3 * self.count + 1, sizeof(uint32_t))
        self.cells = <ServerCell**>calloc(self.count + 1, sizeof(ServerCell*))
        if self.weights == NULL or self.cells == NULL:
            raise MemoryError
        self.current = self.weights + self.count
        self.computed = self.current + self.count
        for i in range(self.count):
            self.weights[i] = min(max(weights[i], 0), MAX_WEIGHT)
            self.cells[i] = (<Member>members[i]).cell
        self.picker = RoundRobin()
        self.keep_state(region, slot)

    def __dealloc__(self):
        free(self.weights)
        free(self.cells)

    def use(self, Picker picker=None, StickyCookie sticky=None, watches: bool = False, quorum: tuple = (0, 0, 0),
            sessions: bool = False) -> None:
        """Set options that differ from the defaults, before the first request.

        watches  whether its status follows that of its members: it is up while enough of them are.
        quorum   (count, percent of the weight, recovery) of members that must be up; 0 = at least one.
        sessions whether clients have members of their own, also by what the picker goes by.
        """
        if picker is not None:
            self.picker = picker
        self.sticky = sticky
        self.has_sessions = sessions or sticky is not None
        self.watches = watches
        self.quorum.count, self.quorum.percent, self.quorum.recover = quorum

    cdef bint may_serve(self, Py_ssize_t index) except *:
        """Whether a member, its weight aside, may be picked. The only predicate for that."""
        return atomic_load_u32(&self.cells[index].down) == 0

    cdef int read_weights(self) except -1:
        """Derive `computed`, the effective weights, including those of members that are down."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.computed[i] = self.weights[i]
            if atomic_load_u32(&self.cells[i].weight_set):
                self.computed[i] = atomic_load_u32(&self.cells[i].weight)
        return 0

    cdef int derive(self) except -1:
        cdef Py_ssize_t i
        cdef bint same = True
        cdef bint enough
        self.read_weights()
        enough = self.take_out_the_down()
        self.apply_ramps()
        for i in range(self.count):
            if self.computed[i] != self.current[i]:
                self.current[i] = self.computed[i]
                same = False
        if not same:
            self.picker.build(self.current, self.cells, self.count)
        return self.settle(enough or not self.watches)

    cdef int apply_ramps(self) noexcept:
        """Reduce the weights of members in slow start. All weights are scaled, so that the parts are whole numbers."""
        cdef Py_ssize_t i
        cdef uint32_t percent, most = 0
        cdef bint ramps = False
        for i in range(self.count):
            most = max(most, self.computed[i])
            ramps = ramps or (self.computed[i] and atomic_load_u32(&self.cells[i].ramp_percent))
        self.scale = PARTS if ramps and most <= MOST_SCALED else 1
        if not ramps:
            return 0
        for i in range(self.count):
            if self.computed[i]:
                percent = atomic_load_u32(&self.cells[i].ramp_percent) or 100
                self.computed[i] = max(1, <uint32_t>(<uint64_t>self.computed[i] * self.scale * percent // 100))
        return 0

    cdef bint take_out_the_down(self) except *:
        """Set the weight of members that may not serve to 0. Returns whether enough members may serve.

        A service that was down needs `recover` of them; members of weight 0 count as one. Each member is examined once, so that
        weights and status agree, whatever changes meanwhile.
        """
        cdef uint64_t up = 0, weight = 0, total = 0
        cdef uint64_t wanted = self.quorum.count, percent = self.quorum.percent
        cdef Py_ssize_t i
        for i in range(self.count):
            total += self.computed[i]
            if self.may_serve(i):
                up += 1
                weight += self.computed[i]
            else:
                self.computed[i] = 0
        if self.quorum.recover and atomic_load_u32(&self.cell.down):
            if percent:
                percent = self.quorum.recover
            else:
                wanted = self.quorum.recover
        if percent:
            return up > 0 and weight * 100 >= percent * total
        return up >= max(wanted, <uint64_t>1)

    cdef Py_ssize_t choose_member(self, Asker asker, Decision decision) except -2:
        """The index of the member for a request: that of its session, or the strategy's pick; -1 when there is none."""
        cdef Py_ssize_t index = -1, i
        cdef int attempt
        cdef ServerCell* cell
        if self.sticky is not None:
            index = self.find_session(asker, decision)
            if index >= 0 or decision.session_server is not None:
                return index
        if self.limited and self.is_full(decision):
            return -1
        for attempt in range(DRAWS):
            index = self.picker.pick(self.cell, asker, attempt, decision.further)
            if index < 0:
                return -1
            cell = self.cells[index]
            if self.sticky is not None and atomic_load_u32(&cell.debt):
                # The member has had a request by cookie, which counts as this pick.
                atomic_add_u32(&cell.debt, <uint32_t>-1)
                if attempt < DRAWS - 1:
                    continue
            if not self.refuses(index, decision):
                break
        else:
            index = -1
            for i in range(self.count):
                if self.current[i] and not self.refuses(i, decision):
                    index = i
                    break
        if index >= 0 and self.sticky is not None:
            self.remember(index, decision)
            atomic_add_u64(&self.cell.sessions_begun, 1)
        return index

    cdef Py_ssize_t find_session(self, Asker asker, Decision decision) except -2:
        """The member of a request's session, or -1. If it is full, `decision.session_server` is the server to wait for."""
        cdef bint stale = False
        cdef Py_ssize_t index = self.sticky.find(asker, &stale)
        if index < 0 or not self.may_serve(index):
            return -1
        if self.refuses(index, decision):
            if self.limited and (<Server>self.members[index]).is_full() and not has_failed(self, index, decision):
                decision.session_server = self.members[index]
            return -1
        if stale:
            self.remember(index, decision)
        if decision.failed is not None:
            return index       # counted by the first try
        atomic_add_u64(&self.cell.sessions_kept, 1)
        if self.count > 1 and atomic_load_u32(&self.cells[index].debt) < MOST_DEBT:
            atomic_add_u32(&self.cells[index].debt, 1)
        return index

    cdef bint is_full(self, Decision decision) except *:
        """Whether all members that may serve are full. `decision.queue` is set if any may serve."""
        return False

    cdef bint refuses(self, Py_ssize_t index, Decision decision) except *:
        """Whether a member that may serve must not get this request."""
        return False

    def remember(self, Py_ssize_t index, Decision decision) -> None:
        """Add the cookie that names the client's member, with the number of gates in front of this choice."""
        if decision.cookies is None:
            decision.cookies = []
        decision.cookies.append((self.sticky.line(index), 0 if decision.gates is None else len(decision.gates)))

    @property
    def effective_weights(self) -> list:
        """By index: the weight as configured or overridden, less during slow start, 0 for a member that may not be picked."""
        self.refresh()
        found = [self.current[i] for i in range(self.count)]
        return found if self.scale <= 1 else [int(w) if w.is_integer() else round(w, 2) for w in (x / self.scale for x in found)]

    @property
    def configured_weights(self) -> list:
        return [self.weights[i] for i in range(self.count)]

    def member_stands(self, Py_ssize_t index) -> bool:
        """Whether a member may be picked, its weight aside."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        self.refresh()
        return self.may_serve(index)

    @property
    def is_watching(self) -> bool:
        """Whether its status follows that of its members."""
        return self.watches


@cython.final
cdef class LoadBalancer(Balancer):
    """A service that chooses among servers."""

    def configure(self, UpstreamPolicy policy, bint pass_host=True, bint counts=False, bint times=False,
                 tuple ejection=(0, 0, 100), WaitQueue queue=None) -> None:
        """Set the options of connections to its servers, before the first request.

        counts    count exchanges in flight over all workers, for strategies that need it.
        times     average the time to first byte, likewise.
        ejection  (failures, window in ms, percent of servers that may be ejected at once).
        queue     for requests that find all servers full; None = servers have no limits.
        """
        self.policy = policy
        self.pass_host = pass_host
        self.counts = counts or queue is not None
        self.limited = queue is not None
        self.queue = queue
        if queue is not None:
            queue.belong_to(self)
        self.times = times
        self.ejection.attempts, self.ejection.window_ms, self.ejection.percent = ejection

    def configure_tcp(self, TcpPolicy policy) -> None:
        """Set the options of connections of layer 4."""
        self.tcp = policy

    def __init__(self, *arguments, **named):
        self.policy = UpstreamPolicy()
        self.pass_host = True

    @property
    def servers(self) -> list:
        return self.members

    cdef Server choose(self, Asker asker, Decision decision):
        cdef Py_ssize_t index
        if self.limited:
            return self.choose_or_wait(asker, decision)
        if self.seen != atomic_load_u64(&self.region_header.eligibility):
            self.refresh()
        index = self.choose_member(asker, decision)
        if index < 0:
            index = self.look_again(asker, decision)
        if decision.path is not None:
            decision.path.append((self, index))
        if index < 0:
            return None
        decision.balancer = self
        return <Server>self.members[index]

    cdef Py_ssize_t look_again(self, Asker asker, Decision decision) except -2:
        """Choose by the present state, if no server was found and servers have gone up or down meanwhile."""
        cdef int looks = MOST_LOOKS
        cdef Py_ssize_t index
        while looks and self.has_moved():
            looks -= 1
            self.refresh()
            index = self.choose_member(asker, decision)
            if index >= 0:
                return index
        return -1

    # Limits: a server with as many exchanges in flight as its limit is passed over, whatever the strategy

    cdef Server choose_or_wait(self, Asker asker, Decision decision):
        """`choose` if servers have limits. A new request overtakes none that waits already: see `decision.queue`."""
        cdef Py_ssize_t index
        cdef bint stale = False
        decision.since_ns = 0
        if not self.queue.is_busy():
            return self.admit(asker, decision)
        decision.session_server = decision.queue = None
        if decision.failed is None:
            decision.queue = self.queue
        else:
            self.refresh()
            self.is_full(decision)             # there is nothing to wait for when no other server is left
        if self.sticky is not None:
            index = self.sticky.find(asker, &stale)
            if index >= 0 and self.may_serve(index) and not has_failed(self, index, decision):
                decision.session_server = self.members[index]
        return None

    cdef Server admit(self, Asker asker, Decision decision):
        """A server, of which a slot was taken; or None, with `decision.queue` set if waiting makes sense."""
        cdef Py_ssize_t index
        decision.queue = None
        decision.session_server = None
        if self.seen != atomic_load_u64(&self.region_header.eligibility):
            self.refresh()
        index = self.choose_member(asker, decision)
        if index < 0 and decision.session_server is None and decision.queue is None:
            index = self.look_again(asker, decision)
        if index < 0:
            if decision.session_server is not None:
                decision.queue = self.queue
            elif decision.queue is None:
                self.is_full(decision)         # another request was faster: set the queue to wait in
            return None
        decision.balancer = self
        decision.queue = None
        return <Server>self.members[index]

    cdef bint is_full(self, Decision decision) except *:
        cdef Py_ssize_t i
        for i in range(self.count):
            if self.current[i] and not has_failed(self, i, decision):
                if self.ejection.attempts and atomic_load_u32(&self.cells[i].trial) == 2:
                    decision.on_trial = True
                    continue               # it is on trial, not full, and may be ejected again: no request waits for it
                decision.queue = self.queue
                if not (<Server>self.members[i]).is_full():
                    return False
        return True

    cdef bint take_slot(self, Server server) noexcept:
        """Count one more exchange in flight at a server, unless it is full. Several workers may try at the same moment."""
        cdef ServerCell* cell = server.cell
        cdef uint64_t count = atomic_load_u64(&cell.load.in_flight)
        # Before the shared count, so that the workers' counts always cover that.
        server.stats.held += 1
        while not server.limit or count < server.limit:
            if atomic_swap_if_u64(&cell.load.in_flight, count, count + 1):
                atomic_add_u64(&self.cell.in_flight, 1)
                return True
            count = atomic_load_u64(&cell.load.in_flight)
        server.stats.held -= 1
        return False

    cdef int give_back(self, Server server) noexcept:
        """Count one exchange less in flight at a server, and wake a request that waits for it."""
        atomic_add_u64(&server.cell.load.in_flight, <uint64_t>-1)
        atomic_add_u64(&self.cell.in_flight, <uint64_t>-1)
        server.stats.held -= 1
        if self.queue is not None:
            self.queue.wake()
        return 0

    cdef bint refuses(self, Py_ssize_t index, Decision decision) except *:
        cdef ServerCell* cell = self.cells[index]
        cdef Server server
        cdef bint tries = False
        if has_failed(self, index, decision):
            return True
        if self.limited:
            server = <Server>self.members[index]
            if server.is_full() or (decision.since_ns and self.queue.is_claimed(server, decision.since_ns)):
                return True
        if self.ejection.attempts and atomic_load_u32(&cell.trial):
            # After an ejection, one request at a time tries the server.
            if not atomic_swap_if_u32(&cell.trial, 1, 2):
                decision.on_trial = True
                return True
            tries = True
        if self.limited and not self.take_slot(<Server>self.members[index]):
            if tries:
                atomic_swap_if_u32(&cell.trial, 2, 1)
            return True
        decision.slot_taken = tries or self.limited
        return False

    cdef int let_go(self, Server server) noexcept:
        if self.ejection.attempts:
            atomic_swap_if_u32(&server.cell.trial, 2, 1)
        if self.limited:
            self.give_back(server)
        return 0

    # The outcome of requests

    cdef int note_start(self, Server server) except -1:
        server.stats.requests += 1
        server.stats.in_flight += 1
        if self.counts and not self.limited:
            server.stats.held += 1
            atomic_add_u64(&server.cell.load.in_flight, 1)
            atomic_add_u64(&self.cell.in_flight, 1)
        return 0

    cdef int note_end(self, Server server) noexcept:
        server.stats.in_flight -= 1
        if self.ejection.attempts and atomic_load_u32(&server.cell.trial) == 2:
            # The client may have gone before the trial had a result: another request may try.
            atomic_swap_if_u32(&server.cell.trial, 2, 1)
        if self.counts:
            self.give_back(server)
        return 0

    cdef int note_success(self, Server server) noexcept:
        """The server has answered, with less than 500."""
        cdef ServerCell* cell = server.cell
        if self.ejection.attempts and (atomic_load_u32(&cell.failures) or atomic_load_u32(&cell.trial)):
            atomic_store_u32(&cell.failures, 0)
            atomic_store_u32(&cell.ejections, 0)
            atomic_store_u32(&cell.trial, 0)
        return 0

    cdef int note_failure(self, Server server) except -1:
        """The server could not be reached, broke the connection, or answered with 500 or more; too many failures eject it."""
        cdef ServerCell* cell = server.cell
        cdef uint32_t now_ms, attempts = self.ejection.attempts, stride, n, wanted
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        if self.times:
            self.picker.note(&cell.load, failure_ns(&cell.load, 0, SLOW_NS), <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec)
        if attempts == 0:
            return 0
        now_ms = <uint32_t>(<uint64_t>now.tv_sec * 1000 + <uint64_t>now.tv_nsec // 1000000)
        # Up to FAILURE_TIMES failures are stored one by one; of more, every stride-th.
        stride = (attempts + FAILURE_TIMES - 1) // FAILURE_TIMES
        n = atomic_add_u32(&cell.failures, 1) + 1
        if atomic_load_u32(&cell.trial) == 0:
            if n % stride:
                return 0
            n //= stride
            wanted = attempts // stride
            atomic_store_u32(&cell.failed_at_ms[(n - 1) % FAILURE_TIMES], now_ms)
            if n < wanted or now_ms - atomic_load_u32(&cell.failed_at_ms[(n - wanted) % FAILURE_TIMES]) > self.ejection.window_ms:
                return 0
        if not self.may_eject():
            atomic_store_u32(&cell.trial, 0)
            return 0
        atomic_store_u32(&cell.trial, 0)
        atomic_store_u32(&cell.failures, 0)
        atomic_add_u32(&cell.ejections, 1)
        if atomic_or_u32(&cell.down, DOWN_EJECTED) == 0:
            atomic_store_u64(&cell.changed_ns, <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec)
            atomic_add_u64(&self.region_header.eligibility, 1)
        return 0

    def may_eject(self) -> bool:
        """Whether one more server may be ejected."""
        cdef Py_ssize_t i, out = 1
        for i in range(self.count):
            out += atomic_load_u32(&self.cells[i].down) & DOWN_EJECTED != 0
        return out * 100 <= <Py_ssize_t>self.ejection.percent * self.count

    cdef int note_slowness(self, Server server, uint64_t elapsed_ns, uint64_t now_ns) noexcept:
        """The server has not begun to answer in that time, and is not waited for any more: it is no faster than that."""
        if elapsed_ns > atomic_load_u64(&server.cell.load.latency_ewma_ns):
            self.picker.note(&server.cell.load, elapsed_ns, now_ns)
        return 0

    cdef int note_latency(self, Server server, double elapsed_ns, double now_ns) noexcept:
        """Add a sample to the average time to first byte, in the way of the strategy."""
        self.picker.note(&server.cell.load, <uint64_t>max(elapsed_ns, 1), <uint64_t>now_ns)
        return 0


@cython.final
cdef class Child(Member):
    """A service as the member of another one; its key is its name as written there."""

    def __init__(self, str name, str key, Region region, worker, slot, Service service):
        self.service = service


@cython.final
cdef class Weighted(Balancer):
    """A service that chooses among other services."""

    cdef bint may_serve(self, Py_ssize_t index) except *:
        """As in Traefik, a service that does not watch its children also chooses those that are down."""
        if atomic_load_u32(&self.cells[index].down):
            return False
        return not self.watches or (<Child>self.members[index]).service.up

    cdef int derive(self) except -1:
        for member in self.members:
            (<Child>member).service.refresh()
        return Balancer.derive(self)

    cdef Server choose(self, Asker asker, Decision decision):
        cdef Py_ssize_t index
        cdef Child child
        cdef Server server
        cdef Savepoint before
        cdef int others = MOST_TRIES, looks = MOST_LOOKS
        cdef bint on_trial = False
        if self.seen != atomic_load_u64(&self.region_header.eligibility):
            self.refresh()
        while True:
            decision.on_trial = False
            before = decision.savepoint()
            index = self.choose_member(asker, decision)
            if decision.path is not None:
                decision.path.append((self, index))
            if index < 0:
                if looks and self.has_moved():
                    looks -= 1
                    decision.go_back(before)
                    self.refresh()
                    continue
                decision.on_trial = on_trial
                return None
            child = <Child>self.members[index]
            child.stats.requests += 1
            server = child.service.choose(asker, decision)
            if server is not None or decision.queue is not None:
                return server
            if self.watches and not child.service.up and looks:
                # It went down after it was chosen: look again at the present state.
                looks -= 1
                child.stats.requests -= 1
                decision.go_back(before)
                self.refresh()
                continue
            if not decision.on_trial and (decision.failed is None or others == 0):
                return None
            # All its members are on trial with another request, or cannot be reached: pass over it.
            others -= not decision.on_trial
            on_trial = on_trial or decision.on_trial
            child.stats.requests -= 1
            decision.go_back(before)
            decision.exclude(child)

    cdef bint refuses(self, Py_ssize_t index, Decision decision) except *:
        return decision.failed is not None and self.members[index] in decision.failed

    @property
    def children(self) -> list:
        """`(key, Service)` of each child."""
        return [((<Child>member).key, (<Child>member).service) for member in self.members]
