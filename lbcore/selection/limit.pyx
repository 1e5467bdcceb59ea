"""A limit of what is in flight at each server, and a queue of requests that wait for room. No thread, no timer of its own.

Every pick passes over servers at their limit; when all servers are, `lease` raises NoServerError and `acquire` waits. Capacity that
becomes free goes to the waiting requests first, in the order of arrival. No request overtakes one that waits for any server, however
much room that needs; a request with `accept` or `exclude`, which waits for certain servers, is overtaken by requests for others. The
queue is bounded. A request leaves it with a lease, with an error, at its timeout, or when its task is cancelled; a lease that was
given to a task in the moment of its cancellation goes to the next request.
"""

cimport cython

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
    """Give a task its outcome, in the thread of its loop. The lease of a task that was cancelled meanwhile goes to the next request."""
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
        """Store the outcome, a lease or an error, and wake the task or thread."""
        self.lease = lease
        self.error = error
        if self.event is not None:
            self.event.set()
        elif self.thread == get_ident():
            wake(self)
        else:
            try:
                self.loop.call_soon_threadsafe(wake, self)
            except RuntimeError:               # the loop is closed, and its task with it
                if lease is not None:
                    lease.forget()
        return 0


@cython.final
cdef class InFlightLimit(Wrapper):
    """InFlightLimit(selector, max_in_flight, *, max_waiting=1000)\n--\n\nLimit what is in flight at each server, and let requests wait for room.

    selector       a selector, or a wrapper, without another limit.
    max_in_flight  the highest sum of the costs of the requests under lease at a server: an int for every server, or a mapping from
                   servers to ints; servers that it does not name have no limit.
    max_waiting    requests that may wait at once (1000); more are refused with NoServerError, and counted in `refused`.
    Picks pass over servers that are full; when all are, `lease` raises NoServerError, `acquire` and `acquire_blocking` wait. While a
    server is full, a pick costs O(servers) at worst. Leases count, through whichever wrapper they were made; `report` does not.
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
        """The limit of a server; None = it has none. Raises KeyError."""
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
        """Give free capacity to the waiting requests. A call while another one runs only makes that one look again."""
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
                        except Exception as failure:       # of `accept`, of a server's own code, or for an invalid key
                            error = failure
                        if self.queue.pop(waiter, self) is self:
                            if lease is not None:          # the request was cancelled, or timed out, while `accept` ran
                                lease.forget()
                        else:
                            waiter.settle(lease, error)
                    base.reserved = kept
            finally:
                self.serving = False
        return 0

    cdef bint in_vain(self, Waiter waiter) except -1:
        """Whether no server could take the request even if nothing were in flight. Evaluated anew after each change."""
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
        """Enter the queue; a request that need not wait gets its outcome at once. Raises NoServerError, or TypeError for a timeout."""
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, (int, float))):
            raise TypeError(f"a timeout has to be a number of seconds, not {timeout!r}")
        with cython.critical_section(self.base):
            # With max_waiting=0 a request may enter for the time of this call: it may get a server without waiting.
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
        """Take a request out of the queue, and serve those behind it, which may have waited only for it."""
        with cython.critical_section(self.base):
            if self.queue.pop(waiter, self) is not self:
                self.serve()
                if not self.queue:
                    self.base.reserved = False
        return 0

    def _expire(self, Waiter waiter, timeout) -> None:
        """End the wait of a request with TimeoutError, unless it has its outcome."""
        if waiter in self.queue:
            self.leave_queue(waiter)
            self.timed_out += 1
            waiter.settle(None, TimeoutError(f"no server had room for {timeout} s"))

    async def _wait(self, Selector selector, key, accept, exclude, cost, timeout):
        """`acquire`, through this limit, a wrapper around it or a selector inside."""
        from asyncio import get_running_loop

        cdef Waiter waiter = self.waiter(selector, key, accept, exclude, cost)
        waiter.loop = get_running_loop()
        waiter.future = waiter.loop.create_future()
        waiter.thread = get_ident()
        self.join(waiter, timeout)
        if waiter.error is not None:
            waiter.future.exception()          # mark it as retrieved: it is raised here
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
        """`acquire_blocking`, through this limit, a wrapper around it or a selector inside."""
        from threading import Event

        cdef Waiter waiter = self.waiter(selector, key, accept, exclude, cost)
        waiter.event = Event()
        self.join(waiter, timeout)
        try:
            if not waiter.event.wait(timeout):
                self._expire(waiter, timeout)
                waiter.event.wait()            # the outcome is there, or another thread is about to set it
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
        """End the wait of a cancelled task; a lease that it was given goes to the next request."""
        self.leave_queue(waiter)
        if waiter.lease is not None:
            waiter.lease.forget()
        return 0

    cdef dict options(self):
        given = [[server, limit] for server, limit in self.given.items()] if isinstance(self.given, dict) else self.given
        return {"max_in_flight": given, "max_waiting": self.max_waiting}
