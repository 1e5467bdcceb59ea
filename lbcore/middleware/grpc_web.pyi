import re
from typing import Any

from lbcore.middleware.base import Middleware

TOKENS: re.Pattern[bytes]
METHODS: frozenset[bytes]

class GrpcWeb(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
