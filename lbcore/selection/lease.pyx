"""A request under way at a server: counted there until the lease ends. No I/O."""

cimport cython
from libc.stdint cimport uint64_t

from lbcore.selection.atomic cimport atomic_add_u64
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.selector cimport Selector


@cython.final
cdef class Lease:
    """A request under way at a server. Made by `Selector.lease`; a context manager, plain or asynchronous, once."""

    def __cinit__(self, Selector selector, key, accept, exclude):
        cdef Py_ssize_t index
        with cython.critical_section(selector):
            index = selector.pick_index(key, accept, exclude)
            self.selector = selector
            self.server = selector.names[index]
            self.epoch = selector.epochs[index]
            atomic_add_u64(&selector.loads[index].in_flight, 1)
            atomic_add_u64(&selector.in_flight_total, 1)
        self.started_ns = monotonic_ns()

    def __enter__(self):
        return self.server

    def __exit__(self, kind, error, traceback) -> None:
        self.settle(kind)

    async def __aenter__(self):
        return self.server

    async def __aexit__(self, kind, error, traceback) -> None:
        self.settle(kind)

    cdef int settle(self, object kind) except -1:
        """The block is left. What is no Exception, such as a cancellation, tells nothing about the server."""
        if kind is None or issubclass(kind, Exception):
            self.end(ok=kind is None)
        else:
            self.forget()
        return 0

    def end(self, *, ok: bool = True, latency_s: float | None = None, kind: str = "error") -> None:
        """The request is over. `latency_s`: in seconds; None = the time since the lease began. A second call does nothing.

        `kind` of failure is for an OutlierDetector, whose leases have the same methods.
        """
        cdef uint64_t latency_ns = monotonic_ns() - self.started_ns
        if latency_s is not None:
            latency_ns = <uint64_t>max(0, int(latency_s * 1e9))
        self.close(max(latency_ns, <uint64_t>1), ok, True)

    cdef int close(self, uint64_t latency_ns, bint ok, bint tell) except -1:
        """Count the request no longer. A server that was taken out meanwhile, or is another one by now, is left alone."""
        cdef Selector selector = self.selector
        cdef Py_ssize_t index
        with cython.critical_section(selector):
            if self.ended:
                return 0
            self.ended = True
            try:
                index = selector.find(self.server)
            except KeyError:
                return 0
            if selector.epochs[index] != self.epoch:
                return 0
            atomic_add_u64(&selector.loads[index].in_flight, <uint64_t>-1)
            atomic_add_u64(&selector.in_flight_total, <uint64_t>-1)
            if tell:
                selector.note_end(index, latency_ns, ok, monotonic_ns())
        return 0

    def __del__(self):
        # A lease that nobody ended was of no use to tell how the server is.
        if self.selector is not None and not self.ended:
            self.forget()

    def forget(self) -> None:
        """End without a report: the request tells nothing about the server."""
        self.close(0, False, False)

    def __repr__(self) -> str:
        return f"<Lease of {self.server!r}{', ended' if self.ended else ''}>"
