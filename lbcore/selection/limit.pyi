from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from typing_extensions import disjoint_base

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

MAX_LIMIT: Final[int]

@final
class InFlightLimit(Wrapper[_S]):
    """Limit what is in flight at each server, and let requests wait for room.

    selector       a selector, or a wrapper, without another limit.
    max_in_flight  the highest sum of the costs of the requests under lease at a server: an int for every server, or a mapping from
                   servers to ints; servers that it does not name have no limit.
    max_waiting    requests that may wait at once (1000); more are refused with NoServerError, and counted in `refused`.
    Picks pass over servers that are full; when all are, `lease` raises NoServerError, `acquire` and `acquire_blocking` wait. While a
    server is full, a pick costs O(servers) at worst. Leases count, through whichever wrapper they were made; `report` does not.
    """

    def __init__(
        self,
        selector: Selector[_S],
        max_in_flight: int | Mapping[_S, int] | Iterable[tuple[_S, int]],
        *,
        max_waiting: int = 1000,
    ) -> None: ...
    def max_in_flight(self, server: _S) -> int | None:
        """The limit of a server; None = it has none. Raises KeyError."""
    @property
    def max_waiting(self) -> int: ...
    @property
    def waiting(self) -> int:
        """Requests that wait for room."""
    @property
    def refused(self) -> int: ...
    @property
    def timed_out(self) -> int: ...

@disjoint_base
class Waiter:
    """A request that waits for room."""

def wake(waiter: Waiter) -> None:
    """Give a task its outcome, in the thread of its loop. The lease of a task that was cancelled meanwhile goes to the next request."""
