"""Trees of routers, and rules of version 2, in real Traefik and in lbcore: the same router for each request."""

from __future__ import annotations

import http.client
import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import NAMES, start


def names(router: str) -> dict[str, Any]:
    return {"headers": {"customResponseHeaders": {"X-Router": router}}}


# Children below roots whose middlewares change what they see. Each tells its name.
TREES: dict[str, Any] = {
    "root": {"rule": "Host(`a.test`)", "entryPoints": ["web"], "middlewares": ["strip", "add"]},
    "kid": {"rule": "PathPrefix(`/x`)", "parentRefs": ["root"]},
    "longer": {"rule": "PathPrefix(`/x`) && PathPrefix(`/`)", "parentRefs": ["root"]},
    "other": {"rule": "PathPrefix(`/y`)", "parentRefs": ["root@file"]},
    "added": {"rule": "Header(`X-Add`, `1`) && PathPrefix(`/z`)", "parentRefs": ["root"]},
    "first": {"rule": "PathPrefix(`/pri`)", "parentRefs": ["root"], "priority": 1000},
    "second": {"rule": "PathPrefix(`/prio`)", "parentRefs": ["root"]},
    "middle": {"rule": "PathPrefix(`/m`)", "parentRefs": ["root"]},
    "deep": {"rule": "PathPrefix(`/m/deep`)", "parentRefs": ["middle"]},
    "two": {"rule": "PathPrefix(`/`)", "parentRefs": ["ones", "twos"]},
    "ones": {"rule": "Host(`one.test`)"},
    "twos": {"rule": "Host(`two.test`)", "observability": {"accessLogs": False}},
    "hosted": {"rule": "Host(`g.test`)", "middlewares": ["host"]},
    "as-asked": {"rule": "Host(`g.test`)", "parentRefs": ["hosted"]},
    "as-sent": {"rule": "Host(`other.test`) && PathPrefix(`/`)", "parentRefs": ["hosted"]},
    "spaced": {"rule": "Host(`h.test`)", "middlewares": ["space"]},
    "decoded": {"rule": "Path(`/a b`)", "parentRefs": ["spaced"]},
    "encoded": {"rule": "Path(`/a%20b`) && PathPrefix(`/`)", "parentRefs": ["spaced"]},
    "old": {"rule": "PathPrefix(`/old/{id:[0-9]+}`, `/older`)", "parentRefs": ["root"], "ruleSyntax": "v2"},
    "allowed": {"rule": "Host(`i.test`)", "middlewares": ["never"]},
    "not-reached": {"rule": "PathPrefix(`/`)", "parentRefs": ["allowed"]},
}
PARENTS = {"root", "middle", "ones", "twos", "hosted", "spaced", "allowed"}
BROKEN: dict[str, Any] = {
    "tls": {"rule": "Path(`/`)", "parentRefs": ["root"], "service": "noop@internal", "tls": {}},
    "seen": {
        "rule": "Path(`/`)", "parentRefs": ["root"], "service": "noop@internal", "observability": {"metrics": True},
    },
    "points": {"rule": "Path(`/`)", "parentRefs": ["root"], "service": "noop@internal", "entryPoints": ["web"]},
    "all": {
        "rule": "Path(`/`)", "parentRefs": ["root"], "service": "noop@internal", "entryPoints": ["web"],
        "observability": {"metrics": True}, "tls": {},
    },
    "orphan": {"rule": "Path(`/`)", "parentRefs": ["nobody"], "service": "noop@internal"},
    "half": {"rule": "PathPrefix(`/half`)", "parentRefs": ["nobody", "root"], "service": "noop@internal"},
    "dead-end": {"rule": "Path(`/d`)", "parentRefs": ["root"]},
    "circle": {"rule": "PathPrefix(`/c`)", "parentRefs": ["root", "back"]},
    "circle-1": {"rule": "Path(`/`)", "parentRefs": ["circle-2"]},
    "circle-2": {"rule": "Path(`/`)", "parentRefs": ["circle-1"]},
    "unfit": {"rule": "Host(`e.test`)", "entryPoints": ["web"]},
    "unread": {"rule": "Nope(`/`)", "parentRefs": ["unfit"], "service": "noop@internal"},
}  # fmt: skip
# Wrong in Traefik as well, which says it in more lines, or as a warning though it does not run.
BROKEN_OTHERWISE: dict[str, Any] = {
    "nothing": {"rule": "Host(`c.test`)"},
    "back": {"rule": "PathPrefix(`/c`)", "parentRefs": ["circle"], "service": "noop@internal"},
    "itself": {"rule": "PathPrefix(`/self`)", "parentRefs": ["root", "itself"], "service": "noop@internal"},
}
MIDDLEWARES: dict[str, Any] = {
    "strip": {"stripPrefix": {"prefixes": ["/s"]}},
    "add": {"headers": {"customRequestHeaders": {"X-Add": "1"}, "customResponseHeaders": {"X-Root": "yes"}}},
    "host": {"headers": {"customRequestHeaders": {"Host": "other.test"}}},
    "space": {"replacePath": {"path": "/a b"}},
    "never": {"ipAllowList": {"sourceRange": ["192.0.2.1"]}},
    **{name: names(name) for name in TREES if name not in PARENTS},
}
ASKED_OF_TREES = """
a.test /x
a.test /s/x
a.test /s
a.test /y
a.test /z
a.test /prio
a.test /m/deep
a.test /m/no
a.test /nope
a.test /half
a.test /c
a.test /self
a.test /d
a.test /old/7
a.test /old/x
a.test /older
one.test /
two.test /
g.test /
other.test /
h.test /q
e.test /
c.test /
i.test /
"""

