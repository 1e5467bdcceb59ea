from collections.abc import Hashable, Iterable
from types import GenericAlias
from typing import Any, Final, Generic, TypeVar, final

__test__: Final[dict[str, Any]]

_S = TypeVar("_S", bound=Hashable)

@final
class StickyCodec(Generic[_S]):
    """Values for servers, and back.

    servers  any hashable objects with names (see `name_of`); a selector too. Of servers of one name, values name the first.
    keys     secrets, the first of which signs; values signed with the others are accepted, and stale. None: values are not
             signed, values of former versions of Traefik are accepted, and stale.
    context  what the values are for, e.g. the name of the cookie: a signed value is none elsewhere. 16 bytes of it count.
    Cost: O(1), a lookup unsigned, some microseconds signed. Memory: five short strings for each server, two where it is signed.
    """

    def __init__(self, servers: Iterable[_S], *, keys: Iterable[str | bytes] = (), context: str = "") -> None: ...
    def __class_getitem__(cls, item: Any) -> GenericAlias: ...
    def update(self, servers: Iterable[_S]) -> None:
        """Take these servers instead. Their values do not depend on the others."""
    def encode(self, server: _S) -> str:
        """A value for a server, signed if there are keys: then another one each time. It need not be one of `servers`."""
    def decode(self, value: str | bytes) -> tuple[_S | None, bool]:
        """`(server, stale)`: the server a value names, None if none of these, and whether the client needs a new value."""

def member_id(key: str | bytes) -> str:
    """The value for a member: 16 hexadecimal digits of the SHA-256 of its key (a URL, or a child's name, as written)."""
def legacy_ids(key: str) -> list[str]:
    """The values that former versions of Traefik gave out: the key, its 64-bit FNV-1 hash, and the hash of that."""
def name_of(server: object) -> str:
    """What of a server is hashed: itself for str, else its `str()`. Raises TypeError when that is another one in every process."""
def fnv1(data: bytes) -> int:
    """FNV-1, 64 bits (Fowler, Noll and Vo)."""
