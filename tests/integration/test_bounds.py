"""Every number and duration of the models, at the edges of what C holds: refused with its line, or it runs."""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest

from lbcore.config.decode import keys_of
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import load_objects, load_static_with_warnings
from lbcore.config.model import Model, fields_of
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError
from lbcore.process.check import check_file
from lbcore.process.embedded import Proxy
from lbcore.process.preflight import start_problems

EDGES: list[Any] = [
    *(sign * (2**bits + step) for bits in (15, 16, 31, 32, 63, 64) for step in (-1, 0) for sign in (1, -1)),
    *(-1, 0, 1, 100, 200),
    10**30,
    "1e18",
    "0x7fffffffffffffff",
]
DURATIONS: list[Any] = ["0s", "1s", "-1s", "1ns", "87600h", "87601h", "2147483647ms", "2147483648ms"]
DURATIONS += ["9223372036854775807ns", "9223372036s", "99999999999h", "-9223372036s", "-87600h"]
DURATIONS += [2**31, 2**63, -(2**63), 10**30]
FLOATS: list[Any] = ["1e300", "-1e300", "1e-320", "1e309", 0, -1, 2**64, "5e-324", ".inf", ".nan"]
NEEDED = {
    "rule": "PathPrefix(`/`)", "service": "a", "fallback": "a", "name": "a", "url": "http://127.0.0.1:9", "to": "web",
    "address": "127.0.0.1:9", "status": ["500"], "services": [{"name": "a"}], "servers": [{"url": "http://127.0.0.1:9"}],
    "mirrors": [{"name": "a", "percent": 1}], "errors": {"status": ["500"]}, "filename": "dynamic.yml", "header": "X-A",
    "secret": "0123456789abcdef", "percent": 1, "keys": ["0123456789abcdef"], "path": "/", "amount": 1,
    "sourceRange": ["127.0.0.1"], "regex": "^/x", "replacement": "/", "scheme": "https", "prefix": "/x",
    "class": "tests.unit.middleware.test_classes:Plain",
}  # fmt: skip
BREAKING = {"expression": "NetworkErrorRatio() > 0.5"}
POLLED = {"endpoint": "http://127.0.0.1:9"}
BESIDE = {
    "queue": {"maxConnections": 1}, "hashOn": {"strategy": "hrw"},
    "maxRequestBodyBytes": {"status": ["500"], "attempts": 2}, "statusRewrites": {"status": ["500"], "query": "/x"},
    "leeway": {"secret": "0123456789abcdef" * 4}, "cacheFor": {"jwksURL": "http://127.0.0.1:9"},
    "initialInterval": {"attempts": 2, "timeout": "1s"}, "budget": {"attempts": 2}, "hedging": {"attempts": 2},
    "timeout": {"attempts": 2, "loadBalancer": {"servers": [{"url": "http://127.0.0.1:9"}]}},
    **dict.fromkeys(("checkPeriod", "fallbackDuration", "recoveryDuration", "responseCode"), BREAKING),
    **dict.fromkeys(("pollInterval", "pollTimeout", "maxResponseBodySize"), POLLED),
    "throttleDuration": {**POLLED, "watch": True},
    "pushInterval": {"token": "t", "org": "o", "bucket": "b"},
}  # fmt: skip
POINTS = {"entryPoints": {"web": {"address": "127.0.0.1:0"}, "dns": {"address": "127.0.0.1:0/udp"}}}
FILLED = frozenset({"servers", "services", "rule", "service", "url", "address", "sourceRange"})
Way = tuple[str, ...]


def leaves(model: type[Model], way: Way = ()) -> Iterator[tuple[Way, type]]:
    """The way to each number and duration below a model; `*` stands for a name, `[]` for a position."""
    for name, field in fields_of(model).items():
        yield from _below(field.annotation, (*way, field.alias or name))


def _below(annotation: Any, way: Way) -> Iterator[tuple[Way, type]]:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        for part in parts:
            yield from _below(part, way)
    elif origin in (list, tuple):
        yield from _below(parts[0], (*way, "[]"))
    elif origin is dict:
        yield from _below(parts[1], (*way, "*"))
    elif isinstance(annotation, type) and issubclass(annotation, Model):
        yield from leaves(annotation, way)
    elif annotation in (int, float, timedelta):
        yield way, annotation


def holding(model: type[Model], way: Way, value: Any) -> dict[str, Any]:
    """The least configuration with a value at the end of a way."""
    return {way[0]: _filled(_annotation(model, way[0]), way[1:], value), **needed(model, way[0])}


def needed(model: type[Model], but: str) -> dict[str, Any]:
    found = {}
    for name, field in fields_of(model).items():
        key = field.alias or name
        if key != but and (field.is_required() or key in FILLED):
            if key in NEEDED and get_origin(_bare(field.annotation)) is not dict:
                found[key] = NEEDED[key]
            if key == "servers" and "address" in keys_of(_inner(field.annotation)):
                found[key] = [{"address": NEEDED["address"]}]
            if key == "address" and "trustForwardHeader" in keys_of(model):
                found[key] = NEEDED["url"]
    keys = keys_of(model)
    beside = {key: value for key, value in BESIDE.get(but, {}).items() if key in keys and _takes(keys[key], value)}
    return beside | found