OLD = {
    "hosts": "Host(`a.v2`, `B.v2.`)",
    "header": "HostHeader(`hh.v2`)",
    "pattern": "HostRegexp(`{sub:[a-z]+}.c.v2`, `{UP:X[A-Z]}.c.v2`)",
    "named": "HostRegexp(`{sub}.d.v2`)",
    "plain": "HostRegexp(`e.v2`)",
    "star": "Host(`*`)",
    "prefix": "Host(`p.v2`) && PathPrefix(`/a`, `/b/{id:[0-9]+}`)",
    "path": "Host(`p.v2`) && Path(`/exact`, `/x/{id}`, `/y/{a:foo|bar}/z`, `/dot.txt`)",
    "group": "Host(`p.v2`) && Path(`/{x:(g|h)}`)",
    "method": "Host(`m.v2`) && Method(`get`, `POST`)",
    "headers": "Host(`h.v2`) && Headers(`X-A`, `1`, `X-B`, `2`)",
    "headersRegexp": "Host(`hr.v2`) && HeadersRegexp(`X-A`, `^[0-9]+$`)",
    "query": "Host(`q.v2`) && Query(`a=1`, `b=`)",
    "queryPattern": "Host(`qr.v2`) && Query(`a={x:[0-9]+}`)",
    "queryPair": "Host(`qp.v2`) && Query(`a`, `b`)",
    "address": "Host(`ip.v2`) && ClientIP(`10.0.0.0/8`, `127.0.0.1`)",
    "stranger": "Host(`ip6.v2`) && ClientIP(`10.0.0.0/8`, `::1`)",
    "operators": "!Method(`POST`) && (Host(`n.v2`) || HOST(`n2.v2`))",
    "wrong-pairs": "Headers(`X-A`)",
    "wrong-query": "Query(`a`)",
    "wrong-path": "Path(`foo`)",
    "wrong-braces": "Path(`/{x`)",
    "wrong-name": "Path(`/{:x}`)",
    "wrong-empty": "Path(`/{x:}`)",
    "wrong-regex": "Path(`/{x:[}`)",
    "wrong-header-regex": "HeadersRegexp(`X`, `[`)",
    "wrong-new": "PathRegexp(`/x`)",
    "wrong-new-header": "Header(`X`, `y`)",
    "wrong-address": "ClientIP(`nope`)",
    "wrong-nothing": "Host(``)",
    "wrong-letters": "Host(`ü.v2`)",
}
ASKED_OF_OLD = """
a.v2 /
B.V2:80 /
b.v2. /
hh.v2 /
foo.c.v2 /
FOO.c.v2 /
foo1.c.v2 /
xb.c.v2 /
foo.c.v2:8080 /
a.b.c.v2 /
x.d.v2 /
x.y.d.v2 /
e.v2 /
xe.v2 /
p.v2 /ad
p.v2 /b/12x
p.v2 /b/x
p.v2 /exact
p.v2 /exact/
p.v2 /exact?x=1
p.v2 /x/1
p.v2 /x/
p.v2 /x/1/2
p.v2 /x/a%20b
p.v2 /x/%2F
p.v2 /y/foo/z
p.v2 /y/foobar/z
p.v2 /dot.txt
p.v2 /dotxtxt
p.v2 /g
p.v2 /i
m.v2 /
h.v2 / X-A:1 X-B:2
h.v2 / X-A:1
hr.v2 / x-a:12
hr.v2 / X-A:a1
q.v2 /?a=1&b=z
q.v2 /?a=1&b
q.v2 /?a=1
q.v2 /?A=1&b
qr.v2 /?a=12
qr.v2 /?a=1x
qp.v2 /?a=b
ip.v2 /
ip6.v2 /
n.v2 /
n2.v2 /
"""
# In version 2 the first value of a key counts, in version 3 any of them: lbcore follows the latter.
ASKED_OTHERWISE = "qr.v2 /?a=x&a=1"

