from collections.abc import Callable, Iterable

from lbcore.http.request import Request
from lbcore.state.holdings import Denials, State

class Tries:
    most: int
    statuses: list[tuple[int, int]]
    repeats_unsafe: bool
    max_body_bytes: int
    pause_ms: int
    within_ms: int
    sees_answers: bool
    goes_on: bool
    begins_anew: bool
    hedge_ms: int
    def __init__(
        self,
        most: int,
        statuses: Iterable[tuple[int, int]] = (),
        *,
        repeats_unsafe: bool = False,
        max_body_bytes: int = -1,
        pause_ms: int = 0,
        within_ms: int = 0,
        goes_on: bool = True,
        begins_anew: bool = False,
        hedge_ms: int = 0,
    ) -> None: ...

class Middleware:
    name: str
    denials: Denials | None
    def bind(self, find: Callable[[str], object]) -> None: ...
    def keep_in(self, state: State) -> None: ...
    def why(self, request: Request) -> str | None: ...
    def state_at(self, place: str, request: Request | None) -> dict[str, object] | None: ...
