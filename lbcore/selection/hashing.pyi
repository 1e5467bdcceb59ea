from typing import Final

HASHES: Final[tuple[str, ...]]

def hash_of(key: str | bytes | int, hash: str = "mix64", seed: int = 0) -> int: ...
