# The data plane's own epoll set, run by the worker's uvloop.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.transport.timers cimport Timer, Wheel


cdef int64_t monotonic_ms() noexcept nogil

cdef class Channel:
    cdef int fd                # -1 once closed
    cdef Reactor reactor
    cdef uint32_t place        # in the reactor's table
    cdef Timer timer

    cdef int on_ready(self, uint32_t events) except -1
    cdef int on_timeout(self) except -1
    cdef void fail(self, object error) noexcept
    cdef void bury(self) noexcept


cdef struct Place:
    void* channel              # the reference is counted
    uint32_t tenancy           # counts up as channels leave: the kernel may still name one that has left
    uint32_t next              # free place


cdef class Reactor:
    cdef int epfd
    cdef readonly int64_t now_ms        # monotonic, as of the batch in work
    cdef readonly Py_ssize_t channels   # attached
    cdef object loop
    cdef object tick_handle             # the pending uvloop timer, None while no timer is set
    cdef list graveyard                 # channels that left, to be told when no call into them is under way
    cdef Place* places
    cdef uint32_t capacity
    cdef uint32_t free                  # the first free place; `capacity` when there is none
    cdef Wheel wheel
    cdef bint watched          # by uvloop
    cdef int linger_ms         # how long a quiet spell may be before the loop's own turn comes
    cdef bint hurried          # the loop is to have its turn after this batch

    cdef void share_loop(self) noexcept
    cdef void hurry(self) noexcept
    cdef int serve(self) except -1
    cdef int attach(self, Channel channel, int fd, uint32_t events) except -1
    cdef int change(self, Channel channel, uint32_t events) except -1
    cdef void detach(self, Channel channel) noexcept
    cdef void forget(self, Channel channel) noexcept
    cdef int enlarge(self) except -1
    cdef uint64_t name_of(self, Channel channel) noexcept
    cdef int arm(self, Channel channel, int64_t delay_ms) except -1
    cdef void disarm(self, Channel channel) noexcept
