"""What choosing a server for a request found out. No I/O."""

cimport cython

cdef bytes NO_SERVER = b"no available server\n"


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
        mark.path = 0 if self.path is None else len(self.path)
        return mark

    cdef int go_back(self, Mark mark) except -1:
        """Undo what was decided after `mark`, by services that found nobody in the end."""
        if self.cookies is not None:
            del self.cookies[mark.cookies:]
        if self.mirrors is not None:
            del self.mirrors[mark.mirrors:]
        if self.guards is not None:
            del self.guards[mark.guards:]
        if self.path is not None:
            del self.path[mark.path:]
        self.failover = <object>mark.failover
        self.queue = self.wanted = None
        return 0

    cdef int choose_again(self) except -1:
        """What was found out about the choice that failed is void."""
        self.again = True
        self.cookies = None
        if self.path is not None:
            del self.path[self.above:]
        return 0

    cdef void clear(self) noexcept:
        self.balancer = None
        self.failover = None
        self.cookies = None
        self.mirrors = None
        self.guards = None
        self.failed = None
        self.path = None
        self.above = 0
        self.again = False
        self.on_trial = False
        self.answered = False
        self.queue = None
        self.wanted = None
        self.since_ns = 0
        self.held = False
        self.refusal = NO_SERVER
