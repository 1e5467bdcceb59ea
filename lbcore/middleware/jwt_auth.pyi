from typing import Any

from lbcore.middleware.base import Middleware

class JwtAuth(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
