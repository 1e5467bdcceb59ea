"""Any configuration that the models can make, sound or not, runs in real workers or is refused by the check.

`LBCORE_EXAMPLES=2000 pytest tests/integration/test_any_configuration.py` tries as many, others each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import load_dynamic, load_static_with_warnings
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError
from lbcore.process.preflight import check_start
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems
from tests.support.generate import models
from tests.support.instance import Instance, eventually, running

EXAMPLES = int(os.environ.get("LBCORE_EXAMPLES", "0"))
POINT = {"address": "127.0.0.1:0"}
DATAGRAMS = {"address": "127.0.0.1:0/udp"}
POINTS = {"web": POINT, "udp": DATAGRAMS, "traefik": POINT}
STATIC = {"entryPoints": POINTS, "api": {"insecure": True}, "metrics": {"prometheus": {}}}


def many(examples: int) -> settings:
    """That many examples, the same each time, unless more are asked for."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


class Follower:
    """An instance that is given one configuration after the other."""

    def __init__(self, lb: Instance) -> None:
        self.lb = lb
        self.workers = lb.workers
        self.generation = 1

    def give(self, text: str, runs: bool) -> None:
        """Have it read a dynamic configuration, and see that it runs it, or refuses it, as it should."""
        lb, before = self.lb, len(self.lb.log)
        lb.write(text)
        lb.signal(signal.SIGHUP)
        wanted = f"configuration {self.generation + 1}" if runs else "stays"

        def answered() -> bool:
            return wanted in lb.log[before:] or "worker 0 ended" in lb.log[before:]

        with contextlib.suppress(AssertionError):
            eventually(answered, f"{wanted!r} in the log")
        log = lb.log[before:]
        assert wanted in log, f"{text}\n{log}"
        assert "Traceback" not in log, f"{text}\n{log}"
        assert "ended" not in log, f"{text}\n{log}"
        assert "configuration refused, what runs stays" not in log, f"{text}\n{log}"
        assert lb.workers == self.workers
        assert lb.get()[0] > 0
        self.generation += runs


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Follower]:
    folder = tmp_path_factory.mktemp("any")
    file = {"filename": str(folder / "dynamic" / "dynamic.yml"), "watch": False}
    static = {**STATIC, "providers": {"providersThrottleDuration": "0s", "file": file}}
    with running(folder, None, workers=2, static=static) as lb:
        lb.runs(1)
        yield Follower(lb)


@many(60)
@given(data=models(DynamicConfig))
def test_dynamic_configuration_runs_or_is_refused_by_the_check(follower: Follower, data: dict[str, Any]) -> None:
    path = follower.lb.dynamic_file.with_name("checked.yml")
    text = json.dumps(data)
    path.write_text(text)
    static, _ = load_static_with_warnings(follower.lb.log_file.with_name("static.yml"))
    try:
        dynamic, _ = load_dynamic(path)
    except ConfigError:
        follower.give(text, False)
    else:
        find_problems(merge({"file": dynamic}), static)
        if dynamic.is_empty:
            return  # nothing is taken over from it, by design
        follower.give(text, True)


def allowed(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A static configuration that listens on free ports and writes only below a folder."""
    for point in data.get("entryPoints", {}).values() if isinstance(data.get("entryPoints"), dict) else ():
        if isinstance(point, dict) and isinstance(point.get("address"), str):
            point["address"] = "127.0.0.1:0"
    for kind in ("accessLog", "log"):
        if isinstance(data.get(kind), dict):
            data[kind]["filePath"] = str(folder / f"{kind}.log")
    data["providers"] = {"file": {"filename": str(folder / "dynamic.yml")}}
    return data


def static_of(data: dict[str, Any], folder: Path) -> StaticConfig | None:
    """The model; None if it is refused."""
    path = folder / "static.yml"
    path.write_text(json.dumps(allowed(data, folder)))
    try:
        static, _ = load_static_with_warnings(path)
        check_start(static)
    except ConfigError:
        return None
    return static


@many(60)
@given(data=models(StaticConfig))
def test_static_configuration_makes_a_data_plane_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any]
) -> None:
    static = static_of(data, tmp_path_factory.mktemp("static"))
    assert static is None or static == StaticConfig.model_validate(
        static.model_dump(mode="json", by_alias=True, exclude_unset=True)
    )


@many(6)
@given(data=models(StaticConfig).filter(lambda data: bool(data.get("entryPoints"))), dynamic=st.booleans())
def test_static_configuration_starts_workers_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, Any], dynamic: bool
) -> None:
    folder = tmp_path_factory.mktemp("run")
    static = static_of(data, folder)
    if static is None:
        return
    log = folder / "lbcore.log"
    data["log"] = {"level": "INFO", "filePath": str(log)}
    service = {"services": {"s": {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9"}]}}}}
    routed = {"http": {**service, "routers": {"r": {"rule": "PathPrefix(`/`)", "service": "s"}}}}
    with running(folder, routed if dynamic else None, workers=1, static=data) as lb:
        lb.runs(1)
        assert "ended" not in lb.log
        assert "Traceback" not in lb.log
        lb.signal(signal.SIGTERM)
        lb.logged("stopping")
        with contextlib.suppress(ProcessLookupError):
            lb.signal(signal.SIGTERM)
        assert lb.process.wait(30) == 0
