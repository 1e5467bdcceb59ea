"""The data plane's own epoll set: edge-triggered, dispatched in C, nested in the worker's uvloop as one readable descriptor.

A connection is registered once, when it opens, for everything; it keeps in mind what it may read and write. So a request
costs no epoll_ctl, an idle connection costs no object of the event loop, and one wake-up of the loop serves a whole batch.
"""

import logging
import os

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc

from lbcore.selection.clock cimport monotonic_ns
from lbcore.transport.epoll cimport (
    EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLET, epoll_create1, epoll_ctl, epoll_event, epoll_wait,
)
from lbcore.transport.timers cimport TICK_MS, Timer, timer_clear, timer_init, timer_set, wheel_clear, wheel_expired, wheel_init

cdef enum:
    FIRST_PLACES = 256
    BATCH = 256                # events taken from the kernel at once
    LINGER_MS = 4              # `linger_ms` of a loop with nothing else to do: load that comes in gaps costs less
    SHARED_LINGER_MS = 1       # and of one that other tasks share, which wait meanwhile
    TURN_MS = 5                # under load, how long the data plane may keep the loop's other work waiting
    LOADED_EVENTS = 32         # in one turn: under load

_log = logging.getLogger("lbcore.transport")


cdef inline int64_t monotonic_ms() noexcept nogil:
    return <int64_t>(monotonic_ns() // 1000000)


cdef class Timed:
    """Something with a deadline, set by `Reactor.arm`. It leaves the wheel by itself when it goes away.

    Many of them may share a descriptor, or have none: the deadline of a copy, a session of UDP, a connection of QUIC.
    """

    def __cinit__(self):
        timer_init(&self.timer, <void*>self)

    def __dealloc__(self):
        timer_clear(&self.timer)

    cdef int on_timeout(self) except -1:
        """The time set by `Reactor.arm` is over. An error ends in `fail`."""
        return 0

    cdef void fail(self, object error) noexcept:
        """The one way out for an unexpected error. What has more to clean up does so here, and says what it was."""
        timer_clear(&self.timer)
        _log.error("internal error in %s", type(self).__name__, exc_info=error)


cdef class Channel(Timed):
    """Something with a descriptor in the reactor. Each callback ends in `fail` when it raises."""

    def __cinit__(self):
        self.fd = -1

    cdef int on_ready(self, uint32_t events) except -1:
        """The descriptor became readable or writable, or the peer went away. Edge-triggered: said once."""
        return 0

    cdef void fail(self, object error) noexcept:
        if self.reactor is not None:
            self.reactor.detach(self)

    cdef void release(self) noexcept:
        """Called some time after `detach`, when no call into the channel is under way: drop what refers back to it."""
        pass


cdef class Relief:
    """What can give descriptors up when the process has none left."""

    cdef bint make_room(self) except *:
        """Close something that can be done without. False: there is nothing."""
        return False


cdef class CallbackChannel(Channel):
    """A channel that calls Python, for what is not in the hot path and for tests. It does not own its descriptor."""

    cdef object ready
    cdef object timeout
    cdef object failed

    def __init__(self, ready, timeout=None, failed=None):
        self.ready = ready
        self.timeout = timeout
        self.failed = failed

    def open(self, Reactor reactor, int fd, uint32_t events) -> None:
        """Start watching `fd` for epoll's `events`."""
        reactor.attach(self, fd, events | EPOLLET)

    def arm(self, int64_t delay_ms) -> None:
        self.reactor.arm(self, delay_ms)

    def disarm(self) -> None:
        self.reactor.disarm(self)

    def close(self) -> None:
        """Stop watching. Safe to call twice."""
        if self.fd >= 0:
            self.reactor.detach(self)

    cdef int on_ready(self, uint32_t events) except -1:
        self.ready(events)
        return 0

    cdef int on_timeout(self) except -1:
        self.timeout()
        return 0

    cdef void fail(self, object error) noexcept:
        if self.failed is not None:
            self.failed(error)
        else:
            self.close()


cdef class Reactor:
    """One per worker; lives on, and is only called from, the thread of its loop."""

    def __cinit__(self, loop):
        self.loop = loop
        self.leaving = []
        self.relief = Relief()
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            raise OSError(errno, os.strerror(errno))
        self.linger_ms = LINGER_MS
        self.now_ms = monotonic_ms()
        wheel_init(&self.wheel, self.now_ms)
        loop.add_reader(self.epfd, self._poll)
        self.watched = True

    def __dealloc__(self):
        wheel_clear(&self.wheel)
        free(self.places)

    cdef void enter(self) noexcept:
        """Read the clock. Every callback of the event loop that comes to the data plane begins with this, so that
        what is armed counts from now, not from the last batch of events."""
        self.now_ms = self.driven_ms if self.driven_ms else monotonic_ms()

    cdef uint64_t now_ns(self) noexcept:
        """The clock, now."""
        return <uint64_t>self.driven_ms * 1000000 if self.driven_ms else monotonic_ns()

    def drive(self, delay_ms: int = 0) -> None:
        """Let `delay_ms` pass, for tests: from the first call on the clock stands still between the calls. What is due
        fires now."""
        self.driven_ms = (self.driven_ms if self.driven_ms else monotonic_ms()) + delay_ms
        self.enter()
        self.fire()

    cdef int attach(self, Channel channel, int fd, uint32_t events) except -1:
        """Watch `fd` for the channel, which takes it over. The reactor holds the channel until `detach`. OSError.

        events  epoll's, with EPOLLET for all that is not to be told twice.
        """
        cdef epoll_event event
        if self.free == self.capacity:
            self.enlarge()
        channel.place = self.free
        event.events = events
        event.data.u64 = self.key_of(channel)
        if epoll_ctl(self.epfd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        self.free = self.places[channel.place].next
        self.places[channel.place].channel = <void*>channel
        channel.fd = fd
        channel.reactor = self
        self.channels += 1
        Py_INCREF(channel)
        return 0

    cdef int enlarge(self) except -1:
        cdef uint32_t capacity = self.capacity * 2 if self.capacity else FIRST_PLACES
        cdef Place* places = <Place*>realloc(self.places, capacity * sizeof(Place))
        cdef uint32_t i
        if places == NULL:
            raise MemoryError
        for i in range(self.capacity, capacity):
            places[i].channel = NULL
            places[i].generation = 0
            places[i].next = i + 1
        self.places = places
        self.capacity = capacity
        return 0

    cdef uint64_t key_of(self, Channel channel) noexcept:
        """The number by which the kernel names a channel's events: its place, and which of the place's channels it is. The
        kernel may still use it after the channel has left; then it matches none."""
        return <uint64_t>self.places[channel.place].generation << 32 | channel.place

    cdef int change(self, Channel channel, uint32_t events) except -1:
        """Watch for other events from now on; what holds already is told once more. OSError."""
        cdef epoll_event event
        event.events = events
        event.data.u64 = self.key_of(channel)
        if epoll_ctl(self.epfd, EPOLL_CTL_MOD, channel.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        return 0

    cdef void detach(self, Channel channel) noexcept:
        """Let go of a channel. Its owner closes the descriptor afterwards, or gives it to another channel."""
        cdef epoll_event unused
        if channel.fd < 0:
            return
        epoll_ctl(self.epfd, EPOLL_CTL_DEL, channel.fd, &unused)
        self.forget(channel)

    cdef void forget(self, Channel channel) noexcept:
        """The same for a channel that is told of edges, and whose descriptor is closed next: that leaves the epoll set, too,
        unless a child that was just forked still has the descriptor (epoll(7)); such an event belongs to no channel."""
        cdef Place* place
        if channel.fd < 0:
            return
        place = &self.places[channel.place]
        place.channel = NULL
        place.generation += 1
        place.next = self.free
        self.free = channel.place
        channel.fd = -1
        timer_clear(&channel.timer)
        self.channels -= 1
        # A call into the channel may be under way: it must stay alive until that is over.
        if not self.leaving:
            self.loop.call_soon(self._release)
        self.leaving.append(channel)
        Py_DECREF(channel)

    cdef int arm(self, Timed timed, int64_t delay_ms) except -1:
        """Call `on_timeout` after `delay_ms`, at most two ticks later. Replaces an earlier setting. The caller keeps `timed`
        alive for as long as it is to fire."""
        timer_set(&self.wheel, &timed.timer, self.now_ms, self.now_ms + delay_ms)
        if self.tick_handle is None:
            self.tick_handle = self.loop.call_later(TICK_MS / 1000.0, self._tick)
        return 0

    cdef void disarm(self, Timed timed) noexcept:
        timer_clear(&timed.timer)

    cdef void share_loop(self) noexcept:
        """The loop serves others, too: they are not to wait long."""
        self.linger_ms = SHARED_LINGER_MS

    cdef void hurry(self) noexcept:
        """The loop was given work that a request waits for: end the turn with the batch at work."""
        self.hurried = True

    def _poll(self) -> None:
        """Serve what is ready. Called by uvloop when the epoll set is readable, or in every turn while under load.

        A set that another set watches makes each event of the kernel dearer: under load uvloop stops watching, and comes
        here in every turn, until a turn ends quietly.
        """
        cdef int served = self.run_turn()
        if self.epfd < 0:
            return
        if self.watched:
            if served >= LOADED_EVENTS:
                self.loop.remove_reader(self.epfd)
                self.watched = False
        elif served == 0:
            self.loop.add_reader(self.epfd, self._poll)
            self.watched = True
        if not self.watched:
            self.loop.call_soon(self._poll)

    cdef int run_turn(self) except -1:
        """One turn: batch after batch, until none comes for `linger_ms` (which under load is cheaper than a turn of uvloop),
        or TURN_MS are over. Returns the number of events served."""
        cdef epoll_event events[BATCH]
        cdef Place* place
        cdef Channel channel
        cdef int count, i, timeout = 0, served = 0
        cdef int64_t turn_over = monotonic_ms() + TURN_MS, now
        self.hurried = False
        while self.epfd >= 0:
            with nogil:  # the wait may block
                count = epoll_wait(self.epfd, events, BATCH, timeout)
            if count < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, os.strerror(errno))
            now = monotonic_ms()
            self.now_ms = self.driven_ms if self.driven_ms else now
            for i in range(count):
                place = &self.places[<uint32_t>events[i].data.u64]
                if place.channel == NULL or place.generation != events[i].data.u64 >> 32:
                    continue
                channel = <Channel>place.channel
                try:
                    channel.on_ready(events[i].events)
                except BaseException as error:
                    channel.fail(error)
            served += count
            if self.hurried or now >= turn_over or (count == 0 and (timeout or self.watched)):
                break
            timeout = self.linger_ms
        return served

    def _tick(self) -> None:
        """Fire what is due, and come back while any timer is set."""
        self.tick_handle = None
        self.enter()
        self.fire()
        if self.wheel.count and self.tick_handle is None:
            self.tick_handle = self.loop.call_later(TICK_MS / 1000.0, self._tick)

    cdef void fire(self) noexcept:
        cdef Timer* timer
        cdef Timed timed
        while True:
            timer = wheel_expired(&self.wheel, self.now_ms)
            if timer == NULL:
                return
            timed = <Timed>timer.owner
            try:
                timed.on_timeout()
            except BaseException as error:
                timed.fail(error)

    def _release(self) -> None:
        cdef Channel channel
        self.enter()
        gone, self.leaving = self.leaving, []
        for item in gone:
            channel = <Channel>item
            channel.release()

    def close(self) -> None:
        """Stop. The channels must have been closed by their owners. Safe to call twice."""
        if self.epfd < 0:
            return
        if self.watched:
            self.loop.remove_reader(self.epfd)
        if self.tick_handle is not None:
            self.tick_handle.cancel()
            self.tick_handle = None
        os.close(self.epfd)
        self.epfd = -1
