from collections.abc import Iterable, Mapping
from typing import TypeVar, overload

from lbcore.selection.selector import Key, S, Selector
from lbcore.selection.wrapper import Wrapper

V = TypeVar("V")

@overload
def subset(  # type: ignore[overload-overlap]
    servers: Mapping[S, V], k: int, client: Key
) -> dict[S, V]: ...
@overload
def subset(  # type: ignore[overload-overlap]
    servers: Selector[S] | Wrapper[S], k: int, client: Key
) -> dict[S, int]: ...
@overload
def subset(servers: Iterable[S], k: int, client: Key) -> list[S]: ...
