# The queue of requests that find all servers of a service full.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.middleware.base cimport Pending
from lbcore.routing.asker cimport Asker
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service
from lbcore.state.layout cimport ServiceStats
from lbcore.state.region cimport Region


cdef class Waiter(Pending):
    cdef WaitQueue queue               # None = not in a queue
    cdef Waiter older                  # neighbours in it
    cdef Waiter newer
    cdef uint64_t since_ns             # time of its arrival, by the clock of `tick`
    cdef Asker asker                   # of the waiting exchange, like `decision`; both are valid until its end
    cdef Decision decision
    cdef Server session_server         # of its session; None = any server will do
    cdef Server server                 # when settled: the server of which a slot was taken for it; None = it has waited in vain


cdef class WaitQueue:
    cdef Waiter first                  # the oldest
    cdef Waiter last
    cdef readonly Py_ssize_t length
    cdef readonly Service service      # its LoadBalancer; after a reload the new one
    cdef readonly uint64_t max_requests
    cdef readonly uint64_t timeout_ns
    cdef readonly uint32_t slot        # of the service
    cdef uint32_t worker
    cdef Region region
    cdef ServiceStats* row             # this worker's, mapped as long as `region` lives
    cdef bint waking
    cdef uint64_t now_ns               # time of the last `tick`

    cdef bint is_busy(self) noexcept
    cdef bint enter(self, Waiter waiter, uint64_t now_ns) except *
    cdef int leave(self, Waiter waiter) except -1
    cdef int release(self, Waiter waiter) except -1
    cdef int note_oldest(self, Server server, Waiter waiter) noexcept
    cdef int wake(self) except -1
    cdef int tick(self, uint64_t now_ns) except -1
    cdef int look(self, bint expire, uint64_t now_ns) except -1
    cdef bint let_in(self, Waiter waiter) except *
    cdef bint is_fresh(self, ServiceStats* row) noexcept
    cdef uint64_t oldest_elsewhere(self) noexcept
    cdef bint is_claimed(self, Server server, uint64_t since_ns) noexcept
