"""Any key of a dynamic file with an odd value: what lbcore refuses, real Traefik refuses, or it is one of a few kinds."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any, get_args, get_origin

import pytest

from lbcore.config.decode import is_model, keys_of, plain
from lbcore.config.dynamic import Middleware, Router, ServersTransport, Service
from lbcore.config.load import parse_dynamic
from lbcore.config.model import Model
from lbcore.config.portable import added_to
from lbcore.errors import ConfigError
from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import TRAEFIK

SEED, CASES = 5, 300
ODD = (
    *("null", "true", "false", "yes", '"true"', "0", "1", "-1", '"7"', '" 7 "', "1.5", "2.0", "1e3", "010", "70000", "''", "' '"),
    *("x", "'a,b'", "/x", "'*'", "10.0.0.0/8", "http://127.0.0.1:9", "é", "10s", '"10"', "1m30s", "1.5s", "0s", "2000h", "99999h"),
    *("[]", "['']", "[x]", "[7]", "[null]", "[a, b]", "[{}]", "{}", "{a: b}", "{a: null}", "12:30", "503", "'500-599'"),
)  # fmt: skip
SERVERS = {"servers": [{"url": "http://127.0.0.1:9"}]}
CHILDREN = {"services": [{"name": "ok"}]}
# What an object has beside the key that is tried, by its kind.
BESIDE: dict[str, dict[str, Any]] = {
    "loadBalancer": SERVERS, "weighted": CHILDREN, "highestRandomWeight": CHILDREN,
    "mirroring": {"service": "ok", "mirrors": [{"name": "ok"}]}, "failover": {"service": "checked", "fallback": "ok"},
    "addPrefix": {"prefix": "/x"}, "stripPrefix": {"prefixes": ["/x"]}, "stripPrefixRegex": {"regex": ["/x"]},
    "replacePath": {"path": "/x"}, "replacePathRegex": {"regex": "^/a", "replacement": "/b"},
    "redirectScheme": {"scheme": "https"}, "redirectRegex": {"regex": "^http:", "replacement": "https:"},
    "headers": {"frameDeny": True}, "ipAllowList": {"sourceRange": ["::1"]}, "ipWhiteList": {"sourceRange": ["::1"]},
    "basicAuth": {"users": ["a:b"]}, "digestAuth": {"users": ["a:b:c"]}, "forwardAuth": {"address": "http://127.0.0.1:9"},
    "inFlightReq": {"amount": 5}, "passTLSClientCert": {"pem": True}, "rateLimit": {"average": 5}, "retry": {"attempts": 2},
    "errors": {"status": ["500"], "service": "ok"}, "circuitBreaker": {"expression": "NetworkErrorRatio() > 0.5"},
    "buffering": {"maxRequestBodyBytes": 5}, "encodedCharacters": {"allowEncodedSlash": True},
}  # fmt: skip
COMMON = {
    "routers": {"base": {"rule": "Host(`base`)", "service": "ok"}},
    "services": {
        "ok": {"loadBalancer": SERVERS},
        "checked": {"loadBalancer": {**SERVERS, "healthCheck": {"path": "/", "interval": "1h"}}},
    },
}
# What lbcore refuses on purpose, and Traefik loads as something else, or without effect: docs/differences.md.
ON_PURPOSE = re.compile(
    r"needs (keys and values|names and values|a list|a single value)|has to be one of|is not the name of a header"
    r"|input should be|longer than|is no (port|scheme|SPIFFE ID)|is not configured|but not configured"
    r"|certificates\[0\]: it cannot be a standalone element|is negative|error parsing server URL|control characters"
)
LEFT_OUT = ("redis", "plugin", "parentRefs", "rule")  # a store that is asked, and what tests of their own are about


def keys(model: type[Model], path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of all keys below a model that Traefik has, too."""
    for key, annotation in keys_of(model).items():
        if key in added_to(model) or key in LEFT_OUT:
            continue
        here, inner = (*path, key), plain(annotation)
        yield here
        if get_origin(inner) is dict:
            here, inner = (*here, "X-One"), plain(get_args(inner)[1])
            yield here
        elif get_origin(inner) is list:
            here, inner = (*here, 0), plain(get_args(inner)[0])
            yield here
        if is_model(inner):
            yield from keys(inner, here)


def put(tree: Any, path: tuple[str | int, ...], value: Any) -> None:
    for key, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(key, int) and not tree:
            tree.append(None)
        new = value if following is None else [] if isinstance(following, int) else {}
        old = tree[key] if isinstance(key, int) else tree.get(key)
        if following is None or not isinstance(old, type(new)):
            tree[key] = new
        tree = tree[key]


