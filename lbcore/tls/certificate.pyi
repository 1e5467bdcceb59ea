class Pair:
    names: tuple[bytes, ...]
    kind: str
    fingerprint: str
    days_left: int
    def __init__(self, certificate: bytes, key: bytes) -> None: ...

def self_signed() -> tuple[str, str]: ...
