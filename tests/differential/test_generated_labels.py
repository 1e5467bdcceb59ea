"""Labels, tags and keys of a store that nobody has thought of: the same in real Traefik and in lbcore."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.support.docker import Docker, docker
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.redis_servers import StoreServer
from tests.support.stores import Consul
from tests.support.traefik import NAMES, start

SEED = 3
RUNNING, CREATED, STORED = 5, 30, 60  # containers that run, others, and cases in the keys of a store

# Values of options: those that both take, and those that both refuse, or read in one way. In all of them `~` is the
# name of the case, and `+` that of a service or middleware there.
SWITCHES = (("true", "false", "TRUE", "1", "0", "t"), ("yes", "", "TrUe"))
NUMBERS = (("3", "1", "100"), ("-1", "+5", "007", "1e3", " 3", "", "x", "99999999999999999999"))
TIMES = (("10s", "10", "1m30s", "100ms"), ("", "10 s", "1d", "1.5s"))
LISTS = (("/a", "/a,/b", "/a, /b"), ("", "/a,,/b", "/a,", ",", " /a"))
SECTION = (("true", "TRUE", ""), ("false", "0"))
POINTS = (("web", "web,other"), ("", "web, other", "nope", "Web", "web,", ","))
CHAIN = (("+", "+@docker", "+,+"), ("", "nope", ",+", "+,", "x@file"))
TO = (("+",), ("", "nope", "+@docker", "x@file", "noop@internal"))
Values = tuple[tuple[str, ...], tuple[str, ...]]
Options = dict[str, Values]
BALANCER: Options = {
    "passhostheader": SWITCHES,
    "strategy": (("wrr", "p2c", "leasttime"), ()),
    "sticky.cookie": SECTION,
    "sticky.cookie.name": (("c",), ()),
    "sticky.cookie.secure": SWITCHES,
    "sticky.cookie.samesite": (("lax", "none"), ()),
    "sticky.cookie.maxage": NUMBERS,
    "healthcheck.path": (("/health",), ()),
    "healthcheck.interval": TIMES,
    "healthcheck.headers.X-One": (("1", "a,b"), ("",)),
    "responseforwarding.flushinterval": TIMES,
}
OBJECTS: dict[tuple[str, str], Options] = {
    ("http", "routers"): {
        "rule": (("Host(`~.test`)", "Path(`/~`) || Host(`~`)"), ("Host(`~`", "Hst(`~`)", " Host(`~`) ", "Host(``)")),
        "service": TO,
        "entrypoints": POINTS,
        "middlewares": CHAIN,
        "priority": NUMBERS,
        "rulesyntax": (("v3", "v2"), ()),
        "tls": SECTION,
        "tls.domains[0].main": (("a.test",), ("",)),
        "tls.domains[0].sans": (("b.test,c.test",), ("",)),
        "observability.metrics": SWITCHES,
    },
    ("http", "services"): {f"loadbalancer.{key}": values for key, values in BALANCER.items()},
    ("http", "middlewares"): {
        "addprefix.prefix": (("/x",), ("",)),
        "stripprefix.prefixes": LISTS,
        "compress": SECTION,
        "compress.minresponsebodybytes": NUMBERS,
        "ratelimit.average": NUMBERS,
        "ratelimit.period": TIMES,
        "redirectscheme.scheme": (("https",), ("",)),
        "redirectscheme.permanent": SWITCHES,
        "headers.customrequestheaders.X-One": (("1", "a,b", ""), ()),
        "headers.allowedhosts": LISTS,
        "headers.framedeny": (("true",), ("yes",)),
        "retry.attempts": NUMBERS,
        "retry.initialinterval": TIMES,
    },
    ("tcp", "routers"): {
        "rule": (("HostSNI(`*`)", "HostSNI(`~.test`)"), ("HostSNI(`~`", "Host(`~`)")),
        "entrypoints": POINTS,
        "tls": SECTION,
        "tls.passthrough": SWITCHES,
        "priority": NUMBERS,
    },
    ("tcp", "services"): {"loadbalancer.terminationdelay": NUMBERS, "loadbalancer.server.tls": SWITCHES},
    ("udp", "routers"): {"entrypoints": (("udp",), ("web", "nope"))},
}
COMPARED = (
    "rule", "service", "entryPoints", "middlewares", "tls", "priority", "loadBalancer", "addPrefix", "stripPrefix",
    "compress", "redirectScheme", "headers", "status", "weighted", "mirroring", "failover", "highestRandomWeight",
)  # fmt: skip
KINDS = [(layer, kind) for layer in ("http", "tcp", "udp") for kind in ("routers", "services", "middlewares")][:-1]
NOTHING: tuple[Any, ...] = ("", None, 0, False, [], [""], {})

Found = dict[str, dict[str, Any]]


class Case:
    """The options of some objects, by dotted key. `oddness`: of how many values one is odd."""

    def __init__(self, number: int, oddness: float) -> None:
        self.rng = Random(f"{SEED}/{number}")
        self.name = f"x{number}x"
        self.options: dict[str, str] = {}
        self.oddness = oddness if self.rng.random() < 0.5 else 0.0
        layers = self.rng.choice((["http"], ["http"], ["http"], ["tcp"], ["udp"], ["http", "tcp"], ["tcp", "udp"]))
        main = self.rng.choice((self.name, f"{self.name}-a", f"{self.name}_B"))
        for (layer, kind), options in OBJECTS.items():
            if layer in layers:
                for name in self.rng.choice(((main,), (main,), (), (main, f"{self.name}2"))):
                    self.some(f"{layer}.{kind}.{name}", options, main)

    def some(self, place: str, options: Options, main: str) -> None:
        """Some options of one object; of a middleware those of one kind."""
        keys = list(options)
        if ".middlewares." in place:
            kind = self.rng.choice(keys).partition(".")[0]
            keys = [key for key in keys if key.partition(".")[0] == kind]
        for key in self.rng.sample(keys, min(len(keys), self.rng.choice((1, 2, 3)))):
            sane, odd = options[key]
            value = self.rng.choice(odd if odd and self.rng.random() < self.oddness else sane)
            whole = f"{place}.{key}"
            if self.rng.random() < 0.1:
                whole = whole.replace("rule", "Rule").replace("loadbalancer", "loadBalancer").replace(".tls", ".TLS")
            self.options[whole] = value.replace("~", self.name).replace("+", main)

    def labels(self) -> dict[str, str]:
        labels = {f"traefik.{key}": value for key, value in self.options.items()}
        for key, values in {
            "traefik.enable": ("true", "TRUE", "1", "", "false", "no"),
            "traefik.port": ("80",),
            "traefik.http.services.~2.loadbalancer.server.port": ("81", "", "082"),
            "traefik.http.routers.~2": ("true",),
            "traefik.tcp.services.~2.loadbalancer.server.port": ("81",),
            "traefik.udp.services.~2.loadbalancer": ("true",),
            "traefik.udp.services.~2.loadbalancer.server.port": ("81",),
        }.items():
            if self.rng.random() < 0.12:
                labels[key.replace("~", self.name)] = self.rng.choice(values)
        return labels

    def keys(self) -> dict[str, str]:
        """The same in a store, where every router names its service, and every service has a server."""
        found = {}
        for key, value in self.options.items():
            layer, kind, name = key.split(".")[:3]
            place = f"traefik/{layer}/{kind}/{name}"
            if kind == "services":
                server = f"{place}/loadbalancer/servers/0/"
                found[server + ("url" if layer == "http" else "address")] = (
                    "http://127.0.0.1:9" if layer == "http" else "127.0.0.1:9"
                )
            elif kind == "routers":
                found[f"{place}/service"] = self.name
                if layer != "udp":
                    found.setdefault(f"{place}/rule", "HostSNI(`*`)" if layer == "tcp" else f"Host(`{name}`)")
            found[re.sub(r"\[(\d)]", r"/\1", "traefik/" + key.replace(".", "/")).replace("/server/", "/servers/0/")] = (
                value
            )
        return found


def without_nothing(value: Any) -> Any:
    """What Traefik does not tell, and lbcore does: defaults that are nothing."""
    if isinstance(value, dict):
        return {key: left for key, each in value.items() if (left := without_nothing(each)) not in NOTHING}
    return value


def view(thing: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: json.loads(json.dumps(thing[key])) for key in COMPARED if thing.get(key) is not None}
    if (balancer := found.get("loadBalancer")) is not None:
        cookie = (balancer.get("sticky") or {}).get("cookie") or {}
        if re.fullmatch("_[0-9a-f]{5}", cookie.get("name", "")):
            del cookie["name"]  # Traefik tells it when the service is used
        (balancer.get("healthCheck") or {}).pop("unhealthyInterval", None)
        if name := balancer.get("serversTransport"):
            balancer["serversTransport"] = name.partition("@")[0]  # Traefik tells its provider when it is used
        # Of a container that does not run, Traefik keeps the settings of its server.
        balancer["servers"] = [server for server in balancer.get("servers", ()) if server.keys() & {"url", "address"}]
    if (tls := found.get("tls")) is not None:
        found["tls"] = {**without_nothing(tls), "is there": True}
    return {key: left for key, each in found.items() if (left := without_nothing(each)) not in NOTHING}


def read(port: int, provider: str) -> Found:
    found: Found = {}
    for layer, kind in KINDS:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{layer}/{kind}?per_page=10000") as answer:
            found[f"{layer} {kind}"] = {
                each["name"]: each for each in json.load(answer) if each["name"].endswith(f"@{provider}")
            }
    return found


def both(folder: Path, key: str, settings: Mapping[str, Any], provider: str = "") -> tuple[Found, Found]:
    """All objects of the provider (by default the `key` of its settings), once there is the router `sentinel`."""
    provider = provider or key
    told: dict[str, Found] = {}
    for name in NAMES:
        ports = {point: free_port() for point in ("web", "other", "traefik", "udp")}
        static: dict[str, Any] = {
            "entryPoints": {point: {"address": f"127.0.0.1:{port}"} for point, port in ports.items()},
            "api": {"insecure": True},
            "providers": {"providersThrottleDuration": "0s", key: settings},
        }
        static["entryPoints"]["udp"]["address"] += "/udp"
        process = start(name, folder, static)

        def has_read(port: int = ports["traefik"]) -> bool:
            with contextlib.suppress(OSError):
                return f"sentinel@{provider}" in read(port, provider)["http routers"]
            return False

        try:
            eventually(has_read, f"{name} has read what there is: see log-{name} in {folder}")
            told[name] = read(ports["traefik"], provider)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    return told["traefik"], told["lbcore"]


def of_case(found: Found, name: str) -> dict[tuple[str, str], Any]:
    return {(kind, each): thing for kind, things in found.items() for each, thing in things.items() if name in each}


def compare(case: Case, theirs: Found, ours: Found, said: Mapping[str, str]) -> bool:
    """Whether Traefik has the objects of a case; asserts that lbcore has the same ones, and disables what is wrong."""
    his, mine = of_case(theirs, case.name), of_case(ours, case.name)
    disabled = {place for place, thing in mine.items() if thing["status"] == "disabled"}
    if not his:  # Traefik leaves the whole container out
        assert disabled or not mine, said
        return False
    assert his.keys() - mine.keys() == set(), said
    assert mine.keys() - his.keys() <= disabled, said
    for place in his:
        one, other = view(mine[place]), view(his[place])
        if place in disabled and one["status"] == other["status"]:
            continue
        if place in disabled and not place[0].endswith("routers") and not his[place].get("usedBy"):
            continue  # Traefik looks at services and middlewares when a router uses them
        assert one == other, (place, said, mine[place].get("error"), his[place].get("error"))
    return True


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[Docker, list[tuple[Case, dict[str, str]]]]]:
    with docker() as found:
        found.make_network("lbg-a", "172.29.72.0/24")
        cases = []
        for number in range(RUNNING + CREATED):
            case = Case(number, 0.2)
            labels = case.labels()
            exposed = case.rng.choice((("80/tcp",), ("8080/tcp", "90/tcp"), ("53/udp", "9000/tcp")))
            if number < RUNNING:
                found.run(case.name, labels, exposed=exposed, network="lbg-a")
            else:
                labels["traefik.docker.allownonrunning"] = "true"
                found.create(case.name, labels, exposed=exposed, network="lbg-a")
            cases.append((case, labels))
        found.run(
            "sentinel", {"traefik.http.routers.sentinel.rule": "Host(`sentinel`)"}, exposed=("80/tcp",), network="lbg-a"
        )
        yield found, cases


def test_labels(engine: tuple[Docker, list[tuple[Case, dict[str, str]]]], tmp_path: Path) -> None:
    found, cases = engine
    theirs, ours = both(tmp_path, "docker", {"endpoint": found.url})
    used = [compare(case, theirs, ours, labels) for case, labels in cases]
    assert sum(used) > len(cases) // 3


def test_tags(tmp_path: Path) -> None:
    cases = [Case(2000 + number, 0.2) for number in range(STORED)]
    said = {}
    with contextlib.closing(Consul(tmp_path / "consul")) as consul:
        for case in cases:
            # Traefik does not know a tag with spaces around its key, and keeps those of its value.
            labels = {key: value.strip().replace("@docker", "@consulcatalog") for key, value in case.labels().items()}
            said[case.name] = labels
            tags = [f"{key}={value}" for key, value in labels.items()]
            name = case.rng.choice((case.name, f"{case.name}.With_more"))
            service = {"ID": case.name, "Name": name, "Tags": tags, "Address": "127.0.0.1", "Port": 9}
            consul.ask("PUT", "/agent/service/register", service)
        consul.ask("PUT", "/agent/service/register", {"Name": "sentinel", "Address": "127.0.0.1", "Port": 9})
        settings = {"endpoint": {"address": f"127.0.0.1:{consul.port}"}, "defaultRule": "Host(`{{ lower .Name }}`)"}
        theirs, ours = both(tmp_path, "consulCatalog", settings, "consulcatalog")
    used = [compare(case, theirs, ours, said[case.name]) for case in cases]
    assert sum(used) > len(cases) // 3


def test_keys_of_a_store(tmp_path: Path) -> None:
    cases = [Case(1000 + number, 0.0) for number in range(STORED)]
    keys = {key: value for case in cases for key, value in case.keys().items() if value}
    keys |= {
        "traefik/http/routers/sentinel/rule": "Host(`sentinel`)",
        "traefik/http/routers/sentinel/service": "noop@internal",
    }
    store = StoreServer(tmp_path, "redis")
    try:
        store.client.mset(keys)
        theirs, ours = both(tmp_path, "redis", {"endpoints": [store.endpoint]})
    finally:
        store.stop()
    assert all(compare(case, theirs, ours, case.keys()) for case in cases if case.options)
