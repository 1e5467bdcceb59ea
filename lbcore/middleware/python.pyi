from typing import Any

from lbcore.middleware.base import Middleware
from lbcore.state.region import Region

class Kept:
    instance: object
    def __init__(self, instance: object) -> None: ...

class Steps: ...

class PythonMiddleware(Middleware):
    def __init__(self, name: str, config: Any) -> None: ...
    def count_in(self, region: Region, worker: int, slot: int) -> None: ...
