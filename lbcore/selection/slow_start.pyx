"""Slow start: the weight of a new server ramps up. No I/O.

    weight * max(min_weight_percent / 100, (age / window) ** (1 / aggression))

as Envoy does (slow start mode of its round robin and least request policies). Vectors with a window of 60 s and 10 %: at 1 s
10 %, at 15 s 25 %, at 30 s 50 %; with aggression 2 at 15 s 50 %.

Weights rise in whole percents, at most 20 times in a window however many servers ramp up, because each rise makes the algorithm
rebuild its tables. During a ramp all weights are multiplied by 100, so that 1 % of a weight of 1 is a whole number; weights above
10 million are rounded instead. After the last ramp the weights are the original ones.
"""

cimport cython
from libc.math cimport INFINITY, pow, round

from lbcore.selection.algorithm cimport Algorithm
from lbcore.selection.wrapper cimport Wrapper

cdef enum:
    STEPS = 20
    WHOLE = 100
    LARGEST = (1 << 30) // 100


@cython.final
cdef class SlowStart(Wrapper):
    """SlowStart(selector, window_s=30.0, aggression=1.0, min_weight_percent=10, clock=None)\n--\n\nRamp up the weights of new servers.

    selector            a selector, or a wrapper. Selectors that choose by a key are refused: a ramp would move keys back and forth.
    window_s            seconds from the least weight to the full one.
    aggression          above 1: faster at first, below 1: slower.
    min_weight_percent  of the weight at the start, 1 to 100.
    clock               a function that returns seconds; None = the monotonic clock.
    A server is new when it is added, when `set_up` allows it again, when an inner wrapper ends its ejection, and when its weight is
    no longer 0. The servers that are there when SlowStart is constructed are not new. A pick costs some ns more than the selector's,
    and during a ramp a reading of the clock.
    """

    def __init__(self, selector, window_s: float = 30.0, aggression: float = 1.0, min_weight_percent: int = 10, clock=None):
        for name, value in (("window_s", window_s), ("aggression", aggression)):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} has to be a number, not {value!r}")
        if not 0 < window_s < 1e9:
            raise ValueError(f"the window has to be more than 0 s, not {window_s!r}")
        if not 0 < aggression < 1e6:
            raise ValueError(f"the aggression has to be above 0, not {aggression!r}")
        if isinstance(min_weight_percent, bool) or not isinstance(min_weight_percent, int):
            raise TypeError(f"the least weight is a whole number of percent, not {min_weight_percent!r}")
        if not 1 <= min_weight_percent <= WHOLE:
            raise ValueError(f"the least weight has to be between 1 and 100 percent, not {min_weight_percent}")
        base = (<Wrapper>selector).base if isinstance(selector, Wrapper) else selector
        if isinstance(base, Algorithm) and (<Algorithm>base).keyed:
            raise TypeError(f"{type(base).__name__} chooses by a key: a ramp would move keys back and forth")
        self.window_s = window_s
        self.aggression = aggression
        self.min_weight_percent = min_weight_percent
        self.started_s = None
        self.wrap(selector, clock)

    cdef int percent(self, double age_s) noexcept:
        """The percentage of its weight that a server gets at an age."""
        if age_s >= self.window_s:
            return WHOLE
        return max(self.min_weight_percent, <int>round(WHOLE * pow(max(age_s, 0.001) / self.window_s, 1 / self.aggression)))

    cdef int reshape(self, Algorithm selector) except -1:
        cdef double now_s = self.now()
        cdef dict before = self.started_s, started = {}
        cdef Py_ssize_t i
        cdef int percent
        cdef unsigned int largest = 0
        cdef bint ramping = False
        if self.pending is not None:
            ages = {server: age_s for server, age_s in self.pending["ages_s"]}
            before = {selector.epochs[i]: now_s - ages[server] if server in ages else -INFINITY
                      for i, server in enumerate(selector.names)}
        for i in range(selector.count):
            if selector.open[i]:
                since_s = -INFINITY if before is None else before.get(selector.epochs[i], now_s)
                started[selector.epochs[i]] = since_s
                ramping |= now_s - <double>since_s < self.window_s
                largest = max(largest, selector.open[i])
        self.started_s = started
        self.due_s = INFINITY
        if ramping:
            self.due_s = now_s + self.window_s / STEPS
            for i in range(selector.count):
                if selector.open[i]:
                    percent = self.percent(now_s - <double>started[selector.epochs[i]])
                    if largest <= LARGEST:
                        selector.open[i] *= percent
                    else:
                        selector.open[i] = max(1, <unsigned long long>selector.open[i] * percent // WHOLE)
        return 0

    def ramp(self, server) -> int:
        """`Selector.ramp`."""
        cdef Algorithm base = self.base
        with cython.critical_section(base):
            since_s = self.started_s.get(base.epochs[base.find(server)])
            return 0 if since_s is None else self.percent(self.now() - <double>since_s)

    cdef dict options(self):
        return {"window_s": self.window_s, "aggression": self.aggression, "min_weight_percent": self.min_weight_percent}

    cdef dict own_state(self):
        cdef Algorithm base = self.base
        cdef double now_s = self.now()
        ages = []
        for i, server in enumerate(base.names):
            since_s = self.started_s.get(base.epochs[<Py_ssize_t>i])
            if since_s is not None and now_s - <double>since_s < self.window_s:
                ages.append([server, now_s - <double>since_s])
        return {"ages_s": ages}
