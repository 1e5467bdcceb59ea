"""The data plane's own epoll set: edge-triggered, dispatched in C, nested in the worker's event loop as one readable descriptor.

A connection is registered once, when it opens, for all events, and remembers whether it may read and write. A request therefore
costs no epoll_ctl, an idle connection no object of the event loop, and one wake-up of the loop serves a whole batch. A connection
that is over after its first answer is usually not registered at all, see `attach_late`.
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
from lbcore.transport.fetch cimport fetch_ahead
from lbcore.transport.gathering cimport NO_GATHERING, pauses_fit, pauses_init, pauses_judge, pauses_sleep, pauses_turn_over
from lbcore.transport.timers cimport TICK_MS, Timer, timer_clear, timer_init, timer_set, wheel_clear, wheel_expired, wheel_init

cdef enum:
    FIRST_PLACES = 256
    BATCH = 256                # most events taken from the kernel at once
    LINGER_MS = 4              # `linger_ms` if the loop has no other tasks: load with small gaps costs less
    SHARED_LINGER_MS = 1       # `linger_ms` if the loop has other tasks, which wait meanwhile
    TURN_MS = 5                # longest turn of the data plane, in which other work of the loop waits
    LOADED_EVENTS = 32         # a turn with this number of events counts as load
    LATE_NS = 10000000         # time after which a channel of `attach_late` is watched

_log = logging.getLogger("lbcore.transport")


cdef inline int64_t monotonic_ms() noexcept nogil:
    return <int64_t>(monotonic_ns() // 1000000)


cdef class Timed:
    """An object with a deadline, which `Reactor.arm` sets. Its deallocation clears the timer.

    Several may share a descriptor, or have none: the deadline of a copy, a session of UDP, a connection of QUIC.
    """

    def __cinit__(self):
        timer_init(&self.timer, <void*>self)

    def __dealloc__(self):
        timer_clear(&self.timer)

    cdef int on_timeout(self) except -1:
        """The deadline set by `Reactor.arm` has passed. Exceptions go to `fail`."""
        return 0

    cdef void fail(self, object error) noexcept:
        """Handle an unexpected exception of a callback. Subclasses log what it concerns, and clean up."""
        timer_clear(&self.timer)
        _log.error("internal error in %s", type(self).__name__, exc_info=error)


cdef class Channel(Timed):
    """An object with a descriptor in the reactor. Exceptions of its callbacks go to `fail`."""

    def __cinit__(self):
        self.fd = -1

    cdef int on_ready(self, uint32_t events) except -1:
        """The descriptor became readable or writable, or the peer has gone. Edge-triggered: there is one call for each change."""
        return 0

    cdef void fail(self, object error) noexcept:
        if self.reactor is not None:
            self.reactor.detach(self)

    cdef void foresee(self) noexcept:
        """The channel's event comes right after the one that is served now: have the processor fetch what it will touch. Changes
        nothing."""
        pass

    cdef void release(self) noexcept:
        """Drop references that refer back to the channel. Called after `detach`, when no call into the channel is under way."""
        pass


cdef class Flushable:
    """What puts its output together until a batch of events has been served: many small pieces cost one call then.

    Of what has many streams the output may wait a moment longer, under load: see `pauses_fit`.
    """

    cdef int on_batch_end(self) except -1:
        """The batch in which it was touched is over: send what has gathered. An error ends in `batch_end_failed`."""
        return 0

    cdef void batch_end_failed(self, object error) noexcept:
        _log.error("internal error in %s", type(self).__name__, exc_info=error)


cdef class Relief:
    """The interface for freeing descriptors when the process has none left."""

    cdef bint make_room(self) except *:
        """Close something dispensable. Returns False if there is nothing."""
        return False


cdef class CallbackChannel(Channel):
    """A channel that calls Python functions, for use outside the hot path and for tests. It does not own its descriptor."""

    cdef object ready
    cdef object timeout
    cdef object failed

    def __init__(self, ready, timeout=None, failed=None):
        self.ready = ready
        self.timeout = timeout
        self.failed = failed

    def open(self, Reactor reactor, int fd, uint32_t events) -> None:
        """Start watching `fd` for `events`, a mask of epoll."""
        reactor.attach(self, fd, events | EPOLLET)

    def open_late(self, Reactor reactor, int fd, uint32_t events) -> None:
        """`open`, of which the kernel is told later."""
        reactor.attach_late(self, fd, events | EPOLLET)

    def change(self, uint32_t events) -> None:
        """Watch for other events from now on."""
        self.reactor.change(self, events | EPOLLET)

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
    """There is one per worker. It is called only from the thread of its loop."""

    def __cinit__(self, loop):
        self.loop = loop
        self.leaving = []
        self.relief = Relief()
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            raise OSError(errno, os.strerror(errno))
        self.linger_ms = LINGER_MS
        pauses_init(&self.pauses)
        self.read_clock()
        wheel_init(&self.wheel, self.now_ms)
        loop.add_reader(self.epfd, self._poll)
        self.watched = True

    def __dealloc__(self):
        wheel_clear(&self.wheel)
        free(self.places)

    cdef void enter(self) noexcept:
        """Read the clock. Every callback of the event loop into the data plane begins with this, so that new deadlines count from
        now, not from the last batch of events."""
        self.read_clock()

    cdef void read_clock(self) noexcept:
        self.batch_ns = monotonic_ns()
        self.now_ms = self.driven_ms if self.driven_ms else <int64_t>(self.batch_ns // 1000000)

    cdef uint64_t now_ns(self) noexcept:
        """The present monotonic time in ns."""
        return <uint64_t>self.driven_ms * 1000000 if self.driven_ms else monotonic_ns()

    def drive(self, delay_ms: int = 0) -> None:
        """Advance the clock by `delay_ms` and fire what is due, for tests. From the first call on the clock stands still between
        calls."""
        self.driven_ms = (self.driven_ms if self.driven_ms else monotonic_ms()) + delay_ms
        self.enter()
        self.fire()

    cdef int attach(self, Channel channel, int fd, uint32_t events) except -1:
        """Watch `fd` for the channel, which takes over its ownership. The reactor refers to the channel until `detach`.

        events  a mask of epoll, with EPOLLET unless the events are to be level-triggered.
        Raises OSError, MemoryError.
        """
        cdef epoll_event event
        if self.free == self.capacity:
            self.enlarge()
        channel.place = self.free
        event.events = events
        event.data.u64 = self.key_of(channel)
        if epoll_ctl(self.epfd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        self.seat(channel, fd)
        return 0

    cdef int attach_late(self, Channel channel, int fd, uint32_t events) except -1:
        """`attach` for a channel that has probably left before an event of it matters: the kernel is told of it by `change`, or
        at the end of a turn after LATE_NS; of the last one before a quiet spell at the tick after that. Conditions that hold by then
        cause an event. Until then none comes.

        It saves the call, and the kernel the care for a descriptor that is watched.
        """
        cdef Late* late
        if not self.in_batch or self.late_count == LATE_PLACES:
            return self.attach(channel, fd, events)      # outside of a turn nothing tells the kernel later
        if self.free == self.capacity:
            self.enlarge()
        channel.place = self.free
        channel.late = events
        self.seat(channel, fd)
        late = &self.late[(self.late_first + self.late_count) % <uint32_t>LATE_PLACES]
        late.key = self.key_of(channel)
        late.since_ns = self.batch_ns
        self.late_count += 1
        if self.tick_handle is None:
            self.tick_handle = self.loop.call_later(TICK_MS / 1000.0, self._tick)
        return 0

    cdef void seat(self, Channel channel, int fd) noexcept:
        """Put a channel into its place, the first free one."""
        self.free = self.places[channel.place].next
        self.places[channel.place].channel = <void*>channel
        channel.fd = fd
        channel.reactor = self
        self.channels += 1
        Py_INCREF(channel)

    cdef void watch_late(self) noexcept:
        """Tell the kernel of channels that are late for LATE_NS. One that the kernel has no memory for stays late, and is tried again."""
        cdef Late late
        cdef Place* place
        cdef Channel channel
        cdef uint32_t i
        for i in range(self.late_count):
            late = self.late[self.late_first]
            if late.since_ns + LATE_NS > self.batch_ns:
                return
            self.late_first = (self.late_first + 1) % <uint32_t>LATE_PLACES
            self.late_count -= 1
            place = &self.places[<uint32_t>late.key]
            if place.channel == NULL or place.generation != late.key >> 32:
                continue
            channel = <Channel>place.channel
            if not channel.late:
                continue
            try:
                self.change(channel, channel.late)
            except OSError:
                late.since_ns = self.batch_ns
                self.late[(self.late_first + self.late_count) % <uint32_t>LATE_PLACES] = late
                self.late_count += 1

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
        """The number by which the kernel identifies a channel's events: its place and the generation of that. After the channel has
        left, the number matches no channel."""
        return <uint64_t>self.places[channel.place].generation << 32 | channel.place

    cdef int change(self, Channel channel, uint32_t events) except -1:
        """Watch for other events from now on; conditions that hold already cause an event again. Raises OSError."""
        cdef epoll_event event
        event.events = events
        event.data.u64 = self.key_of(channel)
        if epoll_ctl(self.epfd, EPOLL_CTL_ADD if channel.late else EPOLL_CTL_MOD, channel.fd, &event) < 0:
            raise OSError(errno, os.strerror(errno))
        channel.late = 0
        return 0

    cdef void detach(self, Channel channel) noexcept:
        """Stop watching for a channel. Its owner then closes the descriptor, or gives it to another channel."""
        cdef epoll_event unused
        if channel.fd < 0:
            return
        if not channel.late:
            epoll_ctl(self.epfd, EPOLL_CTL_DEL, channel.fd, &unused)
        self.forget(channel)

    cdef void forget(self, Channel channel) noexcept:
        """`detach` without a system call, for an edge-triggered channel whose descriptor is closed next: the close removes it from
        the epoll set, unless a child that was just forked still has the descriptor (epoll(7)); its events then match no channel."""
        cdef Place* place
        if channel.fd < 0:
            return
        place = &self.places[channel.place]
        place.channel = NULL
        place.generation += 1
        place.next = self.free
        self.free = channel.place
        channel.fd = -1
        channel.late = 0
        timer_clear(&channel.timer)
        self.channels -= 1
        # A call into the channel may be under way, so the channel has to stay alive until that returns: until the end of the batch,
        # or the next turn of the loop.
        if not self.in_batch and not self.leaving:
            self.loop.call_soon(self._release)
        self.leaving.append(channel)
        Py_DECREF(channel)

    cdef int arm(self, Timed timed, int64_t delay_ms) except -1:
        """Call `on_timeout` after `delay_ms`, at most two ticks late. Replaces an earlier deadline. The reactor does not own `timed`:
        if it is deallocated before, the call does not come. O(1)."""
        timer_set(&self.wheel, &timed.timer, self.now_ms, self.now_ms + delay_ms)
        if self.tick_handle is None:
            self.tick_handle = self.loop.call_later(TICK_MS / 1000.0, self._tick)
        return 0

    cdef void disarm(self, Timed timed) noexcept:
        timer_clear(&timed.timer)

    cdef void share_loop(self) noexcept:
        """Shorten turns, because other tasks use the loop as well."""
        self.linger_ms = SHARED_LINGER_MS

    cdef void hurry(self) noexcept:
        """End the turn after the present batch, because a request waits for work that was given to the loop."""
        self.hurried = True

    def _poll(self) -> None:
        """Serve ready channels. The event loop calls this when the epoll set is readable, and under load in each of its iterations.

        Events in a set that another set watches cost the kernel more. Under load the loop therefore does not watch the set, but calls
        this in each iteration until a turn ends without load.
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
        if self.late_count:
            self.watch_late()

    cdef int touch(self, Flushable flushable) except -1:
        """Call `on_batch_end` once, after the batch of events at work; outside of one, in the next turn of the loop."""
        if flushable.touched:
            return 0
        if self.first_touched is None and not self.in_batch:
            self.loop.call_soon(self._flush)
        flushable.touched = True
        self.gathers = max(self.gathers, flushable.gathers)
        flushable.next_touched = self.first_touched
        self.first_touched = flushable
        return 0

    cdef int flush_touched(self) except -1:
        """Some of them may touch others, or themselves, again."""
        cdef Flushable flushable
        self.gathers = NO_GATHERING
        while self.first_touched is not None:
            flushable = self.first_touched
            self.first_touched = flushable.next_touched
            flushable.next_touched = None
            flushable.touched = False
            try:
                flushable.on_batch_end()
            except BaseException as error:
                flushable.batch_end_failed(error)
        return 0

    def _flush(self) -> None:
        self.enter()
        self.flush_touched()

    cdef int run_turn(self) except -1:
        """Serve batch after batch until no event comes for `linger_ms`, or until TURN_MS have passed. Waiting here is cheaper under
        load than an iteration of the event loop. Returns the number of events served."""
        cdef epoll_event events[BATCH]
        cdef Place* place
        cdef Channel channel
        cdef int count, i, timeout = 0, served = 0
        cdef int64_t turn_over = monotonic_ms() + TURN_MS, now
        cdef bint paused = False
        self.hurried = False
        while self.epfd >= 0:
            with nogil:  # the wait may block
                count = epoll_wait(self.epfd, events, BATCH, timeout)
            if count < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, os.strerror(errno))
            self.batch_ns = monotonic_ns()
            now = <int64_t>(self.batch_ns // 1000000)
            self.now_ms = self.driven_ms if self.driven_ms else now
            self.in_batch = True
            for i in range(count):
                if i + 2 < count:              # what lies behind the channel is fetched one event later, when that is here
                    fetch_ahead(self.places[<uint32_t>events[i + 2].data.u64].channel)
                if i + 1 < count:
                    place = &self.places[<uint32_t>events[i + 1].data.u64]
                    if place.channel != NULL:
                        (<Channel>place.channel).foresee()
                place = &self.places[<uint32_t>events[i].data.u64]
                if place.channel == NULL or place.generation != events[i].data.u64 >> 32:
                    continue
                channel = <Channel>place.channel
                try:
                    channel.on_ready(events[i].events)
                except BaseException as error:
                    channel.fail(error)
            served += count
            if paused:
                pauses_judge(&self.pauses, self.gathers, count)
            elif (self.first_touched is not None and self.loaded and not self.hurried and self.epfd >= 0
                  and pauses_fit(&self.pauses, self.gathers, count)):
                with nogil:
                    pauses_sleep(&self.pauses, self.gathers)
                paused = True
                timeout = 0
                continue                       # with what has happened meanwhile
            if self.first_touched is not None:
                self.flush_touched()
            self.in_batch = False
            if self.leaving:
                release_left(self)
            if self.hurried or now >= turn_over or (count == 0 and not paused and (timeout or self.watched)):
                break
            paused = False
            timeout = self.linger_ms
        self.loaded = served >= LOADED_EVENTS
        pauses_turn_over(&self.pauses)
        return served

    def _tick(self) -> None:
        """Fire the timers that are due, have late channels watched, and schedule the next call while there are any of either."""
        self.tick_handle = None
        self.enter()
        self.fire()
        if self.late_count:
            self.watch_late()
        if (self.wheel.count or self.late_count) and self.tick_handle is None:
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
        self.enter()
        release_left(self)

    @property
    def pauses_made(self) -> int:
        """The number of pauses in which output has gathered so far."""
        return self.pauses.made

    @property
    def pause_ns(self) -> int:
        """The length of the next pause of output that gathers longer."""
        return self.pauses.longer_ns

    def close(self) -> None:
        """Stop. The owners must have closed their channels before. Safe to call twice."""
        if self.epfd < 0:
            return
        if self.watched:
            self.loop.remove_reader(self.epfd)
        if self.tick_handle is not None:
            self.tick_handle.cancel()
            self.tick_handle = None
        os.close(self.epfd)
        self.epfd = -1


cdef int release_left(Reactor reactor) except -1:
    """Release the channels that have left. What leaves meanwhile is released later."""
    cdef list gone = reactor.leaving
    cdef Channel channel
    reactor.leaving = []
    for item in gone:
        channel = <Channel>item
        channel.release()
    return 0
