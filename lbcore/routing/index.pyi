from collections.abc import Sequence
from typing import Any

from lbcore.config.rule import Rule

class FiledRule:
    rule: Rule
    def __init__(self, rule: Rule) -> None: ...

def file_rule(rule: Rule) -> FiledRule: ...

class RouteIndex:
    def __init__(self, routes: Sequence[tuple[FiledRule | Rule, Any]]) -> None: ...
    def route(self, head: bytes, client: str = "192.0.2.1") -> Any: ...
