"""The providers that a static configuration configures."""

from __future__ import annotations

from pathlib import Path

from lbcore.config.static import StaticConfig
from lbcore.provider.base import Provider
from lbcore.provider.file import FileProvider


def providers_of(static: StaticConfig) -> list[Provider]:
    """The providers of `static`, not running yet."""
    file = static.providers.file
    if file is None:
        return []
    path = Path(file.filename or file.directory)
    return [FileProvider(path, watch=file.watch, throttle=static.providers.providers_throttle_duration)]
