from typing import Any

from lbcore.middleware.base import Middleware

class RedirectScheme(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class RedirectRegex(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class RequestRedirect(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
