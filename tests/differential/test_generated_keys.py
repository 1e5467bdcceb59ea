"""Keys of stores that nobody has thought of, with what labels cannot say: the same in real Traefik and in lbcore."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.differential.test_generated_labels import SWITCHES, TIMES, Found, both, of_case, view
from tests.support.redis_servers import StoreServer
from tests.support.stores import ZooKeeper

SEED = 4
CASES = 60
# In values and keys, `~` is the name of the case. Others are names of services, some of which are not there.
CHILDREN = ("~-a", "~-a", "~-b", "~-none", "~-w", "x@file")
LEAVES = tuple(child for child in CHILDREN if child != "~-w")  # at layer 4, a service in itself ends Traefik
SERVERS = ("http://127.0.0.1:9", "https://127.0.0.1:9/x", "h2c://localhost:80")


class StoredCase:
    """Keys of some objects, by whole key."""

    def __init__(self, number: int, has_empty: bool) -> None:
        self.rng = Random(f"{SEED}/{number}")
        self.name = f"y{number}y"
        self.keys: dict[str, str] = {}
        self.has_empty = has_empty
        self.http()
        if self.rng.random() < 0.3:
            self.layer4(self.rng.choice(("tcp", "udp")))
        if self.rng.random() < 0.3:
            self.tls()

    def put(self, key: str, value: str) -> None:
        if self.rng.random() < 0.1:
            key = key.replace("priority", "Priority").replace("rule", "RULE").replace("/url", "/URL")
        if value or self.has_empty:
            self.keys[f"traefik/{key}".replace("~", self.name)] = value.replace("~", self.name)

    def some(self, key: str, values: tuple[str, ...], odds: float = 0.5) -> None:
        if self.rng.random() < odds:
            self.put(key, self.rng.choice(values))

    def positions(self, count: int) -> list[str]:
        """Positions in a list: numbers, from 0 or not, or any texts. Below ten, their orders are one."""
        numbers = [str(n) for n in range(count)]
        return self.rng.choice((numbers, [str(n + 3) for n in range(count)], list("abc")[:count]))

    def http(self) -> None:
        place = "http/services"
        for name in ("~-a", "~-b"):
            for position in self.positions(self.rng.choice((1, 1, 2, 3))):
                self.put(f"{place}/{name}/loadBalancer/servers/{position}/url", self.rng.choice(SERVERS))
                self.some(f"{place}/{name}/loadBalancer/servers/{position}/weight", ("1", "3", "0"), 0.2)
                self.some(f"{place}/{name}/loadBalancer/servers/{position}/preservePath", SWITCHES[0], 0.1)
            self.some(f"{place}/{name}/loadBalancer/healthCheck/path", ("/health",), 0.3)
            self.some(f"{place}/{name}/loadBalancer/serversTransport", ("~-t",), 0.3)
            self.some(f"{place}/{name}/loadBalancer/sticky/cookie", ("true", "false", ""), 0.2)
            self.some(f"{place}/{name}/loadBalancer/passiveHealthCheck/failureWindow", TIMES[0], 0.1)
        kind = self.rng.choice(("weighted", "mirroring", "failover", "highestRandomWeight", "none"))
        whole = f"{place}/~-w/{kind}"
        if kind in ("weighted", "highestRandomWeight"):
            for position in self.positions(self.rng.choice((1, 2, 3))):
                self.put(f"{whole}/services/{position}/name", self.rng.choice(CHILDREN))
                self.some(f"{whole}/services/{position}/weight", ("1", "0", "7"))
            if kind == "weighted":
                self.some(f"{whole}/sticky/cookie/name", ("c", "c d"), 0.3)
                self.some(f"{whole}/sticky/cookie/secure", SWITCHES[0], 0.2)
        elif kind == "mirroring":
            self.put(f"{whole}/service", self.rng.choice(CHILDREN))
            for position in self.positions(self.rng.choice((1, 2))):
                self.put(f"{whole}/mirrors/{position}/name", self.rng.choice(CHILDREN))
                self.some(f"{whole}/mirrors/{position}/percent", ("10", "0", "100", "101"))
            self.some(f"{whole}/mirrorBody", SWITCHES[0], 0.3)
            self.some(f"{whole}/maxBodySize", ("-1", "0", "42"), 0.3)
        elif kind == "failover":
            self.put(f"{whole}/service", self.rng.choice(CHILDREN))
            self.some(f"{whole}/fallback", CHILDREN, 0.9)
            # Without statuses, Traefik needs a health check.
            self.put(f"{whole}/errors/status", self.rng.choice(("500-599", "500,502")))
        if kind != "none":
            self.some(f"{place}/~-w/middlewares", ("~-m", "~-m,~-none"), 0.2)
        for name, service in (("~-r", "~-w"), ("~-s", self.rng.choice(CHILDREN))):
            self.put(f"http/routers/{name}/rule", f"Host(`{name}.test`)")
            self.put(f"http/routers/{name}/service", service if kind != "none" else "~-a")
            self.some(f"http/routers/{name}/entryPoints", ("web", "web,other"), 0.3)
            self.some(f"http/routers/{name}/priority", ("7", "0"), 0.3)
            self.some(f"http/routers/{name}/tls", ("true", "false", ""), 0.2)
            for position in range(self.rng.choice((0, 0, 1, 2))):
                self.put(f"http/routers/{name}/middlewares/{position}", self.rng.choice(("~-m", "~-n", "~-none")))
        if self.rng.random() < 0.2:
            self.put("http/routers/~-c/rule", "Path(`/~`)")
            self.put("http/routers/~-c/service", "~-a")
            self.put("http/routers/~-c/parentRefs", self.rng.choice(("~-p", "~-p,~-p2", "~-none")))
            self.put("http/routers/~-p/rule", "Host(`~-p.test`)")
        self.put("http/middlewares/~-m/addPrefix/prefix", "/x")
        self.some("http/middlewares/~-n/errors/service", CHILDREN)
        self.some("http/middlewares/~-n/errors/status", ("500-599", "404,502"), 0.9)
        self.some("http/serversTransports/~-t/insecureSkipVerify", SWITCHES[0])
        self.some("http/serversTransports/~-t/forwardingTimeouts/dialTimeout", TIMES[0])
        self.some("http/serversTransports/~-t/maxIdleConnsPerHost", ("7", "-1"))

    def layer4(self, layer: str) -> None:
        place = f"{layer}/services"
        for name in ("~-a", "~-b"):
            for position in self.positions(self.rng.choice((1, 2))):
                self.put(f"{place}/{name}/loadBalancer/servers/{position}/address", "127.0.0.1:9")
        for position in self.positions(2):
            self.put(f"{place}/~-w/weighted/services/{position}/name", self.rng.choice(LEAVES))
            self.some(f"{place}/~-w/weighted/services/{position}/weight", ("1", "7"))
        if layer == "tcp":
            self.put("tcp/routers/~-r/rule", self.rng.choice(("HostSNI(`*`)", "HostSNI(`~.test`)")))
            self.some("tcp/routers/~-r/tls", ("true", "false", ""))
            self.some("tcp/routers/~-r/tls/passthrough", SWITCHES[0], 0.3)
            self.some("tcp/routers/~-r/middlewares", ("~-l",))
            self.put("tcp/middlewares/~-l/ipAllowList/sourceRange", "127.0.0.1/32,10.0.0.0/8")
        self.put(f"{layer}/routers/~-r/service", self.rng.choice(("~-w", "~-w", *LEAVES)))
        self.put(f"{layer}/routers/~-r/entryPoints", "udp" if layer == "udp" else "other")

    def tls(self) -> None:
        self.put("tls/options/~-o/minVersion", "VersionTLS12")
        self.some("tls/options/~-o/sniStrict", SWITCHES[0])
        self.some("tls/options/~-o/cipherSuites/0", ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",))
        self.put("http/routers/~-r/tls/options", self.rng.choice(("~-o", "~-o", "~-none")))


@contextlib.contextmanager
def filled(kind: str, folder: Path, keys: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A store with these keys: its settings."""
    if kind == "redis":
        server = StoreServer(folder, kind)
        try:
            server.client.mset(keys)
            yield {"endpoints": [server.endpoint]}
        finally:
            server.stop()
    else:
        with contextlib.closing(ZooKeeper(folder / kind)) as store:
            store.put(keys)
            yield store.settings


