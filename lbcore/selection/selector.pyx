"""The interface of everything that picks, algorithms and wrappers around them. No I/O.

`Algorithm` and `Wrapper` implement all of it; methods that follow from others are implemented here.
"""

Key = str | bytes | int                # the types of keys


cdef object missing(object selector, str method):
    """The exception for a method that a subclass does not implement."""
    return NotImplementedError(f"{type(selector).__name__} has no {method}")


cdef class Selector:
    """Selector()\n--\n\nServers with weights, and `pick`: the type for annotations and `isinstance`.

    A selector is a mapping from servers, which are any hashable objects, to weights. It is either an algorithm, such as
    `SmoothWRR`, or a wrapper around a selector, such as `SlowStart`. All have the methods of this class.
    """

    # Picking

    def pick(self, key=None, *, accept=None, exclude=()):
        """The server for the next request.

        key      str, bytes or int (64 bits); for selectors that choose by a key: the same key, the same server.
        accept   a function; servers for which it is false are passed over.
        exclude  servers that are passed over, in any container; a str or bytes is one server.
        Raises NoServerError when no server may be picked, TypeError when a key is needed and there is none.
        """
        raise missing(self, "pick")

    def pick_n(self, key=None, n: int = 1, *, accept=None, exclude=()) -> list:
        """`n` different servers for a key: the first choice, then the servers that take over, in order. Fewer if there are fewer."""
        raise missing(self, "pick_n")

    def pick_many(self, wanted, out=None):
        """Many picks at once, without the GIL: indexes into `servers`, as 32-bit numbers.

        wanted  how many; for selectors that choose by a key: the keys, or a buffer of hashes of 64 bits each (`hash_of`).
        out     a writable buffer of 32-bit unsigned numbers, at least as many; None makes an `array.array`.
        Returns the buffer. Raises NoServerError when no server may be picked.
        """
        raise missing(self, "pick_many")

    def lease(self, key=None, *, accept=None, exclude=(), cost: int = 1):
        """Pick a server and count a request to it as in flight until the lease ends: `with lb.lease() as server:`.

        cost  the weight of the request, 1 to 2**30: its tokens, its bytes, its share of a batch.
        The duration of the block is the request's latency; an exception in the block is a failure. Raises what `pick` raises.
        """
        raise missing(self, "lease")

    async def acquire(self, key=None, *, accept=None, exclude=(), cost: int = 1, timeout: float | None = None):
        """`lease`, waiting for room if an InFlightLimit bounds what is in flight: `async with await lb.acquire() as server:`.

        timeout  seconds to wait at most; None = as long as it takes.
        Requests are served in the order of arrival, see InFlightLimit. Raises NoServerError when no server could ever take the
        request or when too many requests wait, and TimeoutError after `timeout`. A cancelled task gives up its place.
        """
        raise missing(self, "acquire")

    def acquire_blocking(self, key=None, *, accept=None, exclude=(), cost: int = 1, timeout: float | None = None):
        """`acquire` for threads: blocks the calling thread. Not to be called from the thread of an event loop."""
        raise missing(self, "acquire_blocking")

    def report(self, server, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Report the outcome of a request that had no lease. `latency_s`: None = not known. `kind`: see OutlierDetector."""
        raise missing(self, "report")

    def in_flight(self, server) -> int:
        """The sum of the costs of the requests under lease at a server. Raises KeyError."""
        raise missing(self, "in_flight")

    # Changing

    def add(self, server, weight: int = 1) -> None:
        """Add a server. Raises ValueError when it is there already. The rest keeps its state."""
        raise missing(self, "add")

    def remove(self, server) -> None:
        """Remove a server. Raises KeyError. The rest keeps its state and order."""
        raise missing(self, "remove")

    def set_weight(self, server, weight: int) -> None:
        """Change a weight. Raises KeyError. Tables are rebuilt before the next pick, once for any number of changes."""
        raise missing(self, "set_weight")

    def set_up(self, server, up: bool = True) -> None:
        """Allow or forbid picks of a server; it keeps its weight and state. Raises KeyError."""
        raise missing(self, "set_up")

    def is_up(self, server) -> bool:
        """Whether `set_up` allows picks of a server; wrappers may exclude it nevertheless, see `share`. Raises KeyError."""
        raise missing(self, "is_up")

    def update(self, servers) -> None:
        """Replace the servers and weights in one change; if a weight is invalid, nothing changes.

        servers  as for the constructor. Servers that stay keep their state (requests in flight, latency, up or down, waits) and
                 their order; new servers follow behind them, in the given order. An update without a difference changes nothing.
        """
        raise missing(self, "update")

    def tick(self, now: float | None = None) -> None:
        """Do what is due at `now`, in seconds of the wrappers' clocks; None = their present time. Picks do this themselves."""

    # The mapping

    def __len__(self) -> int:
        raise missing(self, "__len__")

    def __contains__(self, server) -> bool:
        return server in self.servers

    def __iter__(self):
        return iter(self.servers)

    def __getitem__(self, server) -> int:
        raise missing(self, "__getitem__")

    def __setitem__(self, server, weight: int) -> None:
        try:
            self.set_weight(server, weight)
        except KeyError:
            self.add(server, weight)

    def __delitem__(self, server) -> None:
        self.remove(server)

    def get(self, server, default=None):
        """The weight of a server, or `default`."""
        try:
            return self[server]
        except KeyError:
            return default

    @property
    def servers(self) -> tuple:
        """The servers in the order in which they were added; the indexes of `pick_many` point into it."""
        raise missing(self, "servers")

    def keys(self) -> tuple:
        """The servers, see `servers`."""
        return self.servers

    def values(self) -> tuple:
        """The weights, in the order of `servers`."""
        return tuple([weight for _, weight in self.items()])

    def items(self) -> tuple:
        """Servers and weights, in the order of `servers`."""
        raise missing(self, "items")

    def __class_getitem__(cls, item):
        """The class itself: `SmoothWRR[str]` is for annotations."""
        return cls

    # Identity and state

    @property
    def algorithm(self) -> str:
        """The name of the class that chooses."""
        raise missing(self, "algorithm")

    def layer(self, kind: type):
        """The instance of `kind` among this selector and those it wraps: `lb.layer(OutlierDetector).eject("a")`. Raises LookupError."""
        if isinstance(self, kind):
            return self
        raise LookupError(f"there is no {kind.__name__} in {self.algorithm}")

    def share(self, server) -> float:
        """The part of all picks that a server should get now, 0 to 1, after health, ramps and ejections. Raises KeyError."""
        raise missing(self, "share")

    def latency_s(self, server) -> float | None:
        """The average latency of a server in seconds; None if none is known or the algorithm keeps none. Raises KeyError."""
        self.is_up(server)
        return None

    @property
    def ejected(self) -> dict:
        """The servers that an OutlierDetector has ejected, each with the reason."""
        return {}

    @property
    def panicking(self) -> bool:
        """Whether a PanicThreshold ignores health now."""
        return False

    def ramp(self, server) -> int:
        """The percentage of its weight that SlowStart grants a server now; 0 while it may not be picked. Raises KeyError."""
        return 100 if self.share(server) else 0

    def stats(self) -> dict:
        """The `ServerStats` of every server, by server. O(servers)."""
        raise missing(self, "stats")

    def state(self) -> dict:
        """The state for `restore`, without requests in flight, in types that JSON can express if it can express the servers."""
        raise missing(self, "state")

    def restore(self, state: dict) -> None:
        """Take over a `state`; picks continue as they would have in the selector it came from.

        Raises ValueError for the state of another algorithm or wrapper, or of one with other options.
        """
        raise missing(self, "restore")

    def __copy__(self):
        """A copy with the same state, which continues from there independently."""
        raise missing(self, "__copy__")
