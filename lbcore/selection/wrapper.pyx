"""The base class of wrappers, which change the weights by which a selector picks. No I/O.

A wrapper is a `Selector` and forwards the methods of the selector that it wraps. It acts when something changes: it then writes
other weights into the algorithm's `open` (see `Shaper`), from which the algorithm builds its tables. A pick therefore costs as
much as the algorithm's, plus a check whether a change is due. Wrappers can be nested, as in
`PanicThreshold(SlowStart(OutlierDetector(SmoothWRR(servers))))`. Changes may be made through any of them or through the algorithm;
picks and leases go through the outermost wrapper, otherwise changes that are due wait for `tick`. The rules of
`lbcore.selection.algorithm` about threads hold here.
"""

cimport cython
from libc.math cimport INFINITY

from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.lease cimport Lease
from lbcore.selection.algorithm cimport Algorithm, Shaper

STATE_VERSION = 1


cdef class Wrapper(Shaper):
    """The base class of wrappers. An algorithm has at most one chain of wrappers."""

    def __cinit__(self, *arguments, **named):
        self.due_s = INFINITY

    cdef int wrap(self, object selector, object clock) except -1:
        """Become the outermost wrapper. Constructors of subclasses call it after they have stored their own options.

        Raises TypeError if `selector` is none, ValueError if another wrapper is around it already.
        """
        cdef Algorithm base
        if isinstance(selector, Wrapper):
            self.within = selector
            base = self.within.base
        elif isinstance(selector, Algorithm):
            base = selector
        else:
            raise TypeError(f"a selector is needed, not {selector!r}")
        if base.shaper is not self.within:
            raise ValueError(f"{selector!r} is in another wrapper already: go around that one")
        self.selector = selector
        self.base = base
        self.clock = clock
        base.shaper = self
        return base.change()

    # What a wrapper implements

    cdef int reshape(self, Algorithm selector) except -1:
        """Change `selector.open`, which the inner wrappers have changed already. Sets `due_s`, and takes over `pending`."""
        return 0

    cdef int step(self, double now_s) except -1:
        """Do what was due at `due_s`, and set the next `due_s`."""
        self.due_s = INFINITY
        return self.base.change()

    cdef dict options(self):
        """The keyword arguments with which this wrapper was constructed."""
        return {}

    cdef dict own_state(self):
        """What `state` holds besides the state of the wrapped selector."""
        return {}

    # Time

    cdef double now(self) except? -1:
        return monotonic_ns() / 1e9 if self.clock is None else self.clock()

    cdef int shape(self, Algorithm selector) except -1:
        if self.within is not None:
            self.within.shape(selector)
        return self.reshape(selector)

    cdef int ahead(self) except -1:
        """Do what is due now, the inner wrappers first."""
        if self.within is not None:
            self.within.ahead()
        if self.due_s != INFINITY:
            self.ahead_to(self.now())
        return 0

    cdef int ahead_to(self, double now_s) except -1:
        if now_s >= self.due_s:
            with cython.critical_section(self.base):
                if now_s >= self.due_s:        # no other thread has done it meanwhile
                    self.step(now_s)
        return 0

    def tick(self, now: float | None = None) -> None:
        """`Selector.tick`. Needed only while no pick goes through this wrapper."""
        if self.within is not None:
            self.within.tick(now)
        self.ahead_to(self.now() if now is None else now)

    # Picking

    def pick(self, key=None, *, accept=None, exclude=()):
        """`Selector.pick`."""
        cdef Algorithm base = self.base
        cdef Py_ssize_t index
        self.ahead()
        with cython.critical_section(base):
            index = base.pick_index(key, accept, exclude, 1)
            base.picks[index] += 1
            return base.names[index]

    def pick_n(self, key=None, n: int = 1, *, accept=None, exclude=()) -> list:
        """`Selector.pick_n`."""
        self.ahead()
        return self.base.pick_n(key, n, accept=accept, exclude=exclude)

    def pick_many(self, wanted, out=None):
        """`Selector.pick_many`. Changes that become due meanwhile wait for its end."""
        self.ahead()
        return self.base.pick_many(wanted, out)

    def lease(self, key=None, *, accept=None, exclude=(), cost: int = 1):
        """`Selector.lease`."""
        cdef Lease lease
        self.ahead()
        lease = self.selector.lease(key, accept=accept, exclude=exclude, cost=cost)
        lease.selector = self
        return lease

    async def acquire(self, key=None, *, accept=None, exclude=(), cost: int = 1, timeout: float | None = None):
        """`Selector.acquire`."""
        if self.base.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return await self.base.limiter._wait(self, key, accept, exclude, cost, timeout)

    def acquire_blocking(self, key=None, *, accept=None, exclude=(), cost: int = 1, timeout: float | None = None):
        """`Selector.acquire_blocking`."""
        if self.base.limiter is None:
            return self.lease(key, accept=accept, exclude=exclude, cost=cost)
        return self.base.limiter._wait_blocking(self, key, accept, exclude, cost, timeout)

    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """`Selector.report`."""
        self.selector.report(server, latency_s=latency_s, ok=ok, kind=kind)

    def in_flight(self, server) -> int:
        """`Selector.in_flight`."""
        return self.base.in_flight(server)

    # Changing

    def add(self, server, weight: int = 1) -> None:
        """`Selector.add`."""
        self.base.add(server, weight)

    def remove(self, server) -> None:
        """`Selector.remove`."""
        self.base.remove(server)

    def set_weight(self, server, weight: int) -> None:
        """`Selector.set_weight`."""
        self.base.set_weight(server, weight)

    def set_up(self, server, up: bool = True) -> None:
        """`Selector.set_up`."""
        self.base.set_up(server, up)

    def is_up(self, server) -> bool:
        """`Selector.is_up`."""
        return self.base.is_up(server)

    def update(self, servers) -> None:
        """`Selector.update`."""
        self.base.update(servers)

    # The mapping

    def __len__(self) -> int:
        return len(self.base)

    def __contains__(self, server) -> bool:
        return server in self.base

    def __getitem__(self, server) -> int:
        return self.base[server]

    def get(self, server, default=None):
        """`Selector.get`."""
        return self.base.get(server, default)

    @property
    def servers(self) -> tuple:
        """`Selector.servers`."""
        return self.base.servers

    def values(self) -> tuple:
        """`Selector.values`."""
        return self.base.values()

    def items(self) -> tuple:
        """`Selector.items`."""
        return self.base.items()

    # State of servers

    def layer(self, kind: type):
        """`Selector.layer`."""
        return self if isinstance(self, kind) else self.selector.layer(kind)

    def share(self, server) -> float:
        """`Selector.share`."""
        self.ahead()
        return self.base.share(server)

    def latency_s(self, server) -> float | None:
        """`Selector.latency_s`."""
        return self.base.latency_s(server)

    @property
    def ejected(self) -> dict:
        """`Selector.ejected`."""
        return self.selector.ejected

    @property
    def panicking(self) -> bool:
        """`Selector.panicking`."""
        return self.selector.panicking

    def ramp(self, server) -> int:
        """`Selector.ramp`."""
        return self.selector.ramp(server)

    def stats(self) -> dict:
        """`Selector.stats`."""
        self.ahead()
        return self.base.statistics(self)

    def __eq__(self, other) -> bool:
        """Whether both are wrappers of the same class with the same options, around equal selectors."""
        if type(self) is not type(other):
            return NotImplemented
        return self.options() == (<Wrapper>other).options() and self.selector == (<Wrapper>other).selector

    __hash__ = None

    def __repr__(self) -> str:
        named = "".join(f", {name}={value!r}" for name, value in self.options().items())
        return f"{type(self).__name__}({self.selector!r}{named})"

    # State

    @property
    def algorithm(self) -> str:
        """`Selector.algorithm`."""
        return self.base.algorithm

    def state(self) -> dict:
        """`Selector.state`, and the wrapper's own; times are stored as ages."""
        cdef Algorithm base = self.base
        self.ahead()
        with cython.critical_section(base):
            return {
                "version": STATE_VERSION,
                "wrapper": type(self).__name__,
                "options": self.options(),
                "selector": self.selector.state(),
                **self.own_state(),
            }

    def restore(self, state: dict) -> None:
        """`Selector.restore`."""
        mine = {"version": STATE_VERSION, "wrapper": type(self).__name__, "options": self.options()}
        for name, value in mine.items():
            if state.get(name) != value:
                raise ValueError(f"the state of a wrapper with {name} {state.get(name)!r}: this one has {value!r}")
        self.pending = state
        try:
            self.selector.restore(state["selector"])
        finally:
            self.pending = None

    cdef dict all_options(self):
        """`options`, and what `state` leaves out: the clock, functions to call."""
        return self.options() if self.clock is None else {**self.options(), "clock": self.clock}

    def __reduce__(self):
        cdef Algorithm base = self.base
        cdef Wrapper wrapper = self
        kinds = []
        while wrapper is not None:
            kinds.append((type(wrapper), wrapper.all_options()))
            wrapper = wrapper.within
        return rebuilt, (type(base), base.options(), kinds[::-1], self.state())

    def __copy__(self):
        """`Selector.__copy__`."""
        build, arguments = self.__reduce__()
        return build(*arguments)

    def __deepcopy__(self, memo):
        return self.__copy__()


def rebuilt(base: type, options: dict, kinds: list, state: dict):
    """A selector with its wrappers, innermost first, made from their options and state, for pickle and copy."""
    found = base((), **options)
    for kind, settings in kinds:
        found = kind(found, **settings)
    found.restore(state)
    return found