def _takes(annotation: Any, value: Any) -> bool:
    """Whether a key may have a value: one text is no section."""
    inner = _bare(annotation)
    return isinstance(value, dict) or not (isinstance(inner, type) and issubclass(inner, Model))


def _inner(annotation: Any) -> Any:
    """What a list holds."""
    return get_args(_bare(annotation))[0]


def _bare(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        return _bare(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _annotation(model: type[Model], key: str) -> Any:
    return next(field.annotation for name, field in fields_of(model).items() if (field.alias or name) == key)


def _filled(annotation: Any, way: Way, value: Any) -> Any:
    annotation = _bare(annotation)
    if not way:
        return value
    if way[0] == "*":
        return {"500" if way[1:] == () else "x": _filled(get_args(annotation)[1], way[1:], value)}
    if way[0] == "[]":
        return [_filled(get_args(annotation)[0], way[1:], value)]
    return holding(annotation, way, value)


def values_of(kind: type) -> list[Any]:
    return {int: EDGES, float: [*FLOATS, *EDGES], timedelta: DURATIONS}[kind]


def around(way: Way, data: dict[str, Any]) -> dict[str, Any]:
    """A dynamic configuration with all that the object `x` needs, and a router that leads to it."""
    layer, kind = way[0], way[1]
    text = data.setdefault(layer, {})
    if layer == "http":
        service = {"loadBalancer": {"servers": [{"url": "http://127.0.0.1:9"}]}}
        rule, mine = "PathPrefix(`/`)", "middlewares"
    else:
        service = {"loadBalancer": {"servers": [{"address": "127.0.0.1:9"}]}}
        rule, mine = "HostSNI(`*`)", "middlewares"
    if kind == "serversTransports":
        service["loadBalancer"]["serversTransport"] = "x"  # type: ignore[assignment]
    text.setdefault("services", {})["a"] = service
    leads = {"service": "x" if kind == "services" else "a", **({} if layer == "udp" else {"rule": rule})}
    if kind == mine:
        text.setdefault("routers", {})["r"] = {**leads, "middlewares": ["x"]}
    elif kind == "routers":
        text["routers"]["x"] |= {} if layer == "udp" else {"rule": rule}
    else:
        text.setdefault("routers", {})["r"] = leads
    return data


DYNAMIC = list(leaves(DynamicConfig))
STATIC = list(leaves(StaticConfig))


def name_of(case: Any) -> str:
    return ".".join(case[0]) if isinstance(case, tuple) else ""


@pytest.mark.parametrize("case", DYNAMIC, ids=name_of)
def test_a_number_of_the_dynamic_configuration_is_refused_or_runs(case: tuple[Way, type], tmp_path: Path) -> None:
    asyncio.run(_dynamic(*case, tmp_path))


async def _dynamic(way: Way, kind: type, folder: Path) -> None:
    path = folder / "dynamic.yml"
    async with Proxy({**POINTS, "providers": {"keepRunning": False}}, DynamicConfig()) as proxy:
        ran = 0
        for value in values_of(kind):
            path.write_text(json.dumps(around(way, holding(DynamicConfig, way, value))))
            try:
                dynamic = load_objects(path).config
            except ConfigError as error:
                assert all(problem.line for problem in error.problems), (value, error)
                continue
            report = check_file(path)
            assert not any("Error:" in line for line in report.problems), (value, report.problems)
            assert all(f"{path}:1" in line or f"{path}: " in line for line in report.problems), (value, report.problems)
            disabled = await proxy.apply(dynamic)
            assert bool(disabled) == bool(report.problems), (value, report.problems, disabled)
            if not disabled:
                ran += 1
                await _asked(proxy)
        assert ran, f"no value of it runs: {report.problems}"


async def _asked(proxy: Proxy) -> None:
    host, port = proxy.addresses["web"][:2]
    reader, writer = await asyncio.open_connection(str(host), int(port))
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(30):
        await reader.read()
    writer.close()


@pytest.mark.parametrize("case", STATIC, ids=name_of)
def test_a_number_of_the_static_configuration_is_refused_or_runs(case: tuple[Way, type], tmp_path: Path) -> None:
    asyncio.run(_static(*case, tmp_path))


async def _static(way: Way, kind: type, folder: Path) -> None:
    path, ran = folder / "static.yml", 0
    for value in values_of(kind):
        data = holding(StaticConfig, way, value)
        for point in data.setdefault("entryPoints", {"web": {}}).values():
            point["address"] = "127.0.0.1:0"
        data["entryPoints"]["traefik"] = {"address": "127.0.0.1:0"}
        if way[0] == "accessLog":
            data["accessLog"]["filePath"] = str(folder / "log")
        path.write_text(json.dumps(data))
        try:
            static, _ = load_static_with_warnings(path)
        except ConfigError as error:
            assert all(problem.line for problem in error.problems), (value, error)
            continue
        assert not static.closed, value
        assert await asyncio.to_thread(start_problems, static) == [], value
        async with Proxy(static, DynamicConfig()) as proxy:
            assert set(proxy.addresses) == set(static.entry_points)
        ran += 1
    assert ran, "no value of it runs: the configuration around it is wrong"
