"""What choosing a server for a request found out. No I/O."""

cimport cython

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class Decision:
    """Filled by `Service.choose`; one per exchange, used again after `clear`."""

    def __cinit__(self):
        self.refusal = NO_SERVER

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
        self.answered = False
        self.refusal = NO_SERVER