Answer = tuple[int, str | None, str | None]


class Both:
    """Traefik and lbcore with the same two files."""

    def __init__(self, folder: Path) -> None:
        routers: dict[str, Any] = {}
        for name, router in TREES.items():
            routers[name] = router
            if name not in PARENTS:
                routers[name] = {**router, "service": "noop@internal", "middlewares": [name]}
        routers |= {**BROKEN, **BROKEN_OTHERWISE}
        for name, rule in OLD.items():
            routers[name] = {"rule": rule, "ruleSyntax": "v2", "service": "noop@internal", "middlewares": ["tell"]}
        middlewares = {**MIDDLEWARES, "tell": names("v2")}
        self.file = folder / "dynamic.yml"
        self.file.write_text(yaml.safe_dump({"http": {"routers": routers, "middlewares": middlewares}}))
        self.folder = folder
        self.ports = {name: free_ports(2) for name in NAMES}
        self.processes: list[subprocess.Popen[bytes]] = []
        for name, (web, api) in self.ports.items():
            static = {
                "entryPoints": {
                    "web": {"address": f"127.0.0.1:{web}"},
                    "traefik": {"address": f"127.0.0.1:{api}"},
                },
                "api": {"insecure": True},
                "accessLog": {"filePath": str(folder / f"access-{name}"), "format": "json", "addInternals": True},
                "metrics": {"prometheus": {"addRoutersLabels": True}, "addInternals": True},
                "providers": {"file": {"filename": str(self.file), "watch": False}},
            }
            self.processes.append(start(name, folder, static))
        for name in NAMES:
            eventually(lambda name=name: self.is_ready(name), f"{name} routes", 30)  # type: ignore[misc]

    def is_ready(self, which: str) -> bool:
        try:
            return self.ask(which, "n.v2 /")[0] == 418
        except OSError:
            return False

    def ask(self, which: str, asked: str) -> Answer:
        host, path, *headers = asked.split()
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[which][0], timeout=10)
        try:
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", host)
            for header in headers:
                connection.putheader(*header.split(":"))
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.headers.get("X-Router"), answer.headers.get("X-Root")
        finally:
            connection.close()

    def read(self, which: str, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[which][1]}{path}") as answer:
            return str(answer.read().decode())

    def routers(self, which: str) -> dict[str, dict[str, Any]]:
        found = json.loads(self.read(which, "/api/http/routers?per_page=1000"))
        return {router["name"].removesuffix("@file"): router for router in found if router["provider"] == "file"}

    def logged(self, which: str) -> list[tuple[str, str | None]]:
        lines = (self.folder / f"access-{which}").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        hosts = {line.split()[0] for line in ASKED_OF_TREES.split("\n") if line}
        return sorted(
            (line["RequestHost"] + line["RequestPath"], line.get("RouterName") or "")
            for line in found
            if line["RequestHost"] in hosts
        )

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
            process.wait(10)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    found = Both(tmp_path_factory.mktemp("routers"))
    yield found
    found.close()


def test_trees_route_alike(both: Both) -> None:
    found = {name: {line: both.ask(name, line) for line in ASKED_OF_TREES.split("\n") if line} for name in NAMES}
    assert found["lbcore"] == found["traefik"]
    hidden = {"encoded", "not-reached", "as-sent", "kid", "second"}  # others are asked first
    assert {answer[1] for answer in found["lbcore"].values()} == {None, *TREES} - PARENTS - hidden
    asked = len(found["lbcore"])

    def whole(name: str) -> bool:
        return len(both.logged(name)) >= asked - 1  # one root says that its requests are not logged

    for name in NAMES:
        eventually(lambda name=name: whole(name), "the log is written")  # type: ignore[misc]
    assert both.logged("lbcore") == both.logged("traefik")
    assert ("a.test/m/deep", "root@file -> middle@file -> deep@file") in both.logged("lbcore")


