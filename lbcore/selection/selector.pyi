from array import array
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from types import GenericAlias
from typing import Any, Final, Generic, Self, TypeVar, overload

from lbcore.selection.lease import Lease
from lbcore.selection.stats import ServerStats

__test__: Final[dict[str, Any]]

_S = TypeVar("_S", bound=Hashable)
_L = TypeVar("_L")
_D = TypeVar("_D")
Key = str | bytes | int

class Selector(Generic[_S]):
    """Servers with weights, and `pick`: the type for annotations and `isinstance`.

    A selector is a mapping from servers, which are any hashable objects, to weights. It is either an algorithm, such as
    `SmoothWRR`, or a wrapper around a selector, such as `SlowStart`. All have the methods of this class.
    """

    def pick(
        self,
        key: Key | None = None,
        *,
        accept: Callable[[_S], object] | None = None,
        exclude: Container[object] = (),
    ) -> _S:
        """The server for the next request.

        key      str, bytes or int (64 bits); for selectors that choose by a key: the same key, the same server.
        accept   a function; servers for which it is false are passed over.
        exclude  servers that are passed over, in any container; a str or bytes is one server.
        Raises NoServerError when no server may be picked, TypeError when a key is needed and there is none.
        """
    def pick_n(
        self,
        key: Key | None = None,
        n: int = 1,
        *,
        accept: Callable[[_S], object] | None = None,
        exclude: Container[object] = (),
    ) -> list[_S]:
        """`n` different servers for a key: the first choice, then the servers that take over, in order. Fewer if there are fewer."""
    def pick_many(self, wanted: int | Iterable[Key], out: Any = None) -> array[int]:
        """Many picks at once, without the GIL: indexes into `servers`, as 32-bit numbers.

        wanted  how many; for selectors that choose by a key: the keys, or a buffer of hashes of 64 bits each (`hash_of`).
        out     a writable buffer of 32-bit unsigned numbers, at least as many; None makes an `array.array`.
        Returns the buffer. Raises NoServerError when no server may be picked.
        """
    def lease(
        self,
        key: Key | None = None,
        *,
        accept: Callable[[_S], object] | None = None,
        exclude: Container[object] = (),
        cost: int = 1,
    ) -> Lease[_S]:
        """Pick a server and count a request to it as in flight until the lease ends: `with lb.lease() as server:`.

        cost  the weight of the request, 1 to 2**30: its tokens, its bytes, its share of a batch.
        The duration of the block is the request's latency; an exception in the block is a failure. Raises what `pick` raises.
        """
    async def acquire(
        self,
        key: Key | None = None,
        *,
        accept: Callable[[_S], object] | None = None,
        exclude: Container[object] = (),
        cost: int = 1,
        timeout: float | None = None,
    ) -> Lease[_S]:
        """`lease`, waiting for room if an InFlightLimit bounds what is in flight: `async with await lb.acquire() as server:`.

        timeout  seconds to wait at most; None = as long as it takes.
        Requests are served in the order of arrival, see InFlightLimit. Raises NoServerError when no server could ever take the
        request or when too many requests wait, and TimeoutError after `timeout`. A cancelled task gives up its place.
        """
    def acquire_blocking(
        self,
        key: Key | None = None,
        *,
        accept: Callable[[_S], object] | None = None,
        exclude: Container[object] = (),
        cost: int = 1,
        timeout: float | None = None,
    ) -> Lease[_S]:
        """`acquire` for threads: blocks the calling thread. Not to be called from the thread of an event loop."""
    def report(self, server: _S, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Report the outcome of a request that had no lease. `latency_s`: None = not known. `kind`: see OutlierDetector."""
    def in_flight(self, server: _S) -> int:
        """The sum of the costs of the requests under lease at a server. Raises KeyError."""
    def add(self, server: _S, weight: int = 1) -> None:
        """Add a server. Raises ValueError when it is there already. The rest keeps its state."""
    def remove(self, server: _S) -> None:
        """Remove a server. Raises KeyError. The rest keeps its state and order."""
    def set_weight(self, server: _S, weight: int) -> None:
        """Change a weight. Raises KeyError. Tables are rebuilt before the next pick, once for any number of changes."""
    def set_up(self, server: _S, up: bool = True) -> None:
        """Allow or forbid picks of a server; it keeps its weight and state. Raises KeyError."""
    def is_up(self, server: _S) -> bool:
        """Whether `set_up` allows picks of a server; wrappers may exclude it nevertheless, see `share`. Raises KeyError."""
    def update(self, servers: Mapping[_S, int] | Selector[_S] | Iterable[tuple[_S, int]] | Iterable[_S]) -> None:
        """Replace the servers and weights in one change; if a weight is invalid, nothing changes.

        servers  as for the constructor. Servers that stay keep their state (requests in flight, latency, up or down, waits) and
                 their order; new servers follow behind them, in the given order. An update without a difference changes nothing.
        """
    def tick(self, now: float | None = None) -> None:
        """Do what is due at `now`, in seconds of the wrappers' clocks; None = their present time. Picks do this themselves."""
    def __len__(self) -> int: ...
    def __contains__(self, server: object, /) -> bool: ...
    def __iter__(self) -> Iterator[_S]: ...
    def __getitem__(self, server: _S, /) -> int: ...
    def __setitem__(self, server: _S, weight: int, /) -> None: ...
    def __delitem__(self, server: _S, /) -> None: ...
    @overload
    def get(self, server: _S, default: None = None) -> int | None:
        """The weight of a server, or `default`."""
    @overload
    def get(self, server: _S, default: _D) -> int | _D: ...
    @property
    def servers(self) -> tuple[_S, ...]:
        """The servers in the order in which they were added; the indexes of `pick_many` point into it."""
    def keys(self) -> tuple[_S, ...]:
        """The servers, see `servers`."""
    def values(self) -> tuple[int, ...]:
        """The weights, in the order of `servers`."""
    def items(self) -> tuple[tuple[_S, int], ...]:
        """Servers and weights, in the order of `servers`."""
    @property
    def algorithm(self) -> str:
        """The name of the class that chooses."""
    def layer(self, kind: type[_L]) -> _L:
        """The instance of `kind` among this selector and those it wraps: `lb.layer(OutlierDetector).eject("a")`. Raises LookupError."""
    def share(self, server: _S) -> float:
        """The part of all picks that a server should get now, 0 to 1, after health, ramps and ejections. Raises KeyError."""
    def latency_s(self, server: _S) -> float | None:
        """The average latency of a server in seconds; None if none is known or the algorithm keeps none. Raises KeyError."""
    @property
    def ejected(self) -> dict[_S, str]:
        """The servers that an OutlierDetector has ejected, each with the reason."""
    @property
    def panicking(self) -> bool:
        """Whether a PanicThreshold ignores health now."""
    def ramp(self, server: _S) -> int:
        """The percentage of its weight that SlowStart grants a server now; 0 while it may not be picked. Raises KeyError."""
    def stats(self) -> dict[_S, ServerStats]:
        """The `ServerStats` of every server, by server. O(servers)."""
    def state(self) -> dict[str, Any]:
        """The state for `restore`, without requests in flight, in types that JSON can express if it can express the servers."""
    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state`; picks continue as they would have in the selector it came from.

        Raises ValueError for the state of another algorithm or wrapper, or of one with other options.
        """
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __copy__(self) -> Self: ...
