"""What choosing a server for a request found out. No I/O."""

cimport cython

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class Stage:
    pass


cdef Stage stage_at(object service, Mark mark, Stage outer):
    cdef Stage stage = Stage.__new__(Stage)
    stage.service = service
    stage.mark = mark
    stage.outer = outer
    return stage


@cython.final
cdef class Decision:
    """Filled by `Service.choose`; one per exchange, used again after `clear`."""

    def __cinit__(self):
        self.refusal = NO_SERVER

    cdef Mark mark(self) noexcept:
        cdef Mark mark
        mark.cookies = 0 if self.cookies is None else len(self.cookies)
        mark.mirrors = 0 if self.mirrors is None else len(self.mirrors)
        mark.guards = 0 if self.guards is None else len(self.guards)
        mark.failover = <void*>self.failover
        mark.scope = <void*>self.scope
        mark.path = 0 if self.path is None else len(self.path)
        return mark

    cdef int go_back(self, Mark mark, Request request) except -1:
        """Undo what was decided after `mark`, and what was made of the request, by services that found nobody in the end."""
        cdef Stage stage = self.scope
        cdef Request before = None
        while stage is not None and <void*>stage != mark.scope:
            if stage.before is not None:
                before = stage.before
            stage = stage.outer
        if before is not None:
            request.refer_to(before)
        if self.cookies is not None:
            del self.cookies[mark.cookies:]
        if self.mirrors is not None:
            del self.mirrors[mark.mirrors:]
            self.copied = min(self.copied, mark.mirrors)
        if self.guards is not None:
            del self.guards[mark.guards:]
        if self.path is not None:
            del self.path[mark.path:]
        self.failover = <Stage>mark.failover
        self.scope = <Stage>mark.scope
        self.queue = self.wanted = None
        return 0

    cdef int enter(self, object service, Request before) except -1:
        """Another try has to choose in `service`: what stands in front of it has dealt with the request."""
        self.scope = stage_at(service, self.mark(), self.scope)
        self.scope.before = before
        return 0

    cdef int may_fail_over(self, object service) except -1:
        """The main service of a Failover, which this is, is about to choose."""
        self.failover = stage_at(service, self.mark(), self.failover)
        return 0

    cdef int fall_back(self, object service, Request request) except -1:
        """The main service of `failover` has failed: the fallback, which `service` is, is about to choose."""
        cdef Stage stage = self.failover
        self.go_back(stage.mark, request)
        self.again = False
        self.failed = None
        if self.path is not None:
            self.path.append((stage.service, 1))
        return self.enter(service, None)

    cdef int choose_again(self) except -1:
        """Another server is needed: what was found out since `scope` about the choice that failed is void."""
        cdef Py_ssize_t cookies = 0, path = 0
        cdef Stage failover = None
        self.again = True
        if self.scope is not None:
            cookies, path = self.scope.mark.cookies, self.scope.mark.path
            failover = <Stage>self.scope.mark.failover     # alive while `failover` is, or one that refers to it
        self.failover = failover
        if self.cookies is not None:
            self.cookies = self.cookies[:cookies]     # the old list may be wanted: there may be no other server
        if self.path is not None:
            del self.path[path:]
        return 0

    cdef void clear(self) noexcept:
        self.balancer = None
        self.failover = None
        self.scope = None
        self.cookies = None
        self.mirrors = None
        self.copied = 0
        self.guards = None
        self.failed = None
        self.path = None
        self.again = False
        self.on_trial = False
        self.answered = False
        self.queue = None
        self.wanted = None
        self.since_ns = 0
        self.held = False
        self.refusal = NO_SERVER
