from typing import Any

from lbcore.middleware.base import Middleware

class RequestHeaderModifier(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class ResponseHeaderModifier(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

def entries(config: Any) -> tuple[list[Any], list[Any], list[Any]]: ...
