"""The files of examples/embedding run, and do what they say."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lbcore.selection import NoServerError

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "embedding"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.py")))
def test_it_runs(name: str) -> None:
    done = subprocess.run([sys.executable, FOLDER / name], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout and not done.stderr, done.stderr


def test_a_new_shard_takes_its_share_and_nothing_else_moves() -> None:
    store = load("shards").Store({"db-1": 1, "db-2": 1, "db-3": 2})
    for number in range(4000):
        store.put(f"user-{number}", str(number))
    before = store.sizes()
    assert abs(before["db-3"] - 2000) < 150
    moved = store.add_shard("db-4")
    assert moved == store.sizes()["db-4"] and abs(moved - 800) < 120
    assert all(store.sizes()[name] <= before[name] for name in before)


def test_limits_of_endpoints_hold() -> None:
    module = load("model_endpoints")
    now = [0.0]
    pool = module.ModelPool({"a": (1, 600), "b": (1, 60)}, clock=lambda: now[0])
    asked: list[str] = []

    async def send(endpoint: str) -> str:
        asked.append(endpoint)
        return endpoint

    async def work() -> None:
        for _ in range(11):
            await pool.ask(send, tokens=60)
        with pytest.raises(NoServerError):
            await pool.ask(send, tokens=60)
        now[0] += 6
        await pool.ask(send, tokens=60)

    asyncio.run(work())
    assert asked.count("a") == 11 and asked.count("b") == 1 and asked[-1] == "a"
