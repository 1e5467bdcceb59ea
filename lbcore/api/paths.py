"""Paths of the API that change something. No I/O."""

from __future__ import annotations

from starlette.routing import Match, Route
from starlette.types import Scope


class ChangePath(Route):
    """A path that has its own methods alone: another one is refused with 405, and is no path of what stands behind it.

    Starlette goes on with the next path that takes the method, and `weights` would be looked for among the services.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, more = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), more
