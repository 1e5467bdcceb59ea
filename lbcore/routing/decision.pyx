"""What choosing a server for a request found out. No I/O."""

cimport cython
from libc.string cimport memset

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class FailoverStep:
    pass


@cython.final
cdef class Decision:
    """Filled by `Service.choose`, which changes nothing else; one per exchange, used again after `clear`."""

    def __cinit__(self):
        self.clear()

    cdef Savepoint savepoint(self) noexcept:
        cdef Savepoint now
        now.cookies = 0 if self.cookies is None else len(self.cookies)
        now.mirrors = 0 if self.mirrors is None else len(self.mirrors)
        now.gates = 0 if self.gates is None else len(self.gates)
        now.path = 0 if self.path is None else len(self.path)
        now.failovers = self.failovers
        return now

    cdef int go_back(self, Savepoint before) except -1:
        """Undo what was decided after a savepoint, by services that found no server in the end."""
        while self.failovers > before.failovers:
            self.failover = self.failover.outer
            self.failovers -= 1
        if self.cookies is not None:
            del self.cookies[before.cookies:]
        if self.mirrors is not None:
            del self.mirrors[before.mirrors:]
            del self.mirrored_behind[before.mirrors:]
            self.copied = min(self.copied, before.mirrors)
        if self.gates is not None:
            del self.gates[before.gates:]
        if self.path is not None:
            del self.path[before.path:]
        self.queue = self.session_server = None
        self.refusal = NO_SERVER
        return 0

    cdef int pass_gate(self, object service) except -1:
        """The request goes through the middlewares of a Guarded service, if it finds a server behind."""
        if self.gates is None:
            self.gates = []
        self.gates.append(service)
        return 0

    cdef int mirror(self, object mirror) except -1:
        """A Mirror gets a copy of the request, as it is behind the gates passed so far."""
        if self.mirrors is None:
            self.mirrors = []
            self.mirrored_behind = []
        if mirror not in self.mirrors:
            self.mirrors.append(mirror)
            self.mirrored_behind.append(0 if self.gates is None else len(self.gates))
        return 0

    cdef int exclude(self, object member) except -1:
        """A member is not to be chosen for this request."""
        if self.failed is None:
            self.failed = []
        self.failed.append(member)
        return 0

    cdef int may_fail_over(self, object service) except -1:
        """The main service of a Failover, which this is, is about to choose."""
        cdef FailoverStep step = FailoverStep.__new__(FailoverStep)
        step.service = service
        step.before = self.savepoint()
        step.outer = self.failover
        self.failover = step
        self.failovers += 1
        return 0

    cdef int fall_back(self, FailoverStep step) except -1:
        """The main service of a Failover has answered badly: the fallback is about to choose, as if for another request."""
        self.go_back(step.before)
        self.drawn = None
        self.failed = None
        self.tried = self.fallen = None
        self.spent = False
        if self.path is not None:
            self.path.append((step.service, 1))
        self.start = self.savepoint()
        return 0

    cdef int use_fallback(self, object failover) except -1:
        """The main service of a Failover has no server: for the rest of this request its fallback is asked instead."""
        if self.fallen is None:
            self.fallen = []
        if failover not in self.fallen:
            self.fallen.append(failover)
            self.tried = None
            self.spent = False
        return 0

    cdef int begin_again(self, object server) except -1:
        """A server could not be reached: all that was found out since `start` is void, but for the copies, which mirrors may
        have by now. The lists are replaced, not changed: the former ones hold again if there is no other server."""
        cdef Savepoint before = self.start
        self.exclude(server)
        if self.tried is None:
            self.tried = []
        self.tried.append(self.balancer)
        if self.tried.count(self.balancer) >= MOST_TRIES:
            self.exclude(self.balancer)
        self.spent = len(self.tried) >= MOST_IN_ALL
        if self.mirrors is not None:
            before.mirrors = len(self.mirrors)
        if self.cookies is not None:
            self.cookies = self.cookies[:before.cookies]
        if self.gates is not None:
            self.gates = self.gates[:before.gates]
        if self.path is not None:
            self.path = self.path[:before.path]
        self.on_trial = False
        return self.go_back(before)

    cdef void clear(self) noexcept:
        self.balancer = None
        self.failover = None
        self.failovers = 0
        self.cookies = None
        self.drawn = None
        self.mirrors = self.mirrored_behind = None
        self.copied = 0
        self.gates = None
        self.failed = None
        self.tried = self.fallen = None
        self.spent = False
        self.path = None
        memset(&self.start, 0, sizeof(self.start))     # the savepoint of an empty decision
        self.on_trial = False
        self.queue = None
        self.session_server = None
        self.since_ns = 0
        self.slot_taken = False
        self.refusal = NO_SERVER
