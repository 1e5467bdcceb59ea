"""What a pick of each selector without a key costs, beside an empty method call and the `roundrobin` package.

`pytest bench/micro/test_selectors.py`; `extra_info` has `ns_per_pick`. Without `roundrobin` installed it is left out.
"""

from __future__ import annotations

import importlib
import sys
from array import array
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from lbcore import selection

NAMES = (
    "EDF",
    "LeastConnections",
    "LeastTime",
    "P2C",
    "PeakEWMA",
    "Prequal",
    "RandomWeighted",
    "SmoothWRR",
    "StaticStride",
    "Tijdeman",
)
COUNTS = (2, 16, 256, 4096, 65_536)
CALLS = 20_000

EMPTY = """
cdef class Empty:
    def call(self):
        return self
"""


def servers(count: int) -> dict[str, int]:
    return {f"10.{number >> 8}.{number & 255}.1:8080": 1 + number % 3 for number in range(count)}


def made(name: str, count: int) -> Any:
    lb = getattr(selection, name)(servers(count))
    if hasattr(lb, "latency_s"):
        for server in lb:
            lb.report(server, latency_s=0.01)
    lb.pick()
    return lb


def measure(benchmark: Any, call: Any) -> None:
    def calls() -> None:
        for _ in repeat(None, CALLS):
            call()

    benchmark.pedantic(calls, rounds=15, warmup_rounds=1)
    benchmark.extra_info["ns_per_pick"] = benchmark.stats.stats.min * 1e9 / CALLS


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An object of a Cython class with a method that does nothing: the unit of all figures here."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    root: Path = tmp_path_factory.mktemp("empty")
    (root / "lbcore_bench_empty.pyx").write_text(EMPTY)
    modules = cythonize(
        [Extension("lbcore_bench_empty", [str(root / "lbcore_bench_empty.pyx")], extra_compile_args=["-O2"])],
        language_level=3,
        quiet=True,
        build_dir=str(root),
    )
    build = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    build.build_lib = build.build_temp = str(root)  # type: ignore[attr-defined]
    build.ensure_finalized()
    build.run()
    sys.path.insert(0, str(root))
    try:
        return importlib.import_module("lbcore_bench_empty").Empty()
    finally:
        sys.path.remove(str(root))


def test_empty_call(benchmark: Any, empty: Any) -> None:
    measure(benchmark, empty.call)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_pick(benchmark: Any, name: str, count: int) -> None:
    measure(benchmark, made(name, count).pick)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", NAMES)
def test_pick_many(benchmark: Any, name: str, count: int) -> None:
    lb, out = made(name, count), array("I", bytes(4 * CALLS))
    benchmark.pedantic(lb.pick_many, (CALLS, out), rounds=15, warmup_rounds=1)
    benchmark.extra_info["ns_per_pick"] = benchmark.stats.stats.min * 1e9 / CALLS


@pytest.mark.parametrize("count", [2, 16, 256, 4096])
@pytest.mark.parametrize("rival", ["basic", "weighted", "smooth"])
def test_roundrobin_package(benchmark: Any, rival: str, count: int) -> None:
    package = pytest.importorskip("roundrobin")
    names = servers(count)
    call = getattr(package, rival)(list(names) if rival == "basic" else list(names.items()))
    wanted = min(CALLS, max(2000, 4_000_000 // count))

    def calls() -> None:
        for _ in repeat(None, wanted if rival == "smooth" else CALLS):
            call()

    benchmark.pedantic(calls, rounds=3 if rival == "smooth" else 15)
    benchmark.extra_info["ns_per_pick"] = benchmark.stats.stats.min * 1e9 / (wanted if rival == "smooth" else CALLS)
