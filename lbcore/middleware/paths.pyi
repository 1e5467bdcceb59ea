from typing import Any

from lbcore.middleware.base import Middleware

class AddPrefix(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class StripPrefix(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class StripPrefixRegex(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class ReplacePath(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class ReplacePathRegex(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class UrlRewrite(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...

class Replacement:
    def __init__(self, path: str, prefix: str | None) -> None: ...
