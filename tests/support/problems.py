"""What a configuration says of a middleware that cannot run, or that has options without effect."""

from __future__ import annotations

from typing import Any

import yaml

from lbcore.config.load import parse_dynamic
from lbcore.config.static import StaticConfig
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems


def problems_of(middleware: dict[str, Any], layer: str = "http") -> tuple[list[str], list[str]]:
    """Errors and warnings of a middleware, from when it is read to when it is built."""
    dynamic, noted = parse_dynamic(yaml.safe_dump({layer: {"middlewares": {"one": middleware}}}))
    disabled, warnings = find_problems(merge({"file": dynamic}), StaticConfig())
    return [error for item in disabled for error in item.errors], [*map(str, noted), *warnings]


def errors_of(middleware: dict[str, Any], layer: str = "http") -> list[str]:
    return problems_of(middleware, layer)[0]


def warnings_of(middleware: dict[str, Any], layer: str = "http") -> list[str]:
    """Warnings about a middleware that runs."""
    errors, warnings = problems_of(middleware, layer)
    assert errors == []
    return warnings
