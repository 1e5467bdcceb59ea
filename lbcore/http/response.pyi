from typing import Any

from lbcore.http.message import Message

class Response(Message):
    def parse_bytes(self, data: bytes, *, head_request: bool = False) -> int: ...
    def describe(self) -> dict[str, Any]: ...
