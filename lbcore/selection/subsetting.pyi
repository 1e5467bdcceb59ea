from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, overload

from lbcore.selection.selector import _S, Key, Selector

__test__: Final[dict[str, Any]]

_V = TypeVar("_V")

@overload
def subset(  # type: ignore[overload-overlap]
    servers: Mapping[_S, _V], k: int, client: Key
) -> dict[_S, _V]:
    """The k servers that a client uses, or all if there are no more, in their order in `servers`.

    servers  hashable objects with names (str, bytes, int, or with a `__str__`); for a mapping to weights or a selector, the result
             is a dict with these weights, from which a selector can be made.
    client   str, bytes or int (64 bits): the identity of the client, such as its host name. An int is the seed of XXH64 itself.
    Cost: O(servers * log servers). Raises TypeError or ValueError.
    """
@overload
def subset(  # type: ignore[overload-overlap]
    servers: Selector[_S], k: int, client: Key
) -> dict[_S, int]: ...
@overload
def subset(servers: Iterable[_S], k: int, client: Key) -> list[_S]: ...
