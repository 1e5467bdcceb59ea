# The data plane's own epoll set and timers, run by the worker's uvloop.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.transport.timers cimport Timer, Wheel


cdef class Timed:
    cdef Timer timer

    cdef int on_timeout(self) except -1
    cdef void fail(self, object error) noexcept


cdef class Channel(Timed):
    cdef int fd                # -1 once closed
    cdef Reactor reactor       # None until it is attached
    cdef uint32_t place        # in the reactor's table

    cdef int on_ready(self, uint32_t events) except -1
    cdef void release(self) noexcept


cdef class Relief:
    cdef bint make_room(self) except *


cdef struct Place:
    void* channel              # the reference is counted: from `attach` to `detach`
    uint32_t generation        # counts up as channels leave: the kernel may still name one that has left
    uint32_t next              # free place


cdef class Reactor:
    cdef int epfd
    cdef readonly int64_t now_ms        # monotonic, as of the callback in work
    cdef int64_t driven_ms              # what tests have set the clock to; 0 = the kernel's clock counts
    cdef readonly Py_ssize_t channels   # attached
    cdef object loop
    cdef object tick_handle             # the pending uvloop timer, None while no timer is set
    cdef list leaving                   # channels that were detached, to be released when no call into them is under way
    cdef Place* places
    cdef uint32_t capacity
    cdef uint32_t free                  # the first free place; `capacity` when there is none
    cdef Wheel wheel
    cdef Relief relief         # whom to ask for descriptors when there are none
    cdef bint watched          # by uvloop
    cdef int linger_ms         # how long a quiet spell may be before the loop's own turn comes
    cdef bint hurried          # the loop is to have its turn after this batch

    cdef void enter(self) noexcept
    cdef uint64_t now_ns(self) noexcept
    cdef void share_loop(self) noexcept
    cdef void hurry(self) noexcept
    cdef int run_turn(self) except -1
    cdef int attach(self, Channel channel, int fd, uint32_t events) except -1
    cdef int change(self, Channel channel, uint32_t events) except -1
    cdef void detach(self, Channel channel) noexcept
    cdef void forget(self, Channel channel) noexcept
    cdef int enlarge(self) except -1
    cdef uint64_t key_of(self, Channel channel) noexcept
    cdef int arm(self, Timed timed, int64_t delay_ms) except -1
    cdef void disarm(self, Timed timed) noexcept
    cdef void fire(self) noexcept
