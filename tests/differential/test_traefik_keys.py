"""The page of Traefik's keys has those that real Traefik has."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from lbcore.config.load import parse_static
from tests.support.traefik import TRAEFIK

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def keys() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "ci"))
    yield importlib.import_module("traefik_keys")
    sys.path.remove(str(ROOT / "ci"))


def test_all_flags_of_traefik_are_listed_and_no_others(keys: ModuleType) -> None:
    done = subprocess.run([str(TRAEFIK), "--help"], capture_output=True, text=True, check=False)
    flags = re.findall(r"^ +--(\S+)", done.stdout, re.MULTILINE)
    assert len(flags) > 500
    assert keys.flags() == flags


@pytest.mark.parametrize(
    ("flag", "state"),
    [
        ("entrypoints.<name>.http.middlewares", "yes"),
        ("entrypoints.<name>.http.tls.domains[n].sans", "yes"),
        ("providers.docker.tls.ca", "yes"),
        ("providers.ecs", "no"),
        ("log.maxsize", "no effect"),
    ],
)
def test_the_state_of_a_key_is_that_of_the_models(keys: ModuleType, flag: str, state: str) -> None:
    assert keys.state_of(flag)[0] == state


def test_a_key_that_is_not_there_is_named_by_the_check() -> None:
    warnings = parse_static("providers: {ecs: {}}\n")[1]
    assert any("ecs" in problem.path for problem in warnings)
