"""What is around a selector and changes with which weight its servers may be picked. No I/O.

A wrapper has the methods of the selector that it is around, and passes them on. It acts when something changes: then it writes
other weights into the selector's `open` (see `Shaper`), and the algorithm builds what it needs from these. So a pick costs what
the selector's does, and a look at whether time has made a change due. Wrappers go around wrappers, e.g.
`PanicThreshold(SlowStart(OutlierDetector(SmoothWRR(servers))))`. Changes may be made at any of them, or at the selector; picks and
leases go through the outermost, or time stands still until `tick`. What is written on Selector about threads holds here.
"""

cimport cython
from libc.math cimport INFINITY

from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.selector cimport Selector, Shaper

STATE_VERSION = 1


cdef class Wrapper(Shaper):
    """The base of wrappers. A selector has one chain of them."""

    def __cinit__(self, *arguments, **named):
        self.due_s = INFINITY

    cdef int wrap(self, object selector, object clock) except -1:
        """Begin. For constructors of subclasses, once their own settings are made."""
        cdef Selector base
        if isinstance(selector, Wrapper):
            self.within = selector
            base = self.within.base
        elif isinstance(selector, Selector):
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

    cdef int reshape(self, Selector selector) except -1:
        """Change `open`, in which the wrappers within have had their say. Sets `due_s`, and takes over `pending`."""
        return 0

    cdef int step(self, double now_s) except -1:
        """It is time. Sets `due_s`."""
        self.due_s = INFINITY
        return self.base.change()

    cdef dict options(self):
        """Keyword arguments that make such a wrapper."""
        return {}

    cdef dict own_state(self):
        """What `state` holds beyond that of what is within."""
        return {}

    # Time

    cdef double now(self) except? -1:
        return monotonic_ns() / 1e9 if self.clock is None else self.clock()

    cdef int shape(self, Selector selector) except -1:
        if self.within is not None:
            self.within.shape(selector)
        return self.reshape(selector)

    cdef int ahead(self) except -1:
        """Do what is due."""
        if self.within is not None:
            self.within.ahead()
        if self.due_s != INFINITY:
            self.ahead_to(self.now())
        return 0

    cdef int ahead_to(self, double now_s) except -1:
        if now_s >= self.due_s:
            with cython.critical_section(self.base):
                if now_s >= self.due_s:        # nobody else did it meanwhile
                    self.step(now_s)
        return 0

    def tick(self, now: float | None = None) -> None:
        """Do what is due at `now`, in the clock's seconds; None = by the clock. Only needed while nobody picks through it."""
        if self.within is not None:
            self.within.tick(now)
        self.ahead_to(self.now() if now is None else now)

    # Picking

    def pick(self, key=None, *, accept=None, exclude=()):
        """`Selector.pick`."""
        cdef Selector base = self.base
        self.ahead()
        with cython.critical_section(base):
            return base.names[base.pick_index(key, accept, exclude)]

    def pick_n(self, key=None, n: int = 1, *, accept=None, exclude=()) -> list:
        """`Selector.pick_n`."""
        self.ahead()
        return self.base.pick_n(key, n, accept=accept, exclude=exclude)

    def pick_many(self, wanted, out=None):
        """`Selector.pick_many`. What becomes due meanwhile waits for its end."""
        self.ahead()
        return self.base.pick_many(wanted, out)

    def lease(self, key=None, *, accept=None, exclude=()):
        """`Selector.lease`."""
        self.ahead()
        return self.selector.lease(key, accept=accept, exclude=exclude)

    def report(self, server, **outcome) -> None:
        """`Selector.report`."""
        self.selector.report(server, **outcome)

    def in_flight(self, server) -> int:
        return self.base.in_flight(server)

    # Changing

    def add(self, server, weight: int = 1) -> None:
        self.base.add(server, weight)

    def remove(self, server) -> None:
        self.base.remove(server)

    def set_weight(self, server, weight: int) -> None:
        self.base.set_weight(server, weight)

    def set_up(self, server, up: bool = True) -> None:
        self.base.set_up(server, up)

    def is_up(self, server) -> bool:
        """What `set_up` said; a wrapper may see it otherwise, see `share`."""
        return self.base.is_up(server)

    def share(self, server) -> float:
        """The part of all picks that is meant for a server as things stand, 0 to 1: after health, ramps, ejections. Raises KeyError."""
        cdef Selector base = self.base
        cdef Py_ssize_t i, index
        cdef double total = 0
        self.ahead()
        with cython.critical_section(base):
            index = base.find(server)
            for i in range(base.count):
                total += base.open[i]
            return base.open[index] / total if total else 0.0

    # The mapping

    def __len__(self) -> int:
        return len(self.base)

    def __contains__(self, server) -> bool:
        return server in self.base

    def __iter__(self):
        return iter(self.base)

    def __getitem__(self, server) -> int:
        return self.base[server]

    def __setitem__(self, server, weight: int) -> None:
        self.base[server] = weight

    def __delitem__(self, server) -> None:
        del self.base[server]

    def get(self, server, default=None):
        return self.base.get(server, default)

    @property
    def servers(self) -> tuple:
        return self.base.servers

    def keys(self) -> tuple:
        return self.base.keys()

    def values(self) -> tuple:
        return self.base.values()

    def items(self) -> tuple:
        return self.base.items()

    def __eq__(self, other) -> bool:
        """Whether it is the same kind with the same settings, around selectors that are equal."""
        if type(self) is not type(other):
            return NotImplemented
        return self.options() == (<Wrapper>other).options() and self.selector == (<Wrapper>other).selector

    __hash__ = None

    def __repr__(self) -> str:
        named = "".join(f", {name}={value!r}" for name, value in self.options().items())
        return f"{type(self).__name__}({self.selector!r}{named})"

    def __class_getitem__(cls, item):
        return cls

    # State

    @property
    def algorithm(self) -> str:
        """The name of the selector's class."""
        return self.base.algorithm

    def state(self) -> dict:
        """That of the selector, and what the wrapper knows; times are kept as ages. For `restore`."""
        cdef Selector base = self.base
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
        """Take over what `state` of such a wrapper gave. Raises ValueError for the state of another one."""
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
        return self.options() if self.clock is None else {**self.options(), "clock": self.clock}

    def __reduce__(self):
        cdef Selector base = self.base
        cdef Wrapper wrapper = self
        kinds = []
        while wrapper is not None:
            kinds.append((type(wrapper), wrapper.all_options()))
            wrapper = wrapper.within
        return rebuilt, (type(base), base.options(), kinds[::-1], self.state())

    def __copy__(self):
        build, arguments = self.__reduce__()
        return build(*arguments)

    def __deepcopy__(self, memo):
        return self.__copy__()


def rebuilt(base: type, options: dict, kinds: list, state: dict):
    """A selector in its wrappers, the innermost first, made from their state, for pickle and copy."""
    found = base((), **options)
    for kind, settings in kinds:
        found = kind(found, **settings)
    found.restore(state)
    return found
