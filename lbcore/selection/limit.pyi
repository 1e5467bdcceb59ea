from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from typing_extensions import disjoint_base

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

MAX_LIMIT: Final[int]

@final
class InFlightLimit(Wrapper[_S]):
    """Bound what is in flight at each server; let requests wait for room.

    selector       a selector, or a wrapper; one limit is enough.
    max_in_flight  the sum of the costs of the requests under lease at a server, at most: an int for every server, or a mapping from
                   servers to ints; those that it does not name have no bound.
    max_waiting    requests that wait at once (1000); more are refused with NoServerError, and counted in `refused`.
    Picks pass over servers that are full; `lease` raises NoServerError where all are, `acquire` and `acquire_blocking` wait. A pick
    costs O(servers) at worst while a server is full. Leases count, wherever they were made; `report` does not.
    """

    def __init__(
        self,
        selector: Selector[_S],
        max_in_flight: int | Mapping[_S, int] | Iterable[tuple[_S, int]],
        *,
        max_waiting: int = 1000,
    ) -> None: ...
    def max_in_flight(self, server: _S) -> int | None:
        """What may be in flight at a server; None = there is no bound. Raises KeyError."""
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
    """Hand a task the outcome, in its loop's thread. A lease of a task that was cancelled meanwhile goes on to the next."""
