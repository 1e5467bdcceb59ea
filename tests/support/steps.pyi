class Step:
    name: str
    held: list[object]
    passed: int
    begun: int
    statuses: list[int]
    cancelled: int
    expired: int
    timeout_ms: int
    def __init__(self, name: str, timeout_ms: int = 20000) -> None: ...
    def release(self) -> int: ...
