# `failover`: a main service, and a fallback for when it is down or its answers are dropped.

from libc.stdint cimport int64_t, uint8_t

from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport Child
from lbcore.routing.decision cimport Decision, FailoverStep
from lbcore.routing.server cimport Server
from lbcore.routing.service cimport Service


cdef class Failover(Service):
    cdef readonly Child main
    cdef readonly Child fallback
    cdef bint watches                  # its status follows theirs
    cdef uint8_t bad[600]              # 1 = an answer with this status is dropped, and the fallback asked
    cdef bint by_status                # any status is dropped
    cdef int64_t max_body              # longest body of a request that can be sent again; -1 = any

    cdef Server choose_one(self, Asker asker, Decision decision)
    cdef Server ask(self, Child child, Py_ssize_t index, Asker asker, Decision decision)


cdef FailoverStep step_to_leave(FailoverStep step, int status)
cdef int64_t most_repeatable(FailoverStep step) noexcept
