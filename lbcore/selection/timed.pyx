"""The base class of selectors that choose by latency. No I/O."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.drawn cimport Drawn


cdef uint64_t positive_ns(str name, object seconds) except? 0:
    """Seconds as ns. Raises TypeError or ValueError unless they are a number from a microsecond to a day."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} has to be a number of seconds, not {seconds!r}")
    if not 1e-6 <= seconds <= 86400:
        raise ValueError(f"{name} has to be between a microsecond and a day, not {seconds!r} seconds")
    return <uint64_t>int(seconds * 1e9)


cdef bint is_slow(object seconds):
    """Whether averages that decay over this time may be compared by a clock that is some ms late."""
    return seconds >= 1


cdef class Timed(Drawn):
    """The base class of selectors that choose by latency. Averages are part of the state, with their age."""

    cdef void came(self, Py_ssize_t index) noexcept nogil:
        self.loads[index].tried_ns = max(self.now_ns(), <uint64_t>1)

    @cython.critical_section
    def set_time(self, now_s: float | None) -> None:
        """Set the time, for simulations: it stays at `now_s` seconds until the next call. None: the system's clock again.

        Averages keep their age when the clock changes. Raises ValueError for a time below 0 or above 1e9.
        """
        cdef uint64_t before = self.now_ns(), after
        cdef bint manual = now_s is not None
        if manual and not 0 <= now_s <= 1e9:
            raise ValueError(f"{now_s!r} is no time in seconds")
        after = <uint64_t>int(now_s * 1e9) if manual else monotonic_ns()
        self.quiesce()
        if manual != self.manual:
            self.shift(after - before)
            self.sweep.due_ns = 0
        self.manual = manual
        self.manual_ns = after

    cdef int shift(self, uint64_t by_ns) except -1:
        """Add `by_ns` to all stored times."""
        cdef Py_ssize_t i
        for i in range(self.count):
            self.loads[i].latency_at_ns += by_ns
            self.loads[i].tried_ns += by_ns
        return 0

    cdef dict extra_state(self):
        cdef uint64_t now = self.now_ns()
        cdef Py_ssize_t i
        cdef list latencies = [
            [self.loads[i].latency_ewma_ns, max(0, <int64_t>(now - self.loads[i].latency_at_ns))]
            if self.loads[i].latency_ewma_ns else None for i in range(self.count)
        ]
        return {
            "latencies": latencies, "time_ns": self.manual_ns if self.manual else None,
            "tried": [max(0, <int64_t>(now - self.loads[i].tried_ns)) for i in range(self.count)],
            "sweep": [max(0, <int64_t>(self.sweep.due_ns - now)), self.sweep.at, self.sweep.left, self.sweep.rest],
        }

    cdef int restore_extra(self, dict state) except -1:
        cdef uint64_t now
        cdef Py_ssize_t i
        self.manual = state["time_ns"] is not None
        if self.manual:
            self.manual_ns = state["time_ns"]
        now = self.now_ns()
        due_ns, self.sweep.at, self.sweep.left, self.sweep.rest = state["sweep"]
        self.sweep.due_ns = now + <uint64_t>due_ns
        for i in range(self.count):
            self.loads[i].tried_ns = now - <uint64_t>state["tried"][i]
            found = state["latencies"][i]
            if found is not None:
                self.loads[i].latency_ewma_ns = found[0]
                self.loads[i].latency_at_ns = now - <uint64_t>found[1]
        return 0
