from collections.abc import Callable
from types import TracebackType
from typing import Final, Generic

from lbcore.selection.lease import Lease
from lbcore.selection.selector import S, Selector
from lbcore.selection.wrapper import Wrapper

KINDS: Final[tuple[str, ...]]

class OutlierDetector(Wrapper[S]):
    def __init__(
        self,
        selector: Selector[S] | Wrapper[S],
        *,
        consecutive_failures: int | None = 5,
        consecutive_gateway: int | None = None,
        consecutive_local: int | None = 5,
        success_rate_factor: float | None = 1.9,
        success_rate_hosts: int = 5,
        success_rate_requests: int = 100,
        failure_percent: float | None = None,
        failure_percent_hosts: int = 5,
        failure_percent_requests: int = 50,
        interval_s: float = 10.0,
        base_ejection_s: float = 30.0,
        max_ejection_s: float = 300.0,
        jitter_s: float = 0.0,
        max_ejection_percent: float = 10,
        always_eject_one: bool = True,
        split_local: bool = False,
        clock: Callable[[], float] | None = None,
        seed: int = 0,
    ) -> None: ...
    def told(self, server: S, *, ok: bool = True, kind: str = "error") -> None: ...
    def eject(self, server: S, reason: str = "by hand") -> bool: ...
    def uneject(self, server: S) -> None: ...
    @property
    def ejected(self) -> dict[S, str]: ...

class OutlierLease(Generic[S]):
    def __init__(self, selector: OutlierDetector[S], lease: Lease[S]) -> None: ...
    @property
    def selector(self) -> OutlierDetector[S]: ...
    @property
    def server(self) -> S: ...
    def __enter__(self) -> S: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    async def __aenter__(self) -> S: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def end(self, *, ok: bool = True, latency_s: float | None = None, kind: str = "error") -> None: ...
    def forget(self) -> None: ...

def kind_of(error: BaseException) -> str: ...
