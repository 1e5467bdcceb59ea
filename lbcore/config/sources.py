"""The static configuration from flags or from the environment, in place of a file. No I/O.

As in Traefik, only one source counts: flags if there are any, else the file, else the environment.

Flags        `--entryPoints.web.address=:80` or `--log.level info`; a switch alone means true.
Environment  `LBCORE_ENTRYPOINTS_WEB_ADDRESS`, or `TRAEFIK_...`. Variables that name no section (`LBCORE_SERVICE_HOST`,
             which Kubernetes sets, or `TRAEFIK_VERSION`) are not configuration.
Lists        comma-separated, or with indexes: `...trustedIPs[0]`, `..._TRUSTEDIPS_0`. A flag
             may be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from lbcore.config.decode import decode, keys_of, known_to, nearest, plain
from lbcore.config.lint import static_notes
from lbcore.config.model import Model
from lbcore.config.static import StaticConfig
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError, Problem

PREFIXES = ("LBCORE_", "TRAEFIK_")
RESERVED = frozenset({"LBCORE_CONFIG", "LBCORE_WORKERS", "LBCORE_API"})  # settings of the command itself
SECTIONS = frozenset(known_to(StaticConfig))


def from_flags(flags: Sequence[str]) -> tuple[StaticConfig, list[Problem]]:
    """The configuration from flags. Raises ConfigError."""
    settings: list[tuple[str, list[str], str]] = []
    problems = []
    rest = list(flags)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            problems.append(Problem("", f"{flag!r} is no option", "write --key=value"))
            continue
        key, equals, value = flag[2:].partition("=")
        if not equals:
            value = rest.pop(0) if rest and not rest[0].startswith("-") else "true"
        settings.append((f"--{key}", re.split(r"\.", re.sub(r"\[(\d+)\]", r".\1", key)), value))
    if problems:
        raise ConfigError(problems)
    return _decode(settings, "flags")


def from_environment(environ: Mapping[str, str]) -> tuple[StaticConfig, list[Problem]]:
    """The configuration from environment variables. Raises ConfigError."""
    settings, strange = [], []
    for name, value in sorted(environ.items()):
        if not name.startswith(PREFIXES) or name in RESERVED:
            continue
        if _is_setting(name):
            settings.append((name, name.partition("_")[2].split("_"), value))
        else:
            strange.append(name)
    config, warnings = _decode(settings, "environment")
    if strange:
        text = f"no configuration, ignored: {', '.join(strange[:3])}"
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        warnings.append(Problem("", text + more, "", "environment", severity="warning"))
    return config, warnings


def is_in_environment(environ: Mapping[str, str]) -> bool:
    """Whether any variable sets an option."""
    return any(map(_is_setting, environ))


def _is_setting(name: str) -> bool:
    """Whether a variable names a section of the static configuration."""
    if not name.startswith(PREFIXES) or name in RESERVED:
        return False
    return name.split("_")[1].lower() in SECTIONS


def _decode(settings: list[tuple[str, list[str], str]], source: str) -> tuple[StaticConfig, list[Problem]]:
    content: dict[str, Any] = {}
    problems = []
    for name, parts, value in settings:
        try:
            _put(content, StaticConfig, parts, value)
        except ValueError as error:
            problems.append(Problem(name, str(error), "", source))
    if problems:
        raise ConfigError(problems)
    decoded = decode(Tree(_lists(content), source), StaticConfig)
    return decoded.model, static_notes(decoded, source)


def _put(node: dict[str, Any], annotation: Any, parts: list[str], value: str) -> None:
    """Put one setting into the tree; the model decides what is a list, a switch, or a name."""
    annotation = plain(annotation)
    key, *rest = parts
    if isinstance(annotation, type) and issubclass(annotation, Model):
        keys = {name.lower(): name for name in keys_of(annotation)}
        name = keys.get(key.lower())
        if name is None and key.lower() in known_to(annotation):
            node[key] = value if not rest else "true"  # `decode` reports the problem
            return
        if name is None:
            raise ValueError(f"unknown key {key!r}: {nearest(key, list(keys.values()))}")
        inner = plain(keys_of(annotation)[name])
    elif get_origin(annotation) is dict:
        name, inner = key if key != key.upper() else key.lower(), plain(get_args(annotation)[1])
    elif get_origin(annotation) is list:
        name, inner = key, plain(get_args(annotation)[0])
        if not key.isdigit():
            raise ValueError(f"{key!r} is not the position in a list")
    else:
        raise ValueError(f"{key!r} goes deeper than the option does")
    if rest:
        before = node.get(name)
        deeper = before if isinstance(before, dict) else {}
        _put(deeper, inner, rest, value)
        if deeper or before is not None:  # a section that is off makes nothing of those around it
            node[name] = deeper
    elif isinstance(inner, type) and issubclass(inner, Model):
        if value.lower() not in ("true", "false", ""):
            raise ValueError(f"{value!r}: needs keys below it, or true")
        if value.lower() != "false":
            node.setdefault(name, {})
    elif get_origin(inner) is list:
        listed = [part.strip() for part in value.split(",") if part.strip()]
        node[name] = [*node[name], *listed] if isinstance(node.get(name), list) else listed
    else:
        node[name] = value


def _lists(node: Any) -> Any:
    """Turn mappings whose keys are all positions into lists."""
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_lists(node[key]) for key in sorted(node, key=int)]
    return {key: _lists(value) for key, value in node.items()}
