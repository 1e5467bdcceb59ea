"""Every key of the static configuration is one that real Traefik takes: in flags, variables and TOML."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.traefik import TRAEFIK
from tests.unit.config.test_every_form import (
    EXTENSIONS,
    KEYS,
    SECTIONS,
    WITHOUT_EFFECT,
    accepted,
    as_toml,
    environment,
    flags,
)

OF_PROVIDERS = frozenset({"allowEmpty", "labelFiles", "replaceGrace", "lease", "checks", "token", "storage"})
OURS = {"explain", "fleet", "python"}  # sections that Traefik does not have
OF_TRAEFIK = frozenset({("providers", name, "token") for name in ("consul", "kubernetesCRD", "kubernetesIngress")})


def merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: merged(base[key], value) if key in base else value for key, value in over.items()}}
    if isinstance(base, list) and base and isinstance(base[0], dict):
        return [merged(base[0], over[0])]
    return over


def whole(section: str) -> dict[str, Any]:
    """All keys of a section at once."""
    found: dict[str, Any] = {}
    for path, annotation in KEYS.items():
        key = ".".join(map(str, path))
        if path[0] != section or key in EXTENSIONS | WITHOUT_EFFECT:
            continue
        if section == "providers" and path[-1] in OF_PROVIDERS and path not in OF_TRAEFIK:
            continue
        config = accepted(path, annotation)
        assert config is not None, key
        found = merged(found, config)
    return found


def by_flags(config: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    return flags(config), {}


def by_environment(config: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    return [], environment(config)


def by_toml(config: dict[str, Any], folder: Path) -> tuple[list[str], dict[str, str]]:
    file = folder / "static.toml"
    file.write_text(as_toml(config))
    return [f"--configFile={file}"], {}


@pytest.mark.parametrize("form", [by_flags, by_environment, by_toml])
def test_traefik_knows_the_keys(
    tmp_path: Path, form: Callable[[dict[str, Any], Path], tuple[list[str], dict[str, str]]]
) -> None:
    refused = {}
    for section in set(SECTIONS) - OURS:
        if not (config := whole(section)):
            continue
        arguments, variables = form(config, tmp_path)
        # It reads its configuration, and then finds nobody to ask.
        command = [str(TRAEFIK), "healthcheck", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr
        if "decode" in said or "field not found" in said or "incompatible" in said or "health" not in said:
            refused[section] = said[-300:]
    assert refused == {}
