from typing import Any

from lbcore.middleware.base import Middleware

def parameters_of(header: bytes) -> dict[bytes, bytes] | None: ...

class DigestAuth(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
