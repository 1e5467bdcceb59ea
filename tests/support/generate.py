"""Configurations made from the models: whatever a field takes, values at the edge, and some that do not fit."""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hypothesis import strategies as st

from lbcore.config.model import Model

FULL_LEVELS = 3  # of the tree, which only hold others
NAMES = ["a", "b", "c", "d"]
SANE: dict[str, list[Any]] = {
    "rule": [
        "PathPrefix(`/`)", "Path(`/a`)", "Host(`a.test`)", "HostRegexp(`^.+$`)", "Method(`GET`)", "Header(`a`, `b`)",
        "Query(`a`)", "ClientIP(`10.0.0.0/8`)", "!Path(`/a`) && (Host(`b`) || Path(`/c`))", "HostSNI(`*`)",
        "Cookie(`a`, `b`)", "PathRegexp(`" + "(a)" * 40 + "`)", "HeaderRegexp(`a`, `a|b`)", 'Path("/\\x00")',
        "Host(`" + "a." * 200 + "`)",
    ],
    "url": ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9/x", "unix:/tmp/x"],
    "address": ["127.0.0.1:9", "[::1]:9", "localhost:9"],
    "entry_points": ["web", "traefik"],
    "status": ["500", "500-504", "429"],
    "same_site": ["lax", "none", "strict", ""],
    "strategy": ["wrr", "p2c", "hrw", "leastconn", "leasttime", "peakewma"],
    "regex": ["^/(.*)$", "a|b", "(a)(b)?", "(?i)x"],
    "path": ["/", "/health", "health?x=1", ""],
    "min_healthy": ["1", "50%"],
    "recover_healthy": ["1", "50%", ""],
    "version": ["1", "2"],
    "send": ["x", "\r\n", "é"],
    "keys": ["0123456789abcdef"],
    "source_range": ["10.0.0.0/8", "::1", "127.0.0.1"],
}  # fmt: skip
REFERENCES = frozenset({"service", "fallback", "name", "middlewares", "services", "servers_transport", "child"})
PLAIN = ["", "a", "/", "/x", "GET", "x-y", "50%", "1", "é", "https"]
ODD_TEXTS = [
    " ", "//[x", "/a b", "A: b", "%", "%zz", "\r\n", "\u2028", "\ud800", "x" * 300, "0%", "999", "http://x:99999",
    "http://[", "ftp://x", "300.1.1.1", "::/0", "(", "(a)" * 40, "a{1000}{1000}", "${", "PathRegexp(`(`)",
    "Host(``)", "Path(`/x`", "HostSNI(`a.test`)", "a@file", "noop@internal", "api@internal", "x@docker", "@", "a@",
    "nobody", "//host/x", "http://a/x", "[", "x:0", "true", "0x10",
]  # fmt: skip
EDGES = [sign * (2**bits + step) for bits in (31, 32, 63, 64) for step in (-1, 0) for sign in (-1, 1)]
ODD_INTEGERS = [-2, -1, 65536, 10**30, *EDGES]
ODD_DURATIONS = [
    "-1s",
    "99999h",
    "99999999999999999999",
    "1e9",
    "1x",
    "0.0000001ns",
    "0s",
    "1ns",
    "2540400h",
    "87600h",
    -5,
    10**30,
]
ODD_FLOATS = [0.0, -1.0, 1e300, 5e-324, float("inf"), 10**40]
MISFITS: list[Any] = [None, True, False, -1, 3.5, "x", [], {}, [1], {"a": 1}, "yes", 10**40, [[]], {"": ""}, [None]]


def models(model: type[Model]) -> st.SearchStrategy[dict[str, Any]]:
    """The element of a model as a file has it. In every second one, one value in sixteen is odd or does not fit."""
    return st.booleans().flatmap(lambda odd: _Generator(16 if odd else 0).model(model, 0))


class _Generator:
    """`odd_of`: of how many values one is odd; 0: none."""

    def __init__(self, odd_of: int) -> None:
        self.odd_of = odd_of
        self.known: dict[tuple[type[Model], int], st.SearchStrategy[dict[str, Any]]] = {}

    def model(self, model: type[Model], depth: int) -> st.SearchStrategy[dict[str, Any]]:
        key = model, min(depth, FULL_LEVELS)
        if key not in self.known:
            self.known[key] = st.deferred(lambda: self._model(model, depth))
        return self.known[key]

    def _model(self, model: type[Model], depth: int) -> st.SearchStrategy[dict[str, Any]]:
        hidden = getattr(model, "hidden", frozenset({"place", "faults"}))
        fields = {
            field.alias or name: (self.value(name, field.annotation, depth + 1), field.is_required())
            for name, field in model.model_fields.items()
            if name not in hidden
        }

        @st.composite
        def make(draw: st.DrawFn) -> dict[str, Any]:
            if not fields:
                return {}
            # Mostly one key: most sections are a choice of kinds.
            most = len(fields) if depth < FULL_LEVELS else 3
            least = len(fields) // 2 if depth < FULL_LEVELS else 1
            chosen = set(draw(st.lists(st.sampled_from(sorted(fields)), min_size=least, max_size=most)))
            return {
                key: draw(strategy)
                for key, (strategy, required) in fields.items()
                if key in chosen or (required and not (self.odd_of and draw(st.integers(0, 19)) == 0))
            }

        return make()

    def value(self, name: str, annotation: Any, depth: int) -> st.SearchStrategy[Any]:
        fitting = self.fitting(name, annotation, depth)
        if not self.odd_of:
            return fitting
        misfit = st.sampled_from(MISFITS)
        return st.integers(0, 2 * self.odd_of).flatmap(lambda number: fitting if number else misfit)

    def or_odd(self, sane: st.SearchStrategy[Any], odd: list[Any]) -> st.SearchStrategy[Any]:
        if not self.odd_of:
            return sane
        edge = st.sampled_from(odd)
        return st.integers(0, self.odd_of).flatmap(lambda number: sane if number else edge)

    def fitting(self, name: str, annotation: Any, depth: int) -> st.SearchStrategy[Any]:
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self.fitting(name, parts[0], depth)
        if origin in (Union, types.UnionType):
            return st.one_of(*(self.fitting(name, part, depth) for part in parts if part is not type(None)))
        if origin is Literal:
            return st.sampled_from(parts)
        if origin in (list, tuple):
            return st.lists(self.value(name, parts[0], depth), min_size=1, max_size=3)
        if origin is dict:
            return st.dictionaries(st.sampled_from(NAMES), self.value(name, parts[1], depth), min_size=1, max_size=4)
        if isinstance(annotation, type) and issubclass(annotation, Model):
            return self.model(annotation, depth)
        leaf: Callable[[], st.SearchStrategy[Any]] = {
            bool: lambda: st.booleans(),
            int: lambda: self.or_odd(st.sampled_from([0, 1, 2, 3, 100, 200, 503]) | st.integers(0, 1000), ODD_INTEGERS),
            float: lambda: self.or_odd(st.sampled_from([0.5, 1.0, 3.0]), ODD_FLOATS),
            timedelta: lambda: self.or_odd(st.sampled_from(["1ms", "100ms", "1s", "1m30s", "10", 5]), ODD_DURATIONS),
        }.get(annotation, lambda: self.text(name))
        return leaf()

    def text(self, name: str) -> st.SearchStrategy[Any]:
        if name in REFERENCES:
            return self.or_odd(st.sampled_from(NAMES), ODD_TEXTS)
        return self.or_odd(st.sampled_from(SANE.get(name, PLAIN)), ODD_TEXTS)
