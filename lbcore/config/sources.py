"""The static configuration from flags or from the environment, in place of a file. No I/O.

As in Traefik, only one source counts: see `lbcore.cli.static`.

Flags        `--entryPoints.web.address=:80` or `--log.level info`; a switch alone means true.
Environment  `LBCORE_ENTRYPOINTS_WEB_ADDRESS`, or `TRAEFIK_...`. Variables that name no section (`LBCORE_SERVICE_HOST`,
             which Kubernetes sets, or `TRAEFIK_VERSION`) are not configuration.
Lists        comma-separated, or with indexes: `...trustedIPs[0]`, `..._TRUSTEDIPS_0`. A flag
             may be repeated.
Extensions   below `lbcore`, as in a file: `--lbcore.tls.library=system`, `LBCORE_LBCORE_TLS_LIBRARY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lbcore.config.decode import EXTENSIONS, decode, known_to
from lbcore.config.flat import FlatTree, split_dotted
from lbcore.config.lint import static_notes
from lbcore.config.static import StaticConfig
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError, Problem

PREFIXES = ("LBCORE_", "TRAEFIK_")
RESERVED = frozenset({"LBCORE_CONFIG", "LBCORE_WORKERS", "LBCORE_API"})  # settings of the command itself
SECTIONS = frozenset({EXTENSIONS, *known_to(StaticConfig)})


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
        settings.append((f"--{key}", split_dotted(key), value))
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
    flat = FlatTree(StaticConfig, strict=True, lowers=source == "environment")
    extensions = FlatTree(StaticConfig, strict=True, lowers=source == "environment")
    problems = []
    for name, parts, value in settings:
        try:
            if parts[0].lower() == EXTENSIONS and parts[1:]:
                extensions.put(parts[1:], value)
            else:
                flat.put(parts, value)
        except ValueError as error:
            problems.append(Problem(name, str(error), "", source))
    content = flat.content()
    if below := extensions.content():
        content[EXTENSIONS] = below
    try:
        decoded = decode(Tree(content, source), StaticConfig)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems], error.warnings) from None
    if problems:
        raise ConfigError(problems, static_notes(decoded, source))
    return decoded.model, static_notes(decoded, source)
