from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import TypeVar

from lbcore.state.keyed import KeyedTable
from lbcore.state.region import Region

T = TypeVar("T")

class Group:
    number: int
    def __init__(self, table: KeyedTable, identity: str) -> None: ...

class Denials:
    def __init__(self, table: KeyedTable, key: int) -> None: ...

class State:
    table: KeyedTable
    loop: AbstractEventLoop | None
    def __init__(self, region: Region, worker: int, loop: AbstractEventLoop | None = None) -> None: ...
    def group(self, identity: str) -> Group: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def workers(self) -> int: ...
    def count_shed_password(self) -> None: ...
    def keep(self, identity: str, make: Callable[[], T]) -> T: ...
