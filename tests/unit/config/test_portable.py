"""What of a file Traefik would refuse: the keys that the reference marks as extensions, and some values."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.model import Model, fields_of
from lbcore.config.portable import KEYS, foreign
from lbcore.config.static import StaticConfig
from lbcore.config.tree import parse
from tests.unit.config.test_reference import reference as reference


def test_the_keys_are_those_that_the_reference_marks(reference: ModuleType) -> None:
    meanings = reference.Meanings.read()
    marked: dict[str, set[str]] = {}
    seen: set[type[Model]] = set()

    def walk(model: type[Model]) -> None:
        if model in seen:
            return
        seen.add(model)
        for name, info in fields_of(model).items():
            key = reference.key_of(model, name, info)
            if meanings.of(key.model, key.name).startswith("+ "):
                marked.setdefault(key.model.__name__, set()).add(key.name)
            elif key.below is not None:
                walk(key.below)

    for root in (StaticConfig, DynamicConfig):
        walk(root)
    assert {model: set(keys.split()) for model, keys in KEYS.items()} == marked


def found(text: str, model: type[Model] = DynamicConfig) -> list[str]:
    tree = parse(text, "x.toml" if text.startswith("[") else "x.yml", toml=text.startswith("["))
    return [f"{problem.severity} {problem}" for problem in foreign(tree, model)]


def test_extensions_are_named_with_their_lines_wherever_they_stand() -> None:
    text = """http:
  routers:
    a: {rule: "Host(`a`) && !Cookie(`x`, `y`)", service: a}
  services:
    a:
      LOADBALANCER:
        strategy: leastconn
        servers:
          - url: http://a
          - {url: "unix:/tmp/a", maxconnections: 4}
    maxConnections: {loadBalancer: {servers: [{url: "http://b"}]}}
tcp:
  services: {t: {loadBalancer: {servers: [{address: "a:1", weight: 2}]}}}
lbcore: {http: {services: {a: {loadBalancer: {maxConnections: 4, strategy: peakewma}}}}}
x-own: {maxConnections: 5}
"""
    places = [re.match(r"error x\.yml:(\d+): ([^: ]+): ", line) for line in found(text)]
    assert [(int(place[1]), place[2]) for place in places if place] == [
        (3, "http.routers.a.rule"),
        (7, "http.services.a.LOADBALANCER.strategy"),
        (10, "http.services.a.LOADBALANCER.servers[1].url"),
        (10, "http.services.a.LOADBALANCER.servers[1].maxconnections"),
        (13, "tcp.services.t.loadBalancer.servers[0].weight"),
    ]


def test_a_file_of_traefik_has_none() -> None:
    toml = (
        '[http.services.a.loadBalancer]\nstrategy = "p2c"\n[[http.services.a.loadBalancer.servers]]\nurl = "http://a"'
    )
    assert found(toml) == []
    assert found("entryPoints: {web: {address: ':80'}}\napi: {insecure: true}\n", StaticConfig) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api: {token: aaaaaaaaaaaaaaaaaa}", "error x.yml:1: api.token: an extension: Traefik does not start with it"),
        ("entryPoints: {a: {address: 'unix:/a'}}", "error x.yml:1: entryPoints.a.address: 'unix:/a': Traefik does not"),
        ("explain: {secret: aaaaaaaaaaaaaaaaa}", "warning x.yml:1: explain: Traefik ignores this key"),
    ],
)
def test_the_static_file(text: str, expected: str) -> None:
    (line,) = found(text, StaticConfig)
    assert line.startswith(expected)
