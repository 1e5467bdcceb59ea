"""What real Traefik and lbcore show of TLS: routers, services, certificates, counters, the access log."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.certificates import RSA, authority, certificate, signed
from tests.support.instance import eventually
from tests.support.traefik import NAMES
from tests.support.twins import Twins, describe, get, twins
from tests.support.wire import Peer, serving

# Traefik's own, or defaults that it lists and lbcore does not.
NOT_COMPARED = {"observability", "ruleSyntax", "health"}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    folder: Path = tmp_path_factory.mktemp("tlsapi")
    ca = authority(folder, "ca")
    files = [
        certificate(folder, "a", "a.test", "*.wild.test"),
        certificate(folder, "soon", "soon.test", key=RSA, days=10),
        signed(folder, ca, "address", "DNS:s.test", "IP:127.0.0.1", "IP:::1", "URI:spiffe://x/y"),
        signed(folder, ca, "old", "DNS:old.test", days=-1),
        signed(folder, ca, "nosan"),
    ]
    client = certificate(folder, "client", "client.test")
    with serving(describe) as server:
        http = {
            "routers": {
                "x": {"rule": "Host(`a.test`)", "service": "s", "entryPoints": ["web"], "tls": {}},
                "y": {"rule": "Host(`b.test`)", "service": "s", "entryPoints": ["web"], "tls": {"options": "asks"}},
                "plain": {"rule": "PathPrefix(`/`)", "service": "s", "entryPoints": ["web"]},
            },
            "services": {
                "s": {"loadBalancer": {"servers": [{"url": server.url}], "serversTransport": "t"}},
            },
            "serversTransports": {"t": {"serverName": "x", "insecureSkipVerify": True}},
        }
        tcp = {
            "routers": {
                "here": {"rule": "HostSNI(`t.test`)", "service": "s", "entryPoints": ["web"], "tls": {}},
                "past": {
                    "rule": "HostSNI(`p.test`)",
                    "service": "s",
                    "entryPoints": ["web"],
                    "tls": {"passthrough": True},
                },
            },
            "services": {
                "s": {"loadBalancer": {"servers": [{"address": "127.0.0.1:1", "tls": True}], "serversTransport": "t"}}
            },
            "serversTransports": {"t": {"tls": {"serverName": "x"}}},
        }
        tls = {
            "certificates": [pair.entry for pair in files],
            "stores": {"default": {"defaultCertificate": ca.entry}},
            "options": {"asks": {"clientAuth": {"clientAuthType": "RequestClientCert"}, "maxVersion": "VersionTLS12"}},
        }
        static = {
            "entryPoints": {"web": {"address": ""}, "traefik": {"address": ""}},
            "api": {"insecure": True},
            "metrics": {"prometheus": {"addRoutersLabels": True}},
            "accessLog": {"format": "json", "filePath": "access-{name}"},
        }
        with twins(folder, static, {"http": http, "tcp": tcp, "tls": tls}, only="web") as found:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.load_cert_chain(client.certificate, client.key)
            for name in NAMES:
                for host in ("a.test", "a.test", "b.test"):
                    plain = socket.create_connection(("127.0.0.1", found.ports[name]["web"]), timeout=20)
                    sock = Peer(context.wrap_socket(plain, server_hostname=host))
                    assert sock.ask(get("/", host))[0].endswith("200 OK")
            yield found


def asked(both: Twins, name: str, path: str) -> tuple[str, Any]:
    client = both.client(name, "traefik")
    first, headers, body = client.ask(get(path, "a"))
    is_json = headers.get("content-type", "").startswith("application/json")
    return first.split()[1], json.loads(body) if is_json else body


def stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: stripped(item) for key, item in value.items() if key not in NOT_COMPARED}
    return [stripped(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "path",
    [
        "/api/certificates",
        "/api/certificates?search=wild",
        "/api/certificates?status=expired",
        "/api/certificates/none",
        "/api/http/routers/x@file",
        "/api/http/routers/y@file",
        "/api/http/services/s@file",
        "/api/tcp/routers",
        "/api/tcp/services",
    ],
)
def test_the_api_shows_the_same(both: Twins, path: str) -> None:
    traefik, lbcore = (asked(both, name, path) for name in NAMES)
    assert lbcore[0] == traefik[0]
    assert stripped(lbcore[1]) == stripped(traefik[1])


def test_the_overview_counts_the_same(both: Twins) -> None:
    found = [asked(both, name, "/api/overview")[1]["certificates"] for name in NAMES]
    assert found[0] == found[1]


def test_the_metrics_are_the_same(both: Twins) -> None:
    def samples(name: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        text = asked(both, name, "/metrics")[1].decode()
        return {
            (sample.name.removeprefix("traefik").removeprefix("lbcore"), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "_tls_" in sample.name and "_handshakes_" not in sample.name
        }

    def counted(name: str) -> bool:
        return sum(value for (metric, _), value in samples(name).items() if "entrypoint" in metric) == 3

    for name in NAMES:
        eventually(lambda name=name: counted(name), f"{name} has counted all")  # type: ignore[misc]
    traefik, lbcore = (samples(name) for name in NAMES)
    assert lbcore == traefik


def test_the_access_log_has_the_same_fields(both: Twins) -> None:
    def lines(name: str) -> list[dict[str, Any]]:
        file = both.folder / f"access-{name}"
        found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line for line in found if line["RequestHost"] in ("a.test", "b.test") and "TLSVersion" in line]

    keys = ("RequestHost", "TLSVersion", "TLSCipher", "TLSClientSubject", "RequestScheme", "RouterName")
    found = []
    for name in NAMES:
        eventually(lambda name=name: len(lines(name)) == 3, f"{name} has told all")  # type: ignore[misc]
        found.append([{key: line.get(key) for key in keys} for line in lines(name)])
    assert found[1] == found[0]
