from typing import Any

from lbcore.middleware.base import Middleware

CHARACTERS: dict[str, bytes]

class EncodedCharacters(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
