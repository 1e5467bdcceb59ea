# A bound of what is in flight at each server, and a queue of requests that wait for room.

from libc.stdint cimport uint64_t

from lbcore.selection.selector cimport Selector
from lbcore.selection.wrapper cimport Wrapper


cdef class Waiter:                     # a request that waits for room; it is in `queue` until it has its outcome
    cdef Selector selector             # through which the request came
    cdef object key
    cdef object accept
    cdef object exclude
    cdef uint64_t cost
    cdef bint restricted               # not every server will do
    cdef bint looked_at                # whether waiting is in vain was asked
    cdef uint64_t changes              # of the algorithm, when that was asked
    cdef object lease                  # the outcome: one of these two
    cdef object error
    cdef object loop                   # of the task that waits, and what it waits for
    cdef object future
    cdef object thread                 # identity of the loop's thread
    cdef object event                  # what a blocked thread waits for

    cdef int settle(self, object lease, object error) except -1


cdef class InFlightLimit(Wrapper):
    cdef object given                  # int for every server, or a dict by server
    cdef readonly Py_ssize_t max_waiting
    cdef object queue                  # OrderedDict of Waiter, in the order in which they came
    cdef bint serving
    cdef bint again                    # something happened while `serve` was at work
    cdef readonly uint64_t refused     # requests that were refused because the queue was full
    cdef readonly uint64_t timed_out   # requests whose time was over before there was room

    cdef Waiter waiter(self, Selector selector, object key, object accept, object exclude, object cost)
    cdef int serve(self) except -1
    cdef bint in_vain(self, Waiter waiter) except -1
    cdef int join(self, Waiter waiter, object timeout) except -1
    cdef int leave_queue(self, Waiter waiter) except -1
    cdef int give_up(self, Waiter waiter) except -1
