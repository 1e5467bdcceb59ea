"""lbcore: an L7/L4 load balancer and edge proxy configured by Traefik's own files."""

from __future__ import annotations

TYPE_CHECKING = False  # not `typing`'s: importing a selector loads next to nothing
if TYPE_CHECKING:
    from lbcore.config.dynamic import DynamicConfig
    from lbcore.config.static import StaticConfig
    from lbcore.config.validate.findings import Disabled
    from lbcore.errors import ConfigError
    from lbcore.process.embedded import Proxy, run

__all__ = ["ConfigError", "Disabled", "DynamicConfig", "Proxy", "StaticConfig", "__version__", "run"]
__version__ = "0.1.0"
# Where each name is defined.
_HOMES = {
    "ConfigError": "lbcore.errors",
    "Disabled": "lbcore.config.validate.findings",
    "DynamicConfig": "lbcore.config.dynamic",
    "Proxy": "lbcore.process.embedded",
    "StaticConfig": "lbcore.config.static",
    "run": "lbcore.process.embedded",
}


def __getattr__(name: str) -> object:
    """Import what needs sockets and a loop when it is first used: importing a selector loads none of it."""
    if name in _HOMES:
        import sys

        try:
            __import__(_HOMES[name])  # not `importlib`, which loads more than a selector
        except ModuleNotFoundError as error:
            if (error.name or "lbcore").partition(".")[0] == "lbcore":
                raise
            text = f"lbcore.{name} needs {error.name}: pip install 'lbcore[proxy]' brings it"
            raise ImportError(text, name=error.name) from error
        found: object = getattr(sys.modules[_HOMES[name]], name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
