from types import GenericAlias, TracebackType
from typing import Any, Final, Generic, final

from lbcore.selection.selector import _S, Selector

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

KINDS: Final[tuple[str, ...]]

@final
class Lease(Generic[_S]):
    """A request in flight at a server. `Selector.lease` makes it; it is a context manager, plain or asynchronous, to be used once."""

    @property
    def selector(self) -> Selector[_S]: ...
    @property
    def server(self) -> _S: ...
    @property
    def cost(self) -> int: ...
    def __enter__(self) -> _S: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    async def __aenter__(self) -> _S: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def __del__(self) -> None: ...
    def end(self, *, ok: bool = True, latency_s: float | None = None, kind: str = "error") -> None:
        """End the lease and report the outcome of its request. A second call does nothing.

        latency_s  in seconds; None = the time since the lease began.
        kind       of a failure: `error` (a failing answer, as 500), `gateway` (as 502, 503, 504), `local` (no answer: refused,
                   reset, timed out). OutlierDetector distinguishes them.
        Raises ValueError for another kind.
        """
    def forget(self) -> None:
        """End the lease without a report, because the request says nothing about the server."""

def kind_of(error: BaseException) -> str:
    """`local` if this machine raised the exception (refused, reset, timed out), else `error`."""
