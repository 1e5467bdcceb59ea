"""A bound of what is in flight at each server, and a queue of requests that wait for room. No thread, no timer of its own.

A server at its bound is passed over by every pick; when all are, `lease` raises NoServerError, and `acquire` waits. What is freed is
given to the requests that wait before any other can take it, first come, first served: no request overtakes one that waits for any
server, however much room that one needs; one with `accept` or `exclude`, which waits for certain servers, is overtaken by requests
for others. The queue is bounded; a request that waits leaves it with a lease, an error, at the end of its time, or when its task is
cancelled: a lease that a cancelled task was just given goes to the next.
"""

cimport cython
from libc.stdint cimport uint64_t

from _thread import get_ident
from collections import OrderedDict

from lbcore.errors import NoServerError
from lbcore.selection.algorithm cimport Algorithm, checked_cost
from lbcore.selection.selector cimport Selector
from lbcore.selection.wrapper cimport Wrapper

MAX_LIMIT = 1 << 30


cdef object checked_limit(object limit):
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"what may be in flight at a server is an int, not {limit!r}")
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"what may be in flight at a server is between 1 and {MAX_LIMIT}, not {limit}")
    return limit


def wake(Waiter waiter) -> None:
    """Hand a task the outcome, in its loop's thread. A lease of a task that was cancelled meanwhile goes on to the next."""
    if waiter.future.done():
        if waiter.lease is not None:
            waiter.lease.forget()
    elif waiter.error is not None:
        waiter.future.set_exception(waiter.error)
    else:
        waiter.future.set_result(waiter.lease)


cdef class Waiter:
    """A request that waits for room."""

    cdef int settle(self, object lease, object error) except -1:
        """The outcome: a lease, or an error."""
        self.lease = lease
        self.error = error
        if self.event is not None:
            self.event.set()
        elif self.thread == get_ident():
            wake(self)
        else:
            try:
                self.loop.call_soon_threadsafe(wake, self)
            except RuntimeError:               # the loop is closed: its task is gone
                if lease is not None:
                    lease.forget()
        return 0


