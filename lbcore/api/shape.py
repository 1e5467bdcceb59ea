"""Configuration models in the JSON form of Traefik's API. No I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from lbcore.config.model import SECRETS, SECRETS_OF_NAMES, SECRETS_OF_REALMS, WHEN_SET, Model, fields_of
from lbcore.config.units import format_duration

View = dict[str, Any]
HIDDEN = "xxxx"  # in place of a secret
SHOWN = {SECRETS: 0, SECRETS_OF_NAMES: 1, SECRETS_OF_REALMS: 2}  # parts of a text in front of a secret, by mark


def instant(unix_s: float) -> str:
    """A time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
            marks = [SHOWN[mark] for mark in info.metadata if isinstance(mark, str) and mark in SHOWN]
            if marks:
                item = _without_secrets(item, marks[0])
            found[info.alias or name] = shape(item)
        return found
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return format_duration(value) if isinstance(value, timedelta) else value


def _without_secrets(value: Any, parts: int) -> Any:
    """A secret, or several, as the API shows them. `parts`: of each text, so many in front of its secret are shown."""
    if isinstance(value, str):
        return ":".join([*value.split(":", parts)[:-1], HIDDEN])
    if isinstance(value, dict):
        return dict.fromkeys(value, HIDDEN)
    return [_without_secrets(each, parts) for each in value]


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
