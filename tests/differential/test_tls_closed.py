"""Routers whose TLS options are missing, or cannot be used: nobody gets to their hosts by way of other routers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.differential.test_tls import World, outcome, outcome_of_http2
from tests.support.certificates import certificate
from tests.support.traefik import NAMES
from tests.support.twins import describe, twins
from tests.support.wire import config_for, serving

POINTS = {"entryPoints": {"web": {"address": ""}}}
BROKEN = ("missing", "file", "suite", "version", "kind")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("closed")
    files = {
        "a": certificate(folder, "a", "a.test", *(f"{name}.test" for name in (*BROKEN, "mutual"))),
        "client": certificate(folder, "client", "client.test"),
    }
    ca = [str(files["client"].certificate)]
    routers: dict[str, dict[str, Any]] = {
        "plain": {"rule": "PathPrefix(`/`)"},
        "all": {"rule": "PathPrefix(`/`)", "priority": 1, "tls": {}},
        **{name: {"rule": f"Host(`{name}.test`)", "tls": {"options": name}} for name in (*BROKEN, "mutual")},
        "part": {"rule": "Host(`part.test`) && PathPrefix(`/part`)", "tls": {"options": "missing"}},
        "wild": {"rule": "Host(`one.or.test`) || HostRegexp(`^.+[.]or[.]test$`)", "tls": {"options": "missing"}},
        "no-host": {"rule": "PathPrefix(`/no-host`)", "tls": {"options": "missing"}},
        "both": {"rule": "Host(`both.test`) && Path(`/x`)", "tls": {"options": "missing"}},
        "too": {"rule": "Host(`both.test`)", "tls": {}},
        "no-service": {"rule": "Host(`no-service.test`)", "service": "nothing", "tls": {"options": "mutual"}},
        "no-middleware": {
            "rule": "Host(`no-middleware.test`)",
            "middlewares": ["nothing"],
            "tls": {"options": "mutual"},
        },
        "no-rest": {"rule": "Host(`no-rest.test`)", "service": "nothing", "tls": {"options": "missing"}},
    }
    with serving(describe) as server:
        found = config_for(server.url)
        found["http"]["routers"] = {name: {"service": "all", **router} for name, router in routers.items()}
        required = {"caFiles": ca, "clientAuthType": "RequireAndVerifyClientCert"}
        options = {
            "file": {"clientAuth": {**required, "caFiles": [str(folder / "nothing.pem")]}},
            "suite": {"cipherSuites": ["TLS_NOTHING"], "clientAuth": required},
            "version": {"minVersion": "VersionTLS99", "clientAuth": required},
            "kind": {"clientAuth": {**required, "clientAuthType": "Nothing"}},
            "mutual": {"clientAuth": required},
        }
        found["tls"] = {"certificates": [files["a"].entry], "options": options}
        with twins(folder, POINTS, found) as both:
            yield World(both, files, server)


OF_BROKEN = (*(f"{name}.test" for name in BROKEN), "part.test", "one.or.test", "no-rest.test")
OF_SOUND = ("a.test", "both.test", "two.or.test", "no-service.test", "no-middleware.test", "mutual.test")


@pytest.mark.parametrize("client", ["", "client"])
@pytest.mark.parametrize("host", [*OF_BROKEN, *OF_SOUND])
def test_the_same_handshakes(world: World, host: str, client: str) -> None:
    """And the same answer by the catch-all router, where there is one."""
    traefik, lbcore = (outcome(world, each, host, "a.test", None, client) for each in NAMES)
    if host == "version.test":
        assert lbcore == ("no answer",)  # Traefik has handshakes without that `minVersion`
    else:
        assert lbcore == traefik
        assert (host in OF_BROKEN) <= (traefik == ("no answer",))


@pytest.mark.parametrize("host", [*OF_BROKEN, *OF_SOUND])
def test_by_another_name(world: World, host: str) -> None:
    """In Traefik, a connection for another name leads to other routers, whatever the options of the host were to be."""
    path = "/part" if host == "part.test" else "/"
    traefik, lbcore = (outcome(world, each, "a.test", host, None, "", "web", path) for each in NAMES)
    if host in ("a.test", "both.test"):
        assert lbcore == traefik
    else:
        assert lbcore[-1] == "421"
    assert {outcome_of_http2(world, "lbcore", "a.test", host, "")[1], int(lbcore[-1])} <= {200, 421}


def test_paths_of_a_host_of_which_another_one_is_not_there(world: World) -> None:
    for host, path, expected in (("both.test", "/", "200"), ("both.test", "/x", "421"), ("a.test", "/no-host", "200")):
        assert outcome(world, "lbcore", host, host, None, "", "web", path)[-1] == expected
