"""Leases: a request counts as in flight at its server until its lease ends. No I/O."""

cimport cython
from libc.stdint cimport uint64_t

from lbcore.selection.algorithm cimport Algorithm, Shaper, checked_cost
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.flag cimport checked_flag

KINDS = ("error", "gateway", "local")


cdef int checked_kind(object kind) except -1:
    """Raise ValueError if `kind` is not one of KINDS."""
    if kind not in KINDS:
        raise ValueError(f"no kind of failure is named {kind!r}: one of {', '.join(KINDS)}")
    return 0


def kind_of(error: BaseException) -> str:
    """`local` if this machine raised the exception (refused, reset, timed out), else `error`."""
    return "local" if isinstance(error, (ConnectionError, TimeoutError)) else "error"


@cython.final
cdef class Lease:
    """A request in flight at a server. `Selector.lease` makes it; it is a context manager, plain or asynchronous, to be used once."""

    def __cinit__(self, Algorithm selector, key, accept, exclude, cost):
        cdef Py_ssize_t index
        self.ended = True                      # until a server has been occupied there is nothing to give back
        self.cost = checked_cost(cost)
        with cython.critical_section(selector):
            if selector.reserved:
                raise selector.no_server()
            index = selector.pick_index(key, accept, exclude, self.cost)
            self.selector = self.base = selector
            self.server = selector.names[index]
            self.epoch = selector.epochs[index]
            selector.occupy(index, self.cost)
            self.ended = False
        self.started_ns = monotonic_ns()

    cdef int watch(self, Shaper watcher, object note) except -1:
        """Call `watcher.lease_over`, with this note, when the request ends."""
        if self.watchers is None:
            self.watchers = []
        self.watchers.append((watcher, note))
        return 0

    def __enter__(self):
        return self.server

    def __exit__(self, kind, error, traceback) -> None:
        self.settle(kind, error)

    async def __aenter__(self):
        return self.server

    async def __aexit__(self, kind, error, traceback) -> None:
        self.settle(kind, error)

    cdef int settle(self, object kind, object error) except -1:
        """End the lease when its block is left. A BaseException, such as a cancellation, says nothing about the server."""
        if kind is None:
            self.end()
        elif issubclass(kind, Exception):
            self.end(ok=False, kind=kind_of(error))
        else:
            self.forget()
        return 0

    def end(self, *, ok: bool = True, latency_s: float | None = None, kind: str = "error") -> None:
        """End the lease and report the outcome of its request. A second call does nothing.

        latency_s  in seconds; None = the time since the lease began.
        kind       of a failure: `error` (a failing answer, as 500), `gateway` (as 502, 503, 504), `local` (no answer: refused,
                   reset, timed out). OutlierDetector distinguishes them.
        Raises ValueError for another kind.
        """
        cdef uint64_t latency_ns = monotonic_ns() - self.started_ns
        checked_kind(kind)
        checked_flag("ok", ok)
        if latency_s is not None:
            latency_ns = <uint64_t>max(0, int(latency_s * 1e9))
        if self.finish(max(latency_ns, <uint64_t>1), ok, True) and self.watchers is not None:
            for watcher, note in self.watchers:
                (<Shaper>watcher).lease_over(self.server, note, ok, kind)

    cdef bint finish(self, uint64_t latency_ns, bint ok, bint tell) except -1:
        """Stop counting the request at its server, unless that was removed meanwhile, or removed and added again.

        tell  whether the algorithm learns the latency and the outcome.
        Returns whether this was the first call.
        """
        cdef Algorithm selector = self.base
        cdef Py_ssize_t index
        with cython.critical_section(selector):
            if self.ended:
                return False
            self.ended = True
            try:
                index = selector.find(self.server)
            except KeyError:
                return True
            if selector.epochs[index] != self.epoch:
                return True
            selector.vacate(index, self.cost)
            if tell:
                selector.note_end(index, latency_ns, ok, monotonic_ns())
            if selector.limiter is not None:
                selector.limiter.freed(selector)
        return True

    def __del__(self):
        # A lease that was dropped without `end` says nothing about the server.
        if self.base is not None and not self.ended:
            self.forget()

    def forget(self) -> None:
        """End the lease without a report, because the request says nothing about the server."""
        self.finish(0, False, False)

    def __class_getitem__(cls, item):
        """The class itself: `Lease[str]` is for annotations."""
        return cls

    def __repr__(self) -> str:
        return f"<Lease of {self.server!r}{', ended' if self.ended else ''}>"
