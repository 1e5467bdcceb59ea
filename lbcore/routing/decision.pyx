"""The decision: the results of choosing a server for a request. No I/O."""

cimport cython
from libc.string cimport memset

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class FailoverStep:
    pass


@cython.final
cdef class Decision:
    """`Service.choose` fills it, and changes nothing else. There is one per exchange, which is reused after `clear`.

    Each of `cookies` is (Set-Cookie value, number of `gates` in front of the service that has it).
    """

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
        """Undo all that was decided after a savepoint, by services that found no server."""
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
        """Add a Guarded service, whose middlewares the request passes if a server is found."""
        if self.gates is None:
            self.gates = []
        self.gates.append(service)
        return 0

    cdef int mirror(self, object mirror) except -1:
        """Add a Mirror, which gets a copy of the request as it is behind the gates so far."""
        if self.mirrors is None:
            self.mirrors = []
            self.mirrored_behind = []
        if mirror not in self.mirrors:
            self.mirrors.append(mirror)
            self.mirrored_behind.append(0 if self.gates is None else len(self.gates))
        return 0

    cdef int exclude(self, object member) except -1:
        """Exclude a member from this request."""
        if self.failed is None:
            self.failed = []
        self.failed.append(member)
        return 0

    cdef int may_fail_over(self, object service) except -1:
        """Begin the choice of the main service of a Failover, which is `service`."""
        cdef FailoverStep step = FailoverStep.__new__(FailoverStep)
        step.service = service
        step.before = self.savepoint()
        step.outer = self.failover
        self.failover = step
        self.failovers += 1
        return 0

    cdef int fall_back(self, FailoverStep step) except -1:
        """Begin the choice of a fallback, as if for another request, because the main service's answer is dropped."""
        self.go_back(step.before)
        self.drawn = None
        self.failed = None
        self.tried = self.fallen = None
        self.spent = self.further = False
        if self.path is not None:
            self.path.append((step.service, 1))
        self.start = self.savepoint()
        return 0

    cdef int use_fallback(self, object failover) except -1:
        """Ask only the fallback of a Failover for the rest of this request, because its main service has no server."""
        if self.fallen is None:
            self.fallen = []
        if failover not in self.fallen:
            self.fallen.append(failover)
            self.tried = None
            self.spent = False
        return 0

    cdef int begin_again(self, object server) except -1:
        """Undo all results since `start`, because a server could not be reached, except copies, which mirrors may have already.
        The lists are replaced, not changed: the previous ones are restored if there is no other server."""
        self.exclude(server)
        if self.tried is None:
            self.tried = []
        self.tried.append(self.balancer)
        if self.tried.count(self.balancer) >= self.most_tries:
            self.exclude(self.balancer)
        self.spent = len(self.tried) >= max(<int>MOST_IN_ALL, self.most_tries)
        return self.forget_choice()

    cdef int forget_choice(self) except -1:
        """Undo all results since `start`, for a further attempt, except copies."""
        cdef Savepoint before = self.start
        if self.mirrors is not None:
            before.mirrors = len(self.mirrors)
        if self.cookies is not None:
            self.cookies = self.cookies[:before.cookies]
        if self.gates is not None:
            self.gates = self.gates[:before.gates]
        if self.path is not None:
            self.path = self.path[:before.path]
        self.on_trial = False
        self.further = True
        return self.go_back(before)

    cdef int choose_anew(self) except -1:
        """Undo all results since `start`, because a server gave an answer that the route does not accept, except copies.
        Any server may be chosen."""
        self.tried = self.failed = None
        self.spent = False
        return self.forget_choice()

    cdef void clear(self) noexcept:
        self.balancer = None
        self.slot_taken = self.on_trial = self.spent = self.further = False
        self.since_ns = 0
        self.most_tries = MOST_TRIES
        memset(&self.start, 0, sizeof(self.start))     # the savepoint of an empty decision
        # Nearly always there is none of them, and a look costs less than setting them all.
        if self.failover is not None or self.cookies is not None or self.drawn is not None or self.mirrors is not None \
                or self.gates is not None or self.failed is not None or self.tried is not None or self.fallen is not None \
                or self.path is not None or self.queue is not None or self.session_server is not None \
                or self.refusal is not NO_SERVER:
            self.clear_rest()

    cdef void clear_rest(self) noexcept:
        self.failover = None
        self.failovers = 0
        self.cookies = None
        self.drawn = None
        self.mirrors = self.mirrored_behind = None
        self.copied = 0
        self.gates = None
        self.failed = None
        self.tried = self.fallen = None
        self.path = None
        self.queue = None
        self.session_server = None
        self.refusal = NO_SERVER
