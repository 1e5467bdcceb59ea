from collections.abc import Hashable, Iterable
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, final

__test__: Final[dict[str, Any]]

_S = TypeVar("_S", bound=Hashable)

@final
class StickyCodec(Generic[_S]):
    """Values for servers, and servers for values.

    servers  any hashable objects with names (see `name_of`), or a selector. If several have the same name, values name the first.
    keys     secrets, of which the first signs; values signed with the others are accepted, as stale. Without keys values are not
             signed, and values of former versions of Traefik are accepted, as stale.
    context  the purpose of the values, e.g. the name of the cookie: a signed value is valid only there. 16 bytes of it count.
    Cost: O(1); a lookup without keys, some microseconds with them. Memory: five short strings per server, two with keys.
    Raises TypeError or ValueError.
    """

    def __init__(self, servers: Iterable[_S], *, keys: Iterable[str | bytes] = (), context: str = "") -> None: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def update(self, servers: Iterable[_S]) -> None:
        """Replace the servers. The value of a server does not depend on the others."""
    def encode(self, server: _S) -> str:
        """A value for a server, which need not be one of `servers`. If there are keys it is signed, and differs at each call."""
    def decode(self, value: str | bytes) -> tuple[_S | None, bool]:
        """`(server, stale)`: the server that a value names, or None, and whether the client needs a new value."""

def member_id(key: str | bytes) -> str:
    """The value for a member: 16 hexadecimal digits of the SHA-256 of its key (a URL, or a child's name, as written)."""
def legacy_ids(key: str) -> list[str]:
    """The values that former versions of Traefik used: the key, its 64-bit FNV-1 hash, and the hash of that."""
def name_of(server: object) -> str:
    """The name of a server that is hashed: the server itself for str, else its `str()`.

    Raises TypeError when `str()` contains the address of an object, which differs between processes.
    """
def fnv1(data: bytes) -> int:
    """FNV-1, 64 bits (Fowler, Noll and Vo)."""
