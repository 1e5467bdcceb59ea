# The data plane's own epoll set and timers, driven by the worker's event loop.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from lbcore.transport.gathering cimport Pauses
from lbcore.transport.timers cimport Timer, Wheel


cdef class Timed:
    cdef Timer timer

    cdef int on_timeout(self) except -1
    cdef void fail(self, object error) noexcept


cdef class Channel(Timed):
    cdef int fd                # -1 once closed
    cdef Reactor reactor       # None while it is not attached
    cdef uint32_t place        # in the reactor's table
    cdef uint32_t late         # events that the kernel is to be told of later, see `attach_late`; 0 = it watches

    cdef int on_ready(self, uint32_t events) except -1
    cdef void foresee(self) noexcept
    cdef void release(self) noexcept


cdef class Flushable:
    cdef Flushable next_touched        # in the reactor's list
    cdef bint touched                  # it is in that list
    cdef int gathers                   # a Gathering, see gathering.pxd; with any but NO_GATHERING it has streams

    cdef int on_batch_end(self) except -1
    cdef void batch_end_failed(self, object error) noexcept


cdef class Relief:
    cdef bint make_room(self) except *


cdef enum:
    LATE_PLACES = 1024         # most channels of which the kernel is told later


cdef struct Late:
    uint64_t key               # of the channel, see `Reactor.key_of`: it matches none after the channel has left
    uint64_t since_ns          # when it was attached, by the kernel's clock


cdef struct Place:
    void* channel              # a Channel, of which the reactor owns a reference from `attach` until after `detach`
    uint32_t generation        # increased when a channel leaves, so that late events of the kernel for that channel match none
    uint32_t next              # the next free place, while this one is free


cdef class Reactor:
    cdef int epfd
    cdef readonly int64_t now_ms        # monotonic time, read at the start of the present callback or batch
    cdef uint64_t batch_ns              # the same, not driven by tests: when requests and answers count as having come
    cdef int64_t driven_ms              # the time that a test has set; 0 = the kernel's clock
    cdef readonly Py_ssize_t channels   # number of attached channels
    cdef object loop
    cdef object tick_handle             # the timer of the event loop; None while no timer is set
    cdef list leaving                   # detached channels, which are released when no call into them can be under way
    cdef Place* places
    cdef uint32_t capacity
    cdef uint32_t free                  # the first free place; `capacity` = there is none
    cdef Wheel wheel
    cdef Relief relief         # closes idle connections when no descriptor is left
    cdef Late[LATE_PLACES] late         # a ring, the oldest first
    cdef uint32_t late_first
    cdef uint32_t late_count
    cdef bint watched          # the event loop watches the epoll set
    cdef int linger_ms         # pause between events after which a turn ends
    cdef Flushable first_touched        # flushed after the present batch; the latest first
    cdef bint in_batch         # events are being served
    cdef bint hurried          # the turn ends after this batch
    cdef bint loaded           # the last turn had many events
    cdef int gathers           # the Gathering of those in the list of `first_touched` that gather the longest
    cdef Pauses pauses         # in which the output of many streams gathers

    cdef void enter(self) noexcept
    cdef void read_clock(self) noexcept
    cdef uint64_t now_ns(self) noexcept
    cdef void share_loop(self) noexcept
    cdef void hurry(self) noexcept
    cdef int touch(self, Flushable flushable) except -1
    cdef int flush_touched(self) except -1
    cdef int run_turn(self) except -1
    cdef int attach(self, Channel channel, int fd, uint32_t events) except -1
    cdef int attach_late(self, Channel channel, int fd, uint32_t events) except -1
    cdef void seat(self, Channel channel, int fd) noexcept
    cdef void watch_late(self) noexcept
    cdef int change(self, Channel channel, uint32_t events) except -1
    cdef void detach(self, Channel channel) noexcept
    cdef void forget(self, Channel channel) noexcept
    cdef int enlarge(self) except -1
    cdef uint64_t key_of(self, Channel channel) noexcept
    cdef int arm(self, Timed timed, int64_t delay_ms) except -1
    cdef void disarm(self, Timed timed) noexcept
    cdef void fire(self) noexcept
