from collections.abc import Mapping
from typing import Any

from lbcore.middleware.base import Middleware

class Challenges(Middleware):
    certificates: dict[bytes, Any]
    def __init__(self, name: str = "acme-http@internal") -> None: ...
    def replace(self, texts: Mapping[bytes, bytes], certificates: Mapping[bytes, Any]) -> None: ...
