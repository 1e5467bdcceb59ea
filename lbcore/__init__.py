"""lbcore: an L7/L4 load balancer and edge proxy configured by Traefik's own files."""

from __future__ import annotations

TYPE_CHECKING = False  # not `typing`'s: importing a selector loads next to nothing
if TYPE_CHECKING:
    from lbcore.process.embedded import Proxy, run

__all__ = ["Proxy", "__version__", "run"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Import what needs sockets and a loop when it is first used: importing a selector loads none of it."""
    if name in ("Proxy", "run"):
        from lbcore.process import embedded

        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
