from typing import Any

class Middleware:
    name: str
