"""Configuration models in the JSON form of Traefik's API. No I/O."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lbcore.config.model import SECRETS, WHEN_SET, Model, fields_of
from lbcore.config.units import format_duration

View = dict[str, Any]
HIDDEN = "xxxx"  # in place of a secret


def shape(value: Any) -> Any:
    """A model as JSON values with Traefik's names. Omits empty, zero and false values, as Go does.

    A zero or false that is not the default is shown, as Traefik shows it. Fields marked WHEN_SET are omitted if the
    configuration does not set them.
    """
    if isinstance(value, Model):
        found = {}
        for name, info in fields_of(type(value)).items():
            item = getattr(value, name)
            if WHEN_SET in info.metadata and name not in value.model_fields_set:
                continue
            if not item and not isinstance(item, Model) and (item == info.default or not isinstance(item, int)):
                continue
            if SECRETS in info.metadata:
                if isinstance(item, dict):
                    item = dict.fromkeys(item, HIDDEN)
                else:
                    item = HIDDEN if isinstance(item, str) else [f"{text.rpartition(':')[0]}:{HIDDEN}" for text in item]
            found[info.alias or name] = shape(item)
        return found
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return format_duration(value) if isinstance(value, timedelta) else value


def named(view: View, name: str, errors: list[str], warnings: list[str] | None = None) -> View:
    """Add the fields of every object: name, provider, status, and errors."""
    view["status"] = "disabled" if errors else "warning" if warnings else "enabled"
    view["name"] = name
    view["provider"] = name.rpartition("@")[2]
    if errors or warnings:
        view["error"] = [*errors, *(warnings or [])]
    return view


def add_users(view: View, users: list[str]) -> View:
    """Add the routers that refer to an object, if there are any."""
    if users:
        view["usedBy"] = sorted(users)
    return view
