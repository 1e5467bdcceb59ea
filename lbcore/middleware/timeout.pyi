from typing import Any

from lbcore.middleware.base import Middleware

class Timeout(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
