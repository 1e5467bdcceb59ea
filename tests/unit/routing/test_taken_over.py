"""A table that takes over what stays the same is the table that is compiled anew, whatever has changed."""

from __future__ import annotations

import random
from typing import Any

import pytest

from lbcore.config import router_tree
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lint import Linter, lint
from lbcore.config.static import StaticConfig
from lbcore.config.validate import http as validation
from lbcore.process.snapshot import Publisher, Remembered, identities
from lbcore.routing.compile import compile_table
from lbcore.routing.table import Table
from lbcore.state.region import Region

STATIC = StaticConfig.model_validate(
    {
        "entryPoints": {
            "web": {"address": ":0"},
            "other": {"address": ":0", "http": {"middlewares": ["m0@file"]}},
            "dns": {"address": ":0/udp"},
        }
    }
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
            found |= {"service": "", "parentRefs": [f"r{rng.randrange(6)}"]} if rng.random() < 0.8 else {}
        case 6:
            found["service"] = "noop@internal"
    return found


def stream_service(rng: random.Random, layer: str) -> dict[str, Any]:
    servers = [{"address": f"127.0.0.{rng.randrange(1, 4)}:{rng.randrange(1, 3)}"} for _ in range(rng.randrange(3))]
    balancer: dict[str, Any] = {"servers": servers}
    match rng.randrange(8):
        case 0:
            return {"weighted": {"services": [{"name": f"s{rng.randrange(6)}"}, {"name": f"s{rng.randrange(6)}"}]}}
        case 1 if layer == "tcp":
            balancer["serversTransport"] = f"t{rng.randrange(2)}"
        case 2 if servers:
            servers[0]["address"] = "nonsense"
        case 3 if layer == "tcp" and servers:
            servers[0]["tls"] = True
        case 4:
            balancer["healthCheck"] = {}
        case 5:
            return {}
    return {"loadBalancer": balancer}


def stream_router(rng: random.Random, layer: str) -> dict[str, Any]:
    found: dict[str, Any] = {"service": f"s{rng.randrange(7)}"}
    if layer == "udp":
        if rng.random() < 0.3:
            found["entryPoints"] = [rng.choice(["dns", "nowhere"])]
        return found
    found |= {"rule": f"HostSNI(`h{rng.randrange(9)}`)", "tls": {"passthrough": True}}
    match rng.randrange(10):
        case 0:
            found |= {"rule": "HostSNI(`*`)", "tls": rng.choice([None, {"passthrough": True}])}
        case 1:
            found["tls"] = {"options": rng.choice(["", "o", "none"])}
        case 2:
            found["middlewares"] = [f"m{rng.randrange(4)}"]
        case 3:
            found["rule"] = "nonsense"
        case 4:
            found["entryPoints"] = [rng.choice(["web", "other", "nowhere"])]
        case 5:
            found["priority"] = rng.randrange(100)
        case 6:
            found["tls"] = None
    return {key: value for key, value in found.items() if value is not None}


def changed_stream(data: dict[str, Any], rng: random.Random, layer: str) -> None:
    part = data.setdefault(layer, {"routers": {}, "services": {}})
    match rng.randrange(8):
        case 0 | 1 | 2:
            part["routers"][f"r{rng.randrange(6)}@file"] = stream_router(rng, layer)
        case 3 | 4:
            part["services"][f"s{rng.randrange(6)}@file"] = stream_service(rng, layer)
        case 5:
            part[rng.choice(["routers", "services"])].pop(f"{rng.choice('rs')}{rng.randrange(6)}@file", None)
        case 6 if layer == "tcp":
            kinds: list[Any] = [{"ipAllowList": {"sourceRange": ["127.0.0.1"]}}, {"inFlightConn": {"amount": 1}}, {}]
            part.setdefault("middlewares", {})[f"m{rng.randrange(4)}@file"] = rng.choice(kinds)
        case 7 if layer == "tcp":
            part["serversTransports"] = {f"t{rng.randrange(2)}@file": {"dialTimeout": f"{rng.randrange(1, 4)}s"}}


def changed(data: dict[str, Any], rng: random.Random) -> None:
    """One object comes, goes, or becomes another one."""
    if rng.random() < 0.4:
        changed_stream(data, rng, rng.choice(["tcp", "udp"]))
        return
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
        "streams": {
            (point, route.name): (route.service.name, len(route.limits or ()), route.acceptor is None)
            for point, of_point in table.tcp.items()
            for route in (*of_point.routes, *of_point.encrypted)
        },
        "stream ends of TLS": sorted(route.name for route in table.ends_tls),
        "stream order": {
            point: [[route.name for route in each] for each in (of_point.routes, of_point.encrypted)]
            for point, of_point in table.tcp.items()
        },
        "datagrams": {point: (route.name, route.service.name) for point, route in table.udp.items()},
        "stream services": [
            {name: type(each).__name__ for name, each in services.items()}
            for services in (table.tcp_services, table.udp_services)
        ],
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
        ends = [route for routes in table.tcp.values() for route in routes.encrypted if route.acceptor is not None]
        assert {id(route) for route in ends} <= {id(route) for route in table.ends_tls}, "with its own certificates"
        joined = {id(each) for each in table.servers.values()} - {id(each) for each in known.values()}
        assert {id(each) for each in table.joined} == joined
        left = {id(each) for each in known.values()} - {id(each) for each in table.servers.values()}
        assert {id(each) for each in table.left} == left
        out = {each.name for each in table.disabled if each.kind == "router"}
        found = linter.lint(snapshot.dynamic, table.made_of.checked, out)
        assert sorted(found) == sorted(lint(snapshot.dynamic, STATIC, out))
        services, servers = identities(snapshot.dynamic)
        assert snapshot.slots.services.keys() == {*services}
        assert snapshot.slots.servers.keys() == {*servers}
        publisher.commit(snapshot)
        table.take_effect()
        before = table


@pytest.mark.parametrize("most", [100_000, 3])
@pytest.mark.parametrize("seed", range(6))
def test_trees_of_routers_are_those_that_are_compiled_anew(
    seed: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`most`: ways from routers to others that there may be in all."""
    monkeypatch.setattr(router_tree, "MAX_ALL_WAYS", most)
    monkeypatch.setattr(validation, "MAX_ALL_WAYS", most)
    rng = random.Random(f"trees {seed}")
    region = Region.create(1)
    publisher, remembered, linter = Publisher(region), Remembered(), Linter(STATIC)
    services = {f"s{n}@file": served_by(n + 1) for n in range(4)}
    http: dict[str, Any] = {"routers": {}, "services": services, "middlewares": {"m0@file": MIDDLEWARES[0]}}
    before: Table | None = None
    for _ in range(80):
        name = f"r{rng.randrange(12)}@file"
        made: dict[str, Any] = {"rule": f"PathPrefix(`/{rng.randrange(4)}`)"}
        if rng.random() < 0.7:
            made["parentRefs"] = [f"r{rng.randrange(12)}" for _ in range(rng.choice((1, 1, 2)))]
        if rng.random() < 0.6:
            made["service"] = f"s{rng.randrange(5)}"
        if rng.random() < 0.2:
            made["middlewares"] = ["m0"]
        http["routers"][name] = made
        if rng.random() < 0.2:
            http["routers"].pop(f"r{rng.randrange(12)}@file", None)
        config = DynamicConfig.model_validate({"http": http})
        snapshot = publisher.reserve(remembered.read(remembered.write(config)))
        known = before.servers if before is not None else {}
        args = (snapshot.dynamic, STATIC, snapshot.slots, region, 0)
        anew = compile_table(*args, known, finds_all=True)
        table = compile_table(*args, known, finds_all=True, before=before)
        assert shown(table) == shown(anew)
        assert table.made_of.in_trees == anew.made_of.in_trees
        assert [below(route) for route in roots(table)] == [below(route) for route in roots(anew)]
        out = {each.name for each in table.disabled if each.kind == "router"}
        found = linter.lint(snapshot.dynamic, table.made_of.checked, out)
        assert sorted(found) == sorted(lint(snapshot.dynamic, STATIC, out))
        publisher.commit(snapshot)
        table.take_effect()
        before = table


def roots(table: Table) -> list[Any]:
    return [route for order in (table.order, table.encrypted_order) for pairs in order.values() for _, route in pairs]


def below(route: Any, levels: int = 4) -> Any:
    """The names of a route, of its steps, its service, and of what is below it for some paths."""
    if route is None:
        return None
    steps = [step.name for step in route.middlewares]
    heads = [f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for n in range(4)]
    children = route.children if levels else None
    found = [] if children is None else [below(children.route(head), levels - 1) for head in heads]
    return route.name, steps, getattr(route.service, "name", None), found


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


def test_of_layer_4_what_stays_the_same_is_taken_over() -> None:
    region = Region.create(1)
    publisher, remembered = Publisher(region), Remembered()
    data: dict[str, Any] = {}
    for layer in ("tcp", "udp"):
        services = {f"s{n}@file": {"loadBalancer": {"servers": [{"address": f"127.0.0.{n + 1}:1"}]}} for n in range(3)}
        more = {"rule": "HostSNI(`a`)", "tls": {"passthrough": True}} if layer == "tcp" else {}
        data[layer] = {"routers": {f"r{n}@file": {"service": f"s{n}", **more} for n in range(3)}, "services": services}
    tables: list[Table] = []

    def publish() -> Table:
        snapshot = publisher.reserve(remembered.read(remembered.write(DynamicConfig.model_validate(data))))
        before = tables[-1] if tables else None
        known = before.servers if before is not None else {}
        table = compile_table(snapshot.dynamic, STATIC, snapshot.slots, region, 0, known, before=before)
        publisher.commit(snapshot)
        tables.append(table)
        return table

    first = publish()
    data["tcp"]["routers"]["r0@file"]["rule"] = "HostSNI(`b`)"
    data["tcp"]["services"]["s1@file"]["loadBalancer"]["servers"][0]["address"] = "127.0.0.9:1"
    data["udp"]["services"]["s1@file"]["loadBalancer"]["servers"][0]["address"] = "127.0.0.9:1"
    second = publish()
    routes = [{route.name: route for route in table.tcp["web"].encrypted} for table in (first, second)]
    assert [routes[0][f"r{n}@file"] is routes[1][f"r{n}@file"] for n in range(3)] == [False, False, True]
    of_udp = [table.made_of.udp.by_name["dns"] for table in (first, second)]
    assert [of_udp[0][f"r{n}@file"] is of_udp[1][f"r{n}@file"] for n in range(3)] == [True, False, True]
    for one, other in ((first.tcp_services, second.tcp_services), (first.udp_services, second.udp_services)):
        assert [one[f"s{n}@file"] is other[f"s{n}@file"] for n in range(3)] == [True, False, True]
    assert sorted(server.url for server in second.joined) == ["127.0.0.9:1"] * 2
    assert sorted(server.url for server in second.left) == ["127.0.0.2:1"] * 2
    data["tcp"]["services"]["s0@file"]["loadBalancer"]["servers"] = []
    assert publish().tcp_services["s0@file"] is not second.tcp_services["s0@file"]
    data["tcp"]["middlewares"] = {"m@file": {"inFlightConn": {"amount": 1}}}
    data["tcp"]["routers"]["r2@file"]["middlewares"] = ["m"]
    data["tcp"]["services"]["s2@file"]["loadBalancer"]["serversTransport"] = "t"
    data["tcp"]["serversTransports"] = {"t@file": {"dialTimeout": "1s"}}
    limited = publish()
    data["tcp"]["middlewares"]["m@file"]["inFlightConn"]["amount"] = 2
    again = publish()
    found = [next(r for r in each.tcp["web"].encrypted if r.name == "r2@file") for each in (limited, again)]
    assert [route.limits[0].amount for route in found] == [1, 2] and found[0].service is found[1].service
    data["tcp"]["serversTransports"]["t@file"]["dialTimeout"] = "2s"
    assert publish().tcp_services["s2@file"] is not again.tcp_services["s2@file"]
    del data["tcp"]["routers"]["r2@file"], data["udp"]["routers"]["r2@file"]
    third = publish()
    assert third.udp["dns"].name == "r1@file" and third.udp_services.keys() == {"s0@file", "s1@file"}
    assert "s2@file" not in third.tcp_services and "tcp:s2@file|127.0.0.3:1" not in third.servers
    tree = {
        "w@file": {"weighted": {"services": [{"name": "s0"}]}},
        "v@file": {"weighted": {"services": [{"name": "w"}]}},
    }
    data["tcp"]["services"] |= tree
    data["tcp"]["routers"]["w@file"] = {"rule": "HostSNI(`w`)", "service": "v", "tls": {}}
    fourth = publish()
    data["tcp"]["routers"]["r1@file"]["rule"] = "HostSNI(`c`)"
    fifth = publish()
    ends = [next(r for r in each.tcp["web"].encrypted if r.name == "w@file") for each in (fourth, fifth)]
    assert ends[0].service is ends[1].service and ends[0].acceptor is not ends[1].acceptor
    data["tcp"]["services"]["s0@file"]["loadBalancer"]["servers"] = [{"address": "127.0.0.8:1"}]
    sixth = publish()
    assert sixth.tcp_services["v@file"] is not fifth.tcp_services["v@file"]
    del data["tcp"]["routers"]["w@file"], data["tcp"]["routers"]["r0@file"]
    assert publish().tcp_services.keys() == {"s1@file"}
