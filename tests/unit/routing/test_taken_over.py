"""A table that takes over what stays the same is the table that is compiled anew, whatever has changed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import Linter, lint
from lbcore.config.static import StaticConfig
from lbcore.process.snapshot import Publisher, Remembered, identities
from lbcore.routing.compile import Table, compile_table
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate(
    {"entryPoints": {"web": {"address": ":0"}, "other": {"address": ":0", "http": {"middlewares": ["m0@file"]}}}}
)
MIDDLEWARES: list[Any] = [
    {"addPrefix": {"prefix": "/a"}},
    {"chain": {"middlewares": ["m0"]}},
    {"replacePathRegex": {"regex": "(", "replacement": "/"}},
    {"errors": {"status": ["500"], "service": "s0", "query": "/"}},
]


def service(rng: random.Random) -> dict[str, Any]:
    servers = [{"url": f"http://127.0.0.{rng.randrange(1, 4)}:{rng.randrange(1, 3)}"} for _ in range(rng.randrange(3))]
    balancer: dict[str, Any] = {"servers": servers}
    found: dict[str, Any] = {"loadBalancer": balancer}
    match rng.randrange(12):
        case 0:
            balancer["serversTransport"] = f"t{rng.randrange(2)}"
        case 1:
            balancer["maxConnections"] = 1
        case 2:
            found["middlewares"] = [f"m{rng.randrange(4)}"]
        case 3:
            return {"weighted": {"services": [{"name": f"s{rng.randrange(6)}", "weight": 1}]}}
        case 4:
            balancer["strategy"] = rng.choice(["p2c", "nonsense"])
        case 5:
            balancer["servers"] = [{"url": "invalid-backend"}]
        case 6:
            found["timeout"] = "1s"
        case 7:
            balancer["sticky"] = {"cookie": {}}
    return found


def router(rng: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": f"Host(`h{rng.randrange(9)}`)", "service": f"s{rng.randrange(7)}"}
    match rng.randrange(12):
        case 0:
            found["middlewares"] = [f"m{rng.randrange(4)}"]
        case 1:
            found["rule"] = "nonsense"
        case 2:
            found["entryPoints"] = [rng.choice(["web", "other", "nowhere"])]
        case 3:
            found["priority"] = rng.randrange(100)
        case 4:
            found["tls"] = {"options": rng.choice(["", "o", "none"])}
        case 5:
            found |= {"service": "", "parentRefs": [f"r{rng.randrange(6)}"]} if rng.random() < 0.3 else {}
        case 6:
            found["service"] = "noop@internal"
    return found


def changed(data: dict[str, Any], rng: random.Random) -> None:
    """One object comes, goes, or becomes another one."""
    http = data["http"]
    match rng.randrange(8):
        case 0 | 1 | 2:
            http["routers"][f"r{rng.randrange(6)}@file"] = router(rng)
        case 3 | 4:
            http["services"][f"s{rng.randrange(6)}@file"] = service(rng)
        case 5:
            http[rng.choice(["routers", "services"])].pop(f"{rng.choice('rs')}{rng.randrange(6)}@file", None)
        case 6:
            http["middlewares"][f"m{rng.randrange(4)}@file"] = rng.choice(MIDDLEWARES)
        case 7:
            http["serversTransports"] = {f"t{rng.randrange(2)}@file": {"maxIdleConnsPerHost": rng.randrange(3)}}
            data["tls"] = {"options": {"o@file": {}}} if rng.random() < 0.5 else {}


def shown(table: Table) -> dict[str, Any]:
    """All that a table is, but for which objects it is made of."""
    routes = table.made_of.routes
    limits = {server.name: limit for server, limit in table.limits}  # what comes into force with the table
    return {
        "disabled": sorted((each.kind, each.name, each.errors, each.follows) for each in table.disabled),
        "warnings": sorted(table.warnings),
        "services": {name: type(each).__name__ for name, each in table.services.items()},
        "balancers": sorted(table.balancers),
        "servers": {name: (each.slot, each.url) for name, each in table.servers.items()},
        "members": dict(table.made_of.services.members),
        "places": {name: sorted(places) for name, places in table.places.items()},
        "routes": {
            (point, name): (route.slot, [step.name for step in route.middlewares], getattr(route.service, "name", None))
            for point, of_point in routes.items()
            for name, route in of_point.items()
        },
        "order": {
            (point, encrypted): [(filed.rule, route.name) for filed, route in pairs]
            for encrypted, order in ((False, table.order), (True, table.encrypted_order))
            for point, pairs in order.items()
        },
        "queued": sorted(table.queued),
        "limits": {name: limits.get(name, each.limit) for name, each in table.servers.items()},
    }


@pytest.mark.parametrize("seed", range(12))
def test_it_is_the_table_that_is_compiled_anew(seed: int) -> None:
    rng = random.Random(seed)
    region = Region.create(1)
    publisher, remembered, linter = Publisher(region), Remembered(), Linter(STATIC)
    data: dict[str, Any] = {"http": {kind: {} for kind in ("routers", "services", "middlewares")}}
    for _ in range(25):
        changed(data, rng)
    before: Table | None = None
    for _ in range(40):
        changed(data, rng)
        snapshot = publisher.reserve(remembered.read(remembered.write(DynamicConfig.model_validate(data))))
        known = before.servers if before is not None else {}
        args = (snapshot.dynamic, STATIC, snapshot.slots, region, 0)
        anew = compile_table(*args, known, finds_all=True)
        table = compile_table(*args, known, finds_all=True, before=before)
        assert shown(table) == shown(anew)
        out = {each.name for each in table.disabled if each.kind == "router"}
        found = linter.lint(snapshot.dynamic, table.made_of.checked, out)
        assert sorted(found) == sorted(lint(snapshot.dynamic, STATIC, out))
        services, servers = identities(snapshot.dynamic)
        assert snapshot.slots.services.keys() == {*services}
        assert snapshot.slots.servers.keys() == {*servers}
        publisher.commit(snapshot)
        table.take_effect()
        before = table


def served_by(number: int) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.{number}"}]}}


def test_what_stays_the_same_is_taken_over_and_the_rest_is_not() -> None:
    region = Region.create(1)
    publisher, remembered = Publisher(region), Remembered()
    http: dict[str, Any] = {
        "routers": {f"r{n}@file": {"rule": f"Host(`h{n}`)", "service": f"s{n}"} for n in range(3)},
        "services": {f"s{n}@file": served_by(n + 1) for n in range(3)},
        "middlewares": {"m0@file": {"addPrefix": {"prefix": "/a"}}},
    }
    tables: list[Table] = []

    def publish() -> Table:
        config = DynamicConfig.model_validate({"http": http})
        written = remembered.write(config)
        snapshot = publisher.reserve(remembered.read(written))
        before = tables[-1] if tables else None
        known = before.servers if before is not None else {}
        table = compile_table(snapshot.dynamic, STATIC, snapshot.slots, region, 0, known, before=before)
        publisher.commit(snapshot)
        tables.append(table)
        return table

    first = publish()
    http["routers"]["r1@file"] = {"rule": "Host(`new`)", "service": "s1"}
    http["services"]["s2@file"] = served_by(9)
    second = publish()
    routes = [table.made_of.routes["web"] for table in (first, second)]
    assert [routes[0][f"r{n}@file"] is routes[1][f"r{n}@file"] for n in range(3)] == [True, False, False]
    assert [first.services[f"s{n}@file"] is second.services[f"s{n}@file"] for n in range(3)] == [True, True, False]
    del http["routers"]["r0@file"]
    assert "s0@file" not in publish().services  # nobody leads there any more


def test_layer_4_is_taken_over_as_long_as_nothing_of_it_changes() -> None:
    region = Region.create(1)
    publisher, remembered = Publisher(region), Remembered()
    servers = {"loadBalancer": {"servers": [{"address": "127.0.0.1:1"}]}}
    data: dict[str, Any] = {
        "http": {"routers": {"r@file": {"rule": "Host(`a`)", "service": "s"}}, "services": {"s@file": served_by(1)}},
        "tcp": {"routers": {"t@file": {"rule": "HostSNI(`*`)", "service": "s"}}, "services": {"s@file": servers}},
        "udp": {"routers": {"u@file": {"service": "s"}}, "services": {"s@file": servers}},
    }

    def compiled(before: Table | None) -> Table:
        snapshot = publisher.reserve(remembered.read(remembered.write(DynamicConfig.model_validate(data))))
        known = before.servers if before is not None else {}
        table = compile_table(snapshot.dynamic, STATIC, snapshot.slots, region, 0, known, before=before)
        publisher.commit(snapshot)
        return table

    first = compiled(None)
    data["http"]["routers"]["r@file"]["rule"] = "Host(`b`)"
    second = compiled(first)
    assert second.made_of.tcp is first.made_of.tcp and second.made_of.udp is first.made_of.udp
    assert second.tcp["web"].routes == first.tcp["web"].routes != []
    assert second.servers.keys() == first.servers.keys() and second.joined == second.left == []
    data["tcp"]["services"]["s@file"] = {"loadBalancer": {"servers": [{"address": "127.0.0.1:2"}]}}
    third = compiled(second)
    assert third.made_of.tcp is not second.made_of.tcp and third.made_of.udp is second.made_of.udp
    assert [server.url for server in third.joined] == ["127.0.0.1:2"]
    assert [server.url for server in third.left] == ["127.0.0.1:1"]
    assert third.left[0].name.startswith("tcp:")
