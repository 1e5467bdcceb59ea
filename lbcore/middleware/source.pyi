from typing import Any

from lbcore.http.request import Request

class Strategy:
    def __init__(self, config: Any = None) -> None: ...

class Source:
    def __init__(self, config: Any = None, default: str = "address") -> None: ...
    def name_of(self, request: Request) -> bytes: ...
