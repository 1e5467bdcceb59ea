from typing import Any

from lbcore.middleware.base import Middleware, Tries

class RetryTries(Tries): ...

class Retry(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
