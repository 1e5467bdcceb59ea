"""What choosing a server for a request found out. No I/O."""

cimport cython

cdef bytes NO_SERVER = b"no available server\n"


@cython.final
cdef class Decision:
    """Filled by `Service.choose`; one per exchange, used again after `clear`."""

    def __cinit__(self):
        self.refusal = NO_SERVER

    cdef void clear(self) noexcept:
        self.balancer = None
        self.failover = None
        self.cookies = None
        self.mirrors = None
        self.guards = None
        self.failed = None
        self.again = False
        self.answered = False
        self.queue = None
        self.wanted = None
        self.since_ns = 0
        self.held = False
        self.refusal = NO_SERVER