@cython.final
cdef class InFlightLimit(Wrapper):
    """InFlightLimit(selector, max_in_flight, *, max_waiting=1000)\n--\n\nBound what is in flight at each server; let requests wait for room.

    selector       a selector, or a wrapper; one limit is enough.
    max_in_flight  the sum of the costs of the requests under lease at a server, at most: an int for every server, or a mapping from
                   servers to ints; those that it does not name have no bound.
    max_waiting    requests that wait at once (1000); more are refused with NoServerError, and counted in `refused`.
    Picks pass over servers that are full; `lease` raises NoServerError where all are, `acquire` and `acquire_blocking` wait. A pick
    costs O(servers) at worst while a server is full. Leases count, wherever they were made; `report` does not.
    """

    def __init__(self, selector, max_in_flight, *, max_waiting: int = 1000):
        if isinstance(max_waiting, bool) or not isinstance(max_waiting, int):
            raise TypeError(f"max_waiting has to be an int, not {max_waiting!r}")
        if max_waiting < 0:
            raise ValueError(f"max_waiting has to be 0 at least, not {max_waiting}")
        if isinstance(max_in_flight, int):
            self.given = checked_limit(max_in_flight)
        else:
            self.given = {server: checked_limit(limit) for server, limit in dict(max_in_flight).items()}
        base = (<Wrapper>selector).base if isinstance(selector, Wrapper) else selector
        if isinstance(base, Algorithm) and (<Algorithm>base).limiter is not None:
            raise ValueError(f"{selector!r} has a limit already")
        self.max_waiting = max_waiting
        self.queue = OrderedDict()
        self.wrap(selector, None)
        self.base.limiter = self

    cdef int reshape(self, Algorithm selector) except -1:
        cdef Py_ssize_t i
        cdef object limit
        for i in range(selector.count):
            limit = self.given.get(selector.names[i], 0) if isinstance(self.given, dict) else self.given
            selector.limits[i] = limit
        return selector.weigh_full()

    def max_in_flight(self, server) -> int | None:
        """What may be in flight at a server; None = there is no bound. Raises KeyError."""
        cdef Algorithm base = self.base
        with cython.critical_section(base):
            return base.limits[base.find(server)] or None

    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
        return len(self.queue)

    # Waiting

    cdef int freed(self, Algorithm selector) except -1:
        if self.queue:
            self.serve()
        return 0

    cdef int serve(self) except -1:
        """Give what is free to the requests that wait. While it runs, further calls only have it look again."""
        cdef Algorithm base = self.base
        cdef Waiter waiter
        cdef bint kept
        with cython.critical_section(base):
            self.again = True
            if self.serving:
                return 0
            self.serving = True
            try:
                while self.again:
                    self.again = False
                    kept = False
                    for waiter in list(self.queue):
                        if waiter not in self.queue:
                            continue
                        base.reserved = False
                        lease = error = None
                        try:
                            try:
                                lease = waiter.selector.lease(
                                    waiter.key, accept=waiter.accept, exclude=waiter.exclude, cost=waiter.cost)
                            except NoServerError as failure:
                                if not self.in_vain(waiter):
                                    if waiter.restricted:
                                        continue
                                    kept = True
                                    break
                                error = failure
                        except Exception as failure:       # of `accept`, of a server's own code, or a key that is none
                            error = failure
                        if self.queue.pop(waiter, self) is self:
                            if lease is not None:          # cancelled, or out of time, while `accept` ran
                                lease.forget()
                        else:
                            waiter.settle(lease, error)
                    base.reserved = kept
            finally:
                self.serving = False
        return 0

    cdef bint in_vain(self, Waiter waiter) except -1:
        """Whether no server would do even if nothing were in flight. Asked anew when something has changed."""
        cdef Algorithm base = self.base
        cdef Py_ssize_t i
        if waiter.looked_at and waiter.changes == base.changes:
            return False
        waiter.looked_at = True
        waiter.changes = base.changes
        for i in range(base.count):
            if base.changes != waiter.changes:
                waiter.looked_at = False
                return False
            if base.open[i] and (base.limits[i] == 0 or base.limits[i] >= waiter.cost):
                server = base.names[i]
                if server not in waiter.exclude and (waiter.accept is None or waiter.accept(server)):
                    return False
        return True

    cdef int join(self, Waiter waiter, object timeout) except -1:
        """Take a place in the queue; a request that need not wait has its outcome at once."""
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
            raise TypeError(f"a timeout has to be a number of seconds, not {timeout!r}")
        with cython.critical_section(self.base):
            # Where there is a free place at once, it does not have to be one in the queue.
            if len(self.queue) >= max(self.max_waiting, <Py_ssize_t>1):
                self.refused += 1
                raise NoServerError(f"{len(self.queue)} requests wait for one of {self.base.count} servers already")
            self.queue[waiter] = None
            self.serve()
            if self.max_waiting == 0 and waiter in self.queue:
                self.leave_queue(waiter)
                self.refused += 1
                raise NoServerError(f"none of {self.base.count} servers has room, and no request may wait")
        return 0

    cdef int leave_queue(self, Waiter waiter) except -1:
        """Give up waiting. Those behind may have waited for this one only."""
        with cython.critical_section(self.base):
            if self.queue.pop(waiter, self) is not self:
                self.serve()
                if not self.queue:
                    self.base.reserved = False
        return 0

    def _expire(self, Waiter waiter, timeout) -> None:
        if waiter in self.queue:
            self.leave_queue(waiter)
            self.timed_out += 1
            waiter.settle(None, TimeoutError(f"no server had room for {timeout} s"))

    async def _wait(self, Selector selector, key, accept, exclude, cost, timeout):
        """`acquire`, through a selector around this limit or within."""
        from asyncio import get_running_loop

        cdef Waiter waiter = self.waiter(selector, key, accept, exclude, cost)
        waiter.loop = get_running_loop()
        waiter.future = waiter.loop.create_future()
        waiter.thread = get_ident()
        self.join(waiter, timeout)
        if waiter.error is not None:
            waiter.future.exception()          # it is raised here
            raise waiter.error
        if waiter.lease is not None:
            return waiter.lease
        timer = None if timeout is None else waiter.loop.call_later(max(timeout, 0), self._expire, waiter, timeout)
        try:
            return await waiter.future
        except BaseException:
            self.give_up(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _wait_blocking(self, Selector selector, key, accept, exclude, cost, timeout):
        """`acquire_blocking`, through a selector around this limit or within."""
        from threading import Event

        cdef Waiter waiter = self.waiter(selector, key, accept, exclude, cost)
        waiter.event = Event()
        self.join(waiter, timeout)
        try:
            if not waiter.event.wait(timeout):
                self._expire(waiter, timeout)
                waiter.event.wait()            # now it has an outcome, or is about to
        except BaseException:
            self.leave_queue(waiter)
            if waiter.lease is not None:
                waiter.lease.forget()
            raise
        if waiter.error is not None:
            raise waiter.error
        return waiter.lease

    cdef Waiter waiter(self, Selector selector, object key, object accept, object exclude, object cost):
        cdef Waiter waiter = Waiter()
        waiter.selector = selector
        waiter.key = key
        waiter.accept = accept
        waiter.exclude = (exclude,) if isinstance(exclude, (str, bytes)) else exclude
        waiter.cost = checked_cost(cost)
        waiter.restricted = accept is not None or exclude != ()
        return waiter

    cdef int give_up(self, Waiter waiter) except -1:
        """The task is cancelled: what it was given, or waited for, is for others."""
        self.leave_queue(waiter)
        if waiter.lease is not None:
            waiter.lease.forget()
        return 0

    cdef dict options(self):
        given = [[server, limit] for server, limit in self.given.items()] if isinstance(self.given, dict) else self.given
        return {"max_in_flight": given, "max_waiting": self.max_waiting}