class Case:
    """An object with an odd value, and the router that uses it; both have the name of the case."""

    def __init__(self, number: int) -> None:
        rng = Random(f"{SEED}/{number}")
        self.name = f"v{number}v"
        router: dict[str, Any] = {"rule": f"Host(`{self.name}`)", "service": "ok"}
        self.http: dict[str, Any] = {"routers": {self.name: router}}
        kind, model = rng.choice(
            (("routers", Router), ("services", Service), ("middlewares", Middleware), ("serversTransports", ServersTransport))
        )
        path = rng.choice([path for path in keys(model) if kind != "middlewares" or len(path) > 1])
        self.value = rng.choice(ODD)
        thing = router if kind == "routers" else {}
        if path[0] in BESIDE:
            thing[str(path[0])] = deepcopy(BESIDE[str(path[0])])
        elif kind == "services":
            thing["loadBalancer"] = deepcopy(SERVERS)
        put(thing, path, f"<{self.name}>")
        if kind == "middlewares":
            router["middlewares"] = [self.name]
        elif kind != "routers":
            router["service"] = self.name
        self.http.setdefault(kind, {})[self.name] = thing
        if kind == "serversTransports":
            self.http["services"] = {self.name: {"loadBalancer": {**SERVERS, "serversTransport": self.name}}}
        self.where = f"{kind}.{'.'.join(map(str, path))} = {self.value}"


def text_of(cases: list[Case]) -> str:
    http = deepcopy(COMMON)
    for case in cases:
        for kind, things in case.http.items():
            http.setdefault(kind, {}).update(things)
    values = {case.name: case.value for case in cases}
    return re.sub(r'"<(v\d+v)>"', lambda found: values[found[1]], json.dumps({"http": http}, ensure_ascii=False))


def reasons(case: Case) -> list[str]:
    """Why lbcore refuses it, by its text alone; empty: it does not."""
    try:
        http = parse_dynamic(text_of([case]))[0].http
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    kinds = (http.routers, http.services, http.middlewares, http.servers_transports)
    return [fault for kind in kinds if case.name in kind for fault in kind[case.name].faults]


class Watching:
    """Real Traefik, which is given one file after the other."""

    def __init__(self, folder: Path) -> None:
        web, self.api = free_ports(2)
        self.folder, self.file = folder, folder / "watched" / "dynamic.yml"
        self.file.parent.mkdir()
        self.file.write_text(text_of([]))
        static = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{self.api}"}},
            "api": {"insecure": True},
            "log": {"level": "DEBUG", "format": "json"},
            "providers": {"providersThrottleDuration": "0s", "file": {"filename": str(self.file)}},
        }
        (folder / "static.yml").write_text(json.dumps(static))
        command = [str(TRAEFIK), f"--configFile={folder}/static.yml"]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, cwd=folder, stdout=self.log, stderr=subprocess.STDOUT)
        self.read, self.rest = 0, ""
        self.takes("base")

    def takes(self, name: str) -> bool:
        """Whether it has taken the file with an object of this name."""

        def verdict() -> str:
            with (self.folder / "log").open() as log:
                log.seek(self.read)
                text = self.rest + log.read()
                self.read = log.tell()
            *lines, self.rest = text.split("\n")
            for line in lines:
                if "watcher callback" in line:
                    return "refused"
                if "Configuration received" in line and f'"{name}"' in line:
                    return "taken"
            return ""

        return eventually(verdict, f"Traefik has read the file with {name}") == "taken"

    def give(self, text: str) -> None:
        (self.folder / "next").write_text(text)
        (self.folder / "next").rename(self.file)

    def disabled(self, names: set[str]) -> set[str]:
        """The routers that cannot run, once it has all of these."""
        url = f"http://127.0.0.1:{self.api}/api/rawdata"

        def routers() -> dict[str, Any] | None:
            with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
                found: dict[str, Any] = json.load(answer)["routers"]
                return found if found.keys() >= {f"{name}@file" for name in names} else None
            return None

        found = eventually(routers, "it has all") or {}
        return {name.partition("@")[0] for name, router in found.items() if router["status"] == "disabled"}

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        self.log.close()


@pytest.fixture
def traefik(tmp_path: Path) -> Iterator[Watching]:
    with contextlib.closing(Watching(tmp_path)) as found:
        yield found


def test_what_is_refused_is_refused_by_traefik_or_on_purpose(traefik: Watching) -> None:
    refused = {case.name: (case, found) for case in map(Case, range(CASES)) if (found := reasons(case))}
    assert CASES // 3 < len(refused) < CASES
    taken = []
    for name, (case, _) in refused.items():
        traefik.give(text_of([case]))
        if traefik.takes(name):
            taken.append(case)
    traefik.give(text_of(taken))
    disabled = traefik.disabled({case.name for case in taken})
    strict = {case.where: refused[case.name][1] for case in taken if case.name not in disabled}
    assert {where: why for where, why in strict.items() if not ON_PURPOSE.search(why[0])} == {}
