from typing import Any

from lbcore.middleware.base import Middleware

def media_type(text: str) -> bytes: ...

class Compress(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
