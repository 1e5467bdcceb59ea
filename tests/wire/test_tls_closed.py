"""Routers with TLS that cannot run: nobody gets to their hosts by way of other routers, and other options."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml

from lbcore.config.load import parse_dynamic
from tests.support.certificates import Files, certificate
from tests.support.http3 import http3
from tests.support.tls import trusting
from tests.support.wire import Edge, edge, serving
from tests.wire.test_layer4_tls import reached, world
from tests.wire.test_tls import over_tls, secured, status

NOT_THERE = {"rule": "Host(`b.test`) || HostRegexp(`^.+[.]b[.]test$`)", "tls": {"options": "nothing"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    return {
        "edge": certificate(folder, "edge", "a.test", "b.test", "tcp.test"),
        "behind": certificate(folder, "behind", "behind.test"),
        "client": certificate(folder, "client", "client.test"),
    }


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as server:
        yield server.url


def asked(made: dict[str, Files]) -> dict[str, Any]:
    required = {"caFiles": [str(made["client"].certificate)], "clientAuthType": "RequireAndVerifyClientCert"}
    return {"clientAuth": required}


def config(url: str, made: dict[str, Files], b: dict[str, Any], **options: Any) -> dict[str, Any]:
    return secured(url, {"certificates": [made["edge"].entry], "options": options}, b=b)


def is_refused(lb: Edge, name: str, client: Files | None = None) -> bool:
    try:
        over_tls(lb, name, trusting(client))
    except ssl.SSLError as error:
        return "unrecognized name" in str(error).lower().replace("_", " ")
    return False


BROKEN = {
    "not there": (),
    "authorities": {"clientAuth": {"caFiles": ["/nothing.pem"]}},
    "authorities that are none": {"clientAuth": {"caFiles": [__file__]}},
    "suite": {"cipherSuites": ["TLS_NOTHING"]},
    "version": {"minVersion": "VersionTLS99"},
    "curve": {"curvePreferences": ["CurveNothing"]},
    "type": {"clientAuth": {"clientAuthType": "Nothing"}},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_the_hosts_of_a_router_whose_options_cannot_be_used_get_no_handshake(
    made: dict[str, Files], url: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"nothing": BROKEN[kind]} if BROKEN[kind] else {}
    with edge(config(url, made, NOT_THERE, **options), http3={}) as lb:
        assert is_refused(lb, "b.test") and is_refused(lb, "B.Test.") and is_refused(lb, "b.test", made["client"])
        for name in ("a.test", "x.b.test", None):
            peer = over_tls(lb, name)
            hosts = {"a.test": "200", "b.test": "421", "B.TEST": "421", "b.test.": "421", "x.b.test:443": "421"}
            assert {host: status(peer, host) for host in hosts} == hosts
        context = trusting()
        context.set_alpn_protocols(["h2"])
        with httpx.Client(http2=True, verify=context) as client:
            server = "https://{}:{}/".format(*lb.address)
            for host, expected in (("a.test", 200), ("b.test", 421), ("x.b.test", 421)):
                answer = client.get(server, headers={"Host": host}, extensions={"sni_hostname": "a.test"})
                assert (answer.http_version, answer.status_code) == ("HTTP/2", expected)
        with http3(lb.address) as h3:
            assert [h3.ask(host=host).status for host in ("a.test", "b.test", "x.b.test")] == [200, 421, 421]
        with http3(lb.address, "b.test") as h3:
            h3.handshake()
            assert h3.terminated is not None
            assert h3.terminated.error_code == 0x100 + 112  # CRYPTO_ERROR: unrecognized_name
        assert any(entry.name == "b@file" for entry in lb.proxy.disabled)
    (line,) = {r.getMessage() for r in caplog.records if "there is no handshake for b.test" in r.getMessage()}
    assert "router b@file" in line


def test_the_hosts_of_a_router_that_cannot_run_keep_its_options(made: dict[str, Files], url: str) -> None:
    for fault in ({"service": "nothing"}, {"middlewares": ["nothing"]}):
        b = {**NOT_THERE, "tls": {"options": "mutual"}, **fault}
        with edge(config(url, made, b, mutual=asked(made))) as lb:
            with pytest.raises((OSError, EOFError)):
                status(over_tls(lb, "b.test"), "b.test")
            assert status(over_tls(lb, "b.test", trusting(made["client"])), "b.test") == "421"
            peer = over_tls(lb, "a.test")
            assert [status(peer, host) for host in ("a.test", "b.test", "x.b.test")] == ["200", "421", "421"]


def test_so_do_those_of_one_that_has_keys_nobody_knows(made: dict[str, Files], url: str) -> None:
    b = {**NOT_THERE, "tls": {"options": "mutual"}, "wrong": 1}
    for wrong in ({}, {"tls": {"options": "mutual", "wrong": 1}}):
        text = yaml.safe_dump(config(url, made, {**b, **wrong}, mutual=asked(made)))
        with edge(parse_dynamic(text)[0].model_dump(by_alias=True)) as lb:
            with pytest.raises((OSError, EOFError)):
                status(over_tls(lb, "b.test"), "b.test")
            assert status(over_tls(lb, "a.test"), "b.test") == "421"


def test_a_router_that_cannot_run_changes_nothing_for_others(made: dict[str, Files], url: str) -> None:
    dynamic = config(url, made, NOT_THERE, mutual=asked(made))
    dynamic["http"]["routers"] |= {
        "too": {"rule": "Host(`b.test`) && Path(`/x`)", "priority": 99, "service": "all", "tls": {"options": "mutual"}},
        "nowhere": {"rule": "PathPrefix(`/nowhere`)", "service": "all", "tls": {"options": "nothing"}},
    }
    with edge(dynamic) as lb:
        peer = over_tls(lb, "b.test", trusting(made["client"]))
        assert [status(peer, "b.test", path) for path in ("/x", "/")] == ["200", "421"]
        with pytest.raises((OSError, EOFError)):
            status(over_tls(lb, "b.test"), "b.test", "/x")
        assert status(over_tls(lb, "a.test"), "a.test", "/nowhere") == "200"


def test_reloads(made: dict[str, Files], url: str) -> None:
    b = {**NOT_THERE, "tls": {"options": "mutual"}}
    sound = config(url, made, b, mutual=asked(made))
    with edge(sound) as lb:
        own, open_before = trusting(made["client"]), over_tls(lb, "b.test", trusting(made["client"]))
        assert status(open_before, "b.test") == "200"
        lb.apply(config(url, made, NOT_THERE, mutual=asked(made)))  # the running version of the router stays
        assert status(over_tls(lb, "b.test", own), "b.test") == "200"
        for gone in (config(url, made, b), {**config(url, made, b), "udp": {}}):  # the second one changes nothing of it
            lb.apply(gone)  # there are no such options any more: those that run stay, too
            assert status(over_tls(lb, "b.test", own), "b.test") == "200"
            with pytest.raises((OSError, EOFError)):
                status(over_tls(lb, "b.test"), "b.test")
            assert status(over_tls(lb, "a.test"), "b.test") == "421"
            assert status(open_before, "b.test") == "200"
        lb.apply(sound)
        assert status(over_tls(lb, "b.test", own), "b.test") == "200"


def test_layer_4(made: dict[str, Files], caplog: pytest.LogCaptureFixture) -> None:
    routers: dict[str, dict[str, Any]] = {
        "all": {"rule": "HostSNI(`*`)", "service": "x", "tls": {}},
        "closed": {"rule": "HostSNI(`tcp.test`)", "service": "y", "tls": {"options": "nothing"}},
        "through": {"rule": "HostSNI(`p.test`)", "service": "y", "tls": {"passthrough": True, "options": "nothing"}},
    }
    with world(made, routers) as lb:
        assert [reached(lb, name) for name in ("a.test", "tcp.test", "TCP.test")] == ["x", "nobody", "nobody"]
    lines = [each.getMessage() for each in caplog.records if "there is no handshake for what" in each.getMessage()]
    assert set(lines) == {"tcp router closed@file cannot run: there is no handshake for what its rule takes"}
    web = {"closed": {"rule": "Host(`a.test`)", "tls": {"options": "nothing"}}}
    with world(made, {"all": routers["all"]}, web) as lb:
        assert [reached(lb, name) for name in ("a.test", "b.test")] == ["nobody", "x"]
