from typing import Any, Final

__pyx_capi__: Final[dict[str, Any]]
__test__: Final[dict[str, Any]]

HASHES: Final[tuple[str, ...]]

def hash_of(key: str | bytes | int, hash: str = "mix64", seed: int = 0) -> int:
    """The 64-bit hash of a key by a named function (one of HASHES), as selectors compute it. Raises ValueError for another name."""
