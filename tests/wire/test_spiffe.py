"""Servers that are trusted by their SPIFFE IDs: trust bundles in files, and the rules for identities."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lbcore import Proxy
from lbcore.config.validate.findings import Disabled
from tests.support.certificates import Files, authority, signed
from tests.support.instance import eventually
from tests.support.secure import SecureServer, secure_serving
from tests.support.wire import Edge, Server, config_for, edge, serving
from tests.wire.test_servers_tls import behind_tcp, echo, outcome

SHOP = "spiffe://shop.test/cart"
FAR = "spiffe://far.test/cart"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    folder = tmp_path_factory.mktemp("certificates")
    shop, far = authority(folder, "shop-ca"), authority(folder, "far-ca")
    return {
        "shop-ca": shop,
        "far-ca": far,
        "shop": signed(folder, shop, "shop", f"URI:{SHOP}"),
        "far": signed(folder, far, "far", f"URI:{FAR}"),
        "forged": signed(folder, far, "forged", f"URI:{SHOP}"),
        "none": signed(folder, shop, "none", "DNS:shop.test"),
        "two": signed(folder, shop, "two", f"URI:{SHOP}", "URI:spiffe://shop.test/other"),
        "web": signed(folder, shop, "web", "URI:https://shop.test/cart"),
        "signer": signed(
            folder, shop, "signer", f"URI:{SHOP}", extensions=("keyUsage=critical,digitalSignature,keyCertSign",)
        ),
        "ca": signed(folder, shop, "ca", f"URI:{SHOP}", extensions=("basicConstraints=critical,CA:TRUE",)),
        "old": signed(folder, shop, "old", f"URI:{SHOP}", days=-1),
        "own": signed(folder, shop, "own", "URI:spiffe://shop.test/edge"),
    }


def bundles(made: dict[str, Files], *domains: str) -> dict[str, str]:
    return {f"{domain}.test": str(made[f"{domain}-ca"].certificate) for domain in domains or ("shop", "far")}


@contextlib.contextmanager
def before(server: SecureServer, spiffe: dict[str, Any], **transport: Any) -> Iterator[Edge]:
    with edge(config_for(server.url, transport={"spiffe": spiffe, **transport})) as lb:
        yield lb


@pytest.mark.parametrize(
    ("files", "settings", "expected", "said"),
    [
        ("shop", {}, "200", ""),
        ("far", {}, "200", ""),
        ("shop", {"ids": [FAR, SHOP]}, "200", ""),
        ("shop", {"ids": ["spiffe://shop.test/Cart"]}, "502", f"the server is {SHOP}, which is not trusted"),
        ("shop", {"trustDomain": "shop.test"}, "200", ""),
        ("far", {"trustDomain": "shop.test"}, "502", f"the server is {FAR}, which is not trusted"),
        ("shop", {"ids": [SHOP], "trustDomain": "far.test"}, "200", ""),  # as in Traefik, identities come first
        ("forged", {}, "502", "not vouched for by the trust bundle of shop.test"),
        ("forged", {"ids": [SHOP]}, "502", "not vouched for by the trust bundle of shop.test"),
        ("none", {}, "502", "has not one URI"),
        ("two", {}, "502", "has not one URI"),
        ("web", {}, "502", "is no SPIFFE ID"),
        ("signer", {}, "502", "is that of an authority"),
        ("ca", {}, "502", "is that of an authority"),
        ("old", {}, "502", "certificate has expired"),
    ],
    ids=[
        *("any", "any-of-another", "id", "other-id", "domain", "other-domain", "id-and-domain", "forged", "forged-id"),
        *("no-uri", "two-uris", "no-spiffe-uri", "key-usage", "authority", "expired"),
    ],
)
def test_who_is_trusted(
    made: dict[str, Files],
    caplog: pytest.LogCaptureFixture,
    files: str,
    settings: dict[str, Any],
    expected: str,
    said: str,
) -> None:
    spiffe = {**settings, "trustBundles": bundles(made)}
    with secure_serving(made[files]) as server, before(server, spiffe) as lb:
        with caplog.at_level(logging.WARNING, "lbcore.transport"):
            assert outcome(lb) == expected
        assert said in "".join(record.message for record in caplog.records if "handshake" in record.message)


def test_a_domain_without_a_bundle_is_not_trusted(made: dict[str, Files]) -> None:
    with secure_serving(made["far"]) as server, before(server, {"trustBundles": bundles(made, "shop")}) as lb:
        assert outcome(lb) == "502"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_the_own_identity_is_shown_and_no_session_is_resumed(made: dict[str, Files], version: ssl.TLSVersion) -> None:
    def asks(context: ssl.SSLContext) -> None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(made["shop-ca"].certificate)
        context.maximum_version = version

    settings = {"trustBundles": bundles(made), "trustDomain": "spiffe://shop.test"}
    with secure_serving(made["shop"], adjust=asks) as server:
        with before(server, settings, certificates=[made["own"].entry], maxIdleConnsPerHost=-1) as lb:
            for _ in range(3):
                assert outcome(lb) == "200"
        assert server.seen.resumed == [False] * 3
        assert {str(shown and shown["subjectAltName"]) for shown in server.seen.certificates} == {
            "(('URI', 'spiffe://shop.test/edge'),)"
        }


def test_layer_4_trusts_identities_too(made: dict[str, Files]) -> None:
    for files, works in (("shop", True), ("forged", False)):
        with secure_serving(made[files], echo) as server:
            transport = {"tls": {"spiffe": {"ids": [SHOP], "trustBundles": bundles(made)}}}
            with edge(behind_tcp(f"127.0.0.1:{server.port}", transport)) as lb:
                client = lb.client()
                client.send(b"hello")
                assert client.exactly(5) == b"hello" if works else client.to_the_end() == b""


def test_health_checks_trust_identities_too(made: dict[str, Files]) -> None:
    check = {"path": "/", "interval": "20ms", "timeout": "10s"}
    transport = {"spiffe": {"ids": [SHOP], "trustBundles": bundles(made)}}
    with secure_serving(made["shop"]) as good, secure_serving(made["forged"]) as bad:
        with edge(config_for(good.url, bad.url, transport=transport, healthCheck=check)) as lb:
            slots, region = lb.proxy._runtime.slots.servers, lb.proxy._region
            slot = {each.url: slots[f"all@file|{each.url}"] for each in (good, bad)}
            eventually(lambda: region.is_up(slot[good.url]) and not region.is_up(slot[bad.url]), "one of them is up")
            assert outcome(lb) == "200"


def test_static_transports_have_it(made: dict[str, Files]) -> None:
    spiffe = {"spiffe": {"ids": [SHOP], "trustBundles": bundles(made)}}
    for files, expected in (("shop", "200"), ("forged", "502")):
        with secure_serving(made[files]) as server:
            with edge(config_for(server.url), static={"serversTransport": spiffe}) as lb:
                assert outcome(lb) == expected


def test_a_bundle_may_be_json(made: dict[str, Files], tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(made["shop-ca"].certificate.read_text())
    keys: list[dict[str, Any]] = [
        {"use": "jwt-svid", "kty": "EC"},
        {"use": "x509-svid", "kty": "EC", "x5c": [base64.b64encode(der).decode()]},
    ]
    file = tmp_path / "bundle.json"
    file.write_text(json.dumps({"spiffe_sequence": 1, "keys": keys}))
    with secure_serving(made["shop"]) as server, before(server, {"trustBundles": {"shop.test": str(file)}}) as lb:
        assert outcome(lb) == "200"


@pytest.fixture(scope="module")
def plain() -> Iterator[Server]:
    with serving() as found:
        yield found


@pytest.mark.parametrize(
    ("transport", "reason"),
    [
        ({"spiffe": {"ids": ["shop.test/cart"]}}, "is no SPIFFE ID"),
        ({"spiffe": {"ids": ["spiffe://Shop.test/cart"]}}, "is no SPIFFE ID"),
        ({"spiffe": {"ids": ["spiffe://shop.test/a/../b"]}}, "is no SPIFFE ID"),
        ({"spiffe": {"ids": ["spiffe://shop.test/a/"]}}, "is no SPIFFE ID"),
        ({"spiffe": {"trustDomain": "shop test"}}, "is no SPIFFE ID"),
        ({"spiffe": {"trustDomain": "shop.test"}}, "SPIFFE is enabled for this transport, but not configured"),
        ({"spiffe": {}, "insecureSkipVerify": True}, "cannot be defined at the same time"),
        ({"spiffe": {}, "serverName": "shop.test"}, "cannot be defined at the same time"),
        ({"spiffe": {}, "certificates": [{"certFile": "a", "keyFile": "b"}]}, "cannot be defined at the same time"),
        ({"spiffe": {"trustBundles": {"a.test": "/nowhere"}}}, "trustBundles.a.test: /nowhere cannot be read"),
        ({"spiffe": {"trustBundles": {"a.test": "{BUNDLE}"}}}, "is no trust bundle: neither PEM nor the JSON"),
    ],
    ids=[
        *("no-scheme", "upper-case", "dots", "slash", "domain", "not-configured"),
        *("unverified", "name", "certificates", "no-file", "no-bundle"),
    ],
)
def test_settings_that_cannot_be_used_disable_the_service(
    plain: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, transport: dict[str, Any], reason: str
) -> None:
    (tmp_path / "bundle").write_text("{}")
    text = json.dumps(transport).replace("{BUNDLE}", str(tmp_path / "bundle"))
    dynamic = config_for(f"https://127.0.0.1:{plain.port}", transport=json.loads(text))

    async def run() -> list[Disabled]:
        async with Proxy({"entryPoints": {"web": {"address": "127.0.0.1:0"}}}, dynamic) as proxy:
            return list(proxy.disabled)

    disabled = asyncio.run(run())
    assert {entry.kind for entry in disabled} >= {"router", "service"}
    assert reason in "\n".join(str(error) for entry in disabled for error in entry.errors) + caplog.text
