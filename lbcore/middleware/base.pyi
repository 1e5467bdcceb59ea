from collections.abc import Callable

class Middleware:
    name: str
    def bind(self, find: Callable[[str], object]) -> None: ...