def agree(case: StoredCase, theirs: Found, ours: Found) -> int:
    """Assert that both have the same objects of a case, and that the same routers run. Returns how many do."""
    his, mine = of_case(theirs, case.name), of_case(ours, case.name)
    assert his.keys() == mine.keys(), case.keys
    running = 0
    for place in his:
        one, other = view(mine[place]), view(his[place])
        if one["status"] == "disabled" and place[0].endswith("routers"):
            assert other["status"] == "disabled", (place, case.keys, mine[place]["error"])
        elif one["status"] == "disabled":
            # Traefik looks at services and middlewares when a router uses them, and runs.
            layer = place[0].partition(" ")[0]
            users = [his[f"{layer} routers", name] for name in his[place].get("usedBy", ())]
            assert all(user["status"] == "disabled" for user in users), (place, case.keys, mine[place]["error"])
        else:
            assert one == other, (place, case.keys, his[place].get("error"))
            running += place[0].endswith("routers")
    return running


@pytest.mark.parametrize("kind", ["redis", "zooKeeper"])
def test_objects_of_stores(tmp_path: Path, kind: str) -> None:
    cases = [StoredCase(number, kind != "redis") for number in range(CASES)]
    keys = {key: value for case in cases for key, value in case.keys.items()}
    keys |= {
        "traefik/http/routers/sentinel/rule": "Host(`sentinel`)",
        "traefik/http/routers/sentinel/service": "noop@internal",
    }
    with filled(kind, tmp_path, keys) as settings:
        theirs, ours = both(tmp_path, kind, settings, kind.lower())
    assert sum(agree(case, theirs, ours) for case in cases) > CASES // 2
