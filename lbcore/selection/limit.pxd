# A limit of what is in flight at each server, and a queue of requests that wait for room.

from libc.stdint cimport uint64_t

from lbcore.selection.selector cimport Selector
from lbcore.selection.wrapper cimport Wrapper


cdef class Waiter:                     # a request that waits for room; it is in `queue` until it has its outcome
    cdef Selector selector             # whose `acquire` was called
    cdef object key
    cdef object accept
    cdef object exclude
    cdef uint64_t cost
    cdef bint restricted               # has `accept` or `exclude`, so not every server will do
    cdef bint looked_at                # `in_vain` was evaluated, when `changes` was the algorithm's
    cdef uint64_t changes
    cdef object lease                  # the outcome: one of these two
    cdef object error
    cdef object loop                   # of a task that waits: its loop, the future it awaits, ...
    cdef object future
    cdef object thread                 # ... and the identity of the loop's thread
    cdef object event                  # of a thread that waits

    cdef int settle(self, object lease, object error) except -1


cdef class InFlightLimit(Wrapper):
    cdef object given                  # the limit of every server as an int, or a dict by server
    cdef readonly Py_ssize_t max_waiting
    cdef object queue                  # OrderedDict of Waiter, in the order of arrival
    cdef bint serving                  # `serve` is running
    cdef bint again                    # `serve` was called while it was running
    cdef readonly uint64_t refused     # requests refused because the queue was full
    cdef readonly uint64_t timed_out   # requests that reached their timeout before there was room

    cdef Waiter waiter(self, Selector selector, object key, object accept, object exclude, object cost)
    cdef int serve(self) except -1
    cdef bint in_vain(self, Waiter waiter) except -1
    cdef int join(self, Waiter waiter, object timeout) except -1
    cdef int leave_queue(self, Waiter waiter) except -1
    cdef int give_up(self, Waiter waiter) except -1
