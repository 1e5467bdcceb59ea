"""What choosing a server for a request found out. No I/O."""

cimport cython

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class Stage:
    pass


@cython.final
cdef class Decision:
    """Filled by `Service.choose`; one per exchange, used again after `clear`."""

    def __cinit__(self):
        self.clear()

    cdef Mark mark(self) noexcept:
        cdef Mark mark
        mark.cookies = 0 if self.cookies is None else len(self.cookies)
        mark.mirrors = 0 if self.mirrors is None else len(self.mirrors)
        mark.guards = 0 if self.guards is None else len(self.guards)
        mark.path = 0 if self.path is None else len(self.path)
        mark.failovers = self.failovers
        mark.changes = self.changes
        return mark

    cdef int go_back(self, Mark mark, Request request) except -1:
        """Undo what was decided after `mark`, and what was made of the request, by services that found nobody in the end."""
        if self.changes > mark.changes:
            request.refer_to(<Request>self.originals[mark.changes])
            self.changes = mark.changes
        while self.failovers > mark.failovers:
            self.failover = self.failover.outer
            self.failovers -= 1
        if self.cookies is not None:
            del self.cookies[mark.cookies:]
        if self.mirrors is not None:
            del self.mirrors[mark.mirrors:]
            self.copied = min(self.copied, mark.mirrors)
        if self.guards is not None:
            del self.guards[mark.guards:]
        if self.path is not None:
            del self.path[mark.path:]
        self.queue = self.wanted = None
        self.refusal = NO_SERVER
        return 0

    cdef int remember(self, Request request) except -1:
        """Middlewares are about to change the request, which may have to go elsewhere in the end. O(headers)."""
        cdef Request original
        if self.originals is None:
            self.originals = []
        if self.changes == len(self.originals):
            self.originals.append(Request.__new__(Request))
        original = <Request>self.originals[self.changes]
        original.refer_to(request)
        self.changes += 1
        return 0

    cdef int exclude(self, object member) except -1:
        """A member is not to be chosen for this request."""
        if self.failed is None:
            self.failed = []
        self.failed.append(member)
        return 0

    cdef bint found_nobody(self) noexcept:
        """Whether a service that has chosen no server has nothing else either: no answer, and no queue to wait in."""
        return self.queue is None and not self.answered

    cdef int may_fail_over(self, object service) except -1:
        """The main service of a Failover, which this is, is about to choose."""
        cdef Stage stage = Stage.__new__(Stage)
        stage.service = service
        stage.mark = self.mark()
        stage.outer = self.failover
        self.failover = stage
        self.failovers += 1
        return 0

    cdef int fall_back(self, Request request) except -1:
        """The main service of `failover` has answered badly: the fallback is about to choose, as if for another request."""
        cdef Stage stage = self.failover
        self.go_back(stage.mark, request)
        self.drawn = None
        self.failed = None
        self.tried = self.fallen = None
        self.spent = False
        self.answered = False
        if self.path is not None:
            self.path.append((stage.service, 1))
        self.start = self.mark()
        return 0

    cdef int give_up(self, object failover) except -1:
        """The main service of a Failover has nobody: for the rest of this request it is its fallback."""
        if self.fallen is None:
            self.fallen = []
        if failover not in self.fallen:
            self.fallen.append(failover)
            self.tried = None
            self.spent = False
        return 0

    cdef int begin_again(self, object server, Request request) except -1:
        """A server could not be reached: all that was found out since `start` is void, but for the copies, which mirrors may
        have by now. The lists that were are left as they are: they may be wanted, there may be no other server."""
        cdef Mark mark = self.start
        self.exclude(server)
        if self.tried is None:
            self.tried = []
        self.tried.append(self.balancer)
        if self.tried.count(self.balancer) >= MOST_TRIES:
            self.exclude(self.balancer)
        self.spent = len(self.tried) >= MOST_IN_ALL
        if self.mirrors is not None:
            mark.mirrors = len(self.mirrors)
        if self.cookies is not None:
            self.cookies = self.cookies[:mark.cookies]
        if self.guards is not None:
            self.guards = self.guards[:mark.guards]
        if self.path is not None:
            self.path = self.path[:mark.path]
        self.answered = self.on_trial = False
        return self.go_back(mark, request)

    cdef void clear(self) noexcept:
        self.balancer = None
        self.failover = None
        self.failovers = 0
        self.changes = 0
        self.cookies = None
        self.drawn = None
        self.mirrors = None
        self.copied = 0
        self.guards = None
        self.failed = None
        self.tried = self.fallen = None
        self.spent = False
        self.path = None
        self.start = self.mark()
        self.on_trial = False
        self.answered = False
        self.queue = None
        self.wanted = None
        self.since_ns = 0
        self.held = False
        self.refusal = NO_SERVER
