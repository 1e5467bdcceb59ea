from typing import Any

from lbcore.middleware.base import Middleware

def delay_text(delay_ns: int) -> str: ...

class RateLimit(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
