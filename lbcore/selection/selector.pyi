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
    """Servers with weights, and `pick`: the type to ask for, in annotations and with `isinstance`.

    A selector is a mapping from servers, any hashable objects, to weights. It is an algorithm, as `SmoothWRR`, or a wrapper
    around a selector, as `SlowStart`. All of them have the same methods; this class only names them.
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
        """`n` different servers for a key, the first choice first, then those that take over; fewer when there are fewer."""
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

        cost  what the request counts as, 1 to 2**30: its tokens, its bytes, its share of a batch.
        The block's time is the request's latency, an exception in it a failure. Raises what `pick` does.
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
        """`lease`, once there is room, where an InFlightLimit bounds what is in flight: `async with await lb.acquire() as server:`.

        timeout  seconds to wait at most; None = as long as it takes.
        First come, first served: see InFlightLimit. Raises NoServerError where waiting is in vain, or too many wait, and
        TimeoutError when the time is over. A cancelled task leaves nothing behind.
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
        """`acquire` for threads: blocks the calling one. Not for the thread of an event loop."""
    def report(self, server: _S, *, latency_s: float | None = None, ok: bool = True, kind: str = "error") -> None:
        """Tell how a request went, without a lease. `latency_s`: None = not known. `kind`: see OutlierDetector."""
    def in_flight(self, server: _S) -> int:
        """The sum of the costs of the requests under lease at a server. Raises KeyError."""
    def add(self, server: _S, weight: int = 1) -> None:
        """Add a server. Raises ValueError when it is there already. The rest keeps its state."""
    def remove(self, server: _S) -> None:
        """Take a server out. Raises KeyError. The rest keeps its state and order."""
    def set_weight(self, server: _S, weight: int) -> None:
        """Change a weight. Raises KeyError. What choosing needs is worked out before the next pick, once for many changes."""
    def set_up(self, server: _S, up: bool = True) -> None:
        """Let a server be picked, or not; it keeps its weight and state. Raises KeyError."""
    def is_up(self, server: _S) -> bool:
        """Whether `set_up` lets a server be picked; wrappers may keep it out nevertheless, see `share`. Raises KeyError."""
    def update(self, servers: Mapping[_S, int] | Selector[_S] | Iterable[tuple[_S, int]] | Iterable[_S]) -> None:
        """Have these servers and weights from now on, in one change: all of it, or, where a weight is refused, nothing.

        servers  what the constructor takes. Servers that stay keep their state (requests in flight, latency, up or down, waits)
                 and their order; new ones come behind them, in theirs. Where nothing is different nothing changes at all.
        """
    def tick(self, now: float | None = None) -> None:
        """Do what is due at `now`, in the wrappers' clocks' seconds; None = by these clocks. Picks do so by themselves."""
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
        """The part of this selector that is a `kind`, itself included: `lb.layer(OutlierDetector).eject("a")`. Raises LookupError."""
    def share(self, server: _S) -> float:
        """The part of all picks that is meant for a server as things stand, 0 to 1: after health, ramps, ejections. Raises KeyError."""
    def latency_s(self, server: _S) -> float | None:
        """The average latency of a server, in seconds; None where none is known or kept. Raises KeyError."""
    @property
    def ejected(self) -> dict[_S, str]:
        """The servers that an OutlierDetector keeps out, each with the reason."""
    @property
    def panicking(self) -> bool:
        """Whether a PanicThreshold ignores health as things stand."""
    def ramp(self, server: _S) -> int:
        """The percentage of its weight that SlowStart gives a server now; 0 while it may not be picked. Raises KeyError."""
    def stats(self) -> dict[_S, ServerStats]:
        """How every server is: `ServerStats` by server. O(servers)."""
    def state(self) -> dict[str, Any]:
        """Everything but requests in flight, in types that JSON has as long as the servers are; for `restore`."""
    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` of such a selector gave; picks go on as they would have there.

        Raises ValueError for the state of another algorithm or wrapper, or of one with other options.
        """
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __copy__(self) -> Self: ...
