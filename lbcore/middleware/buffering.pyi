from typing import Any

from lbcore.middleware.base import Middleware, Tries

class Attempted:
    attempts: int
    status: int
    method: str
    @property
    def failed(self) -> bool: ...

class Wishes(Tries): ...

class Buffering(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