def test_each_router_on_the_way_is_counted(both: Both) -> None:
    for name in NAMES:
        assert both.ask(name, "a.test /m/deep")[0] == 418

    def counted(which: str) -> set[tuple[str, str]]:
        found = set()
        for line in both.read(which, "/metrics").splitlines():
            if "router_requests_total{" in line:
                labels = dict(part.split("=", 1) for part in line.split("{")[1].split("}")[0].split(","))
                found.add((labels["router"].strip('"'), labels["service"].strip('"')))
        return found

    wanted = {
        ("root@file", "root@file-muxer"),
        ("middle@file", "middle@file-muxer"),
        ("deep@file", "noop@internal"),
    }
    for name in NAMES:
        eventually(lambda name=name: wanted <= counted(name), f"{name} counts each router")  # type: ignore[misc]


@pytest.mark.parametrize("name", NAMES)
def test_middlewares_of_an_entry_point_stand_before_its_own_routers(tmp_path: Path, name: str) -> None:
    to_web = {"entryPoint": {"to": "web"}}
    guards: dict[str, dict[str, Any]] = {
        "web": {},
        "ping": {"middlewares": ["never@file"]},
        "redirection": {"middlewares": ["never@file"], "redirections": to_web},
        "unknown": {"middlewares": ["never"], "redirections": to_web},
        "traefik": {"middlewares": ["never@file"]},
    }
    ports = dict(zip(guards, free_ports(len(guards)), strict=True))
    routers = {"r": {"rule": "Host(`r`)", "service": "noop@internal", "entryPoints": ["web"]}}
    never = {"never": {"ipAllowList": {"sourceRange": ["192.0.2.1"]}}}
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump({"http": {"routers": routers, "middlewares": never}}))
    static = {
        "entryPoints": {
            point: {"address": f"127.0.0.1:{ports[point]}", **({"http": guard} if guard else {})}
            for point, guard in guards.items()
        },
        "ping": {"entryPoint": "ping"},
        "api": {"insecure": True},
        "providers": {"file": {"filename": str(tmp_path / "dynamic.yml"), "watch": False}},
    }
    process = start(name, tmp_path, static)

    def status(point: str, path: str = "/", host: str = "a") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", ports[point], timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    try:
        eventually(lambda: status("web", host="r") == 418, "it routes")
        assert status("ping", "/ping") == status("redirection") == 403
        assert status("traefik", "/api/version") == status("traefik", "/dashboard/") == status("traefik") == 403
        assert status("unknown") == 404
    finally:
        process.terminate()
        process.wait(10)


def test_wrong_trees_are_refused_alike(both: Both) -> None:
    traefik, lbcore = both.routers("traefik"), both.routers("lbcore")
    assert "tls" not in traefik  # it does not list a router with TLS and no entry point
    traefik["tls"] = traefik["all"]
    for name in BROKEN:
        assert lbcore[name]["status"] == traefik[name]["status"] == "disabled"
        if name != "unread":
            assert lbcore[name]["error"] == traefik[name]["error"]
    for name in BROKEN_OTHERWISE:
        assert lbcore[name]["status"] == "disabled"
        assert lbcore[name]["error"] == traefik[name]["error"][:1]
    for name in TREES:
        assert (lbcore[name]["status"], name) == ("enabled", name)
        for key in ("status", "parentRefs", "priority", "entryPoints", "using"):
            assert lbcore[name].get(key) == traefik[name].get(key)


def test_rules_of_version_2_match_alike(both: Both) -> None:
    for line in ASKED_OF_OLD.split("\n"):
        if line:
            assert (line, both.ask("lbcore", line)) == (line, both.ask("traefik", line))
    assert [both.ask(name, ASKED_OTHERWISE)[0] for name in NAMES] == [404, 418]


def test_rules_of_version_2_are_refused_alike(both: Both) -> None:
    traefik, lbcore = both.routers("traefik"), both.routers("lbcore")
    for name in OLD:
        wrong = "disabled" if name.startswith("wrong-") else "enabled"
        assert (name, lbcore[name]["status"]) == (name, traefik[name]["status"]) == (name, wrong)
        assert lbcore[name]["priority"] == traefik[name]["priority"]
