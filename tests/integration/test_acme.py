"""Certificates that are ordered: a real CA, a real instance."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from lbcore import Proxy
from lbcore.acme.keys import renewal_id
from tests.integration.test_tls import asked, connected
from tests.support.ca import (
    Authority,
    Between,
    authority,
    dynamic_for,
    get,
    get_when_issued,
    issued,
    names_in,
    served,
    static_for,
)
from tests.support.certificates import certificate
from tests.support.command import run_command
from tests.support.instance import Backend, eventually, running
from tests.support.name_server import ALGORITHM, KEY_NAME, SECRET, name_server
from tests.support.ports import free_port


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[Authority]:
    with authority(tmp_path / "ca") as found:
        yield found


def test_http_01_gives_every_router_its_certificate(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
    # What leads elsewhere does not lead challenges elsewhere.
    static["entryPoints"]["web"]["http"] = {"redirections": {"entryPoint": {"to": "websecure"}}}
    dynamic = dynamic_for(backend, two="Host(`a.test`) || Host(`b.test`)", one="Host(`c.test`)")
    with running(tmp_path, dynamic, static=static) as instance:
        instance.runs(1)
        assert "LBCORE DEFAULT CERT" in served(ca, "other.test").subject.rfc4514_string()
        assert names_in(issued(ca, "a.test")) == {"a.test", "b.test"}
        assert names_in(issued(ca, "c.test")) == {"c.test"}
        for name in ("a.test", "b.test", "c.test"):
            assert get(ca, name).endswith("one")

        def stored() -> dict[str, Any]:
            return dict(json.loads((tmp_path / "acme.json").read_text())["le"])

        eventually(lambda: len(stored()["Certificates"] or ()) == 2, "both are stored")
        assert stored()["Account"]["Registration"]["uri"].startswith("https://127.0.0.1")
        assert sorted(entry["domain"]["main"] for entry in stored()["Certificates"]) == ["a.test", "c.test"]
        assert (tmp_path / "acme.json").stat().st_mode & 0o777 == 0o600
        instance.logged(r"le: a certificate for a.test, b.test, until")


def test_tls_alpn_01_is_answered_beside_traffic_whatever_the_options(
    ca: Authority, backend: Backend, tmp_path: Path
) -> None:
    static = static_for(ca, tmp_path, tlsChallenge={})
    dynamic = dynamic_for(backend, one="Host(`a.test`)")
    dynamic["tls"] = {"options": {"default": {"sniStrict": True}}}
    with running(tmp_path, dynamic, static=static):
        assert get_when_issued(ca, "a.test").endswith("one")
        # The challenge has ended: the protocol is refused again.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        with socket.create_connection(("127.0.0.1", ca.tls_port), timeout=10) as plain:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="a.test")


def script_for(ca: Authority, folder: Path) -> Path:
    """What the provider `exec` runs."""
    script = folder / "update-dns"
    text = f"""#!/bin/sh
echo "$@" >> {folder}/calls
case "$1" in
present) curl -sf -d '{{"host": "'"$2"'", "value": "'"$3"'"}}' http://127.0.0.1:{ca.dns_api_port}/set-txt ;;
esac
"""
    script.write_text(text)
    script.chmod(0o755)
    return script


def test_dns_01_by_a_program_gives_wildcards(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    challenge = {
        "provider": "exec",
        "resolvers": [f"127.0.0.1:{ca.dns_port}"],
        "propagation": {"disableANSChecks": True, "requireAllRNS": True},
    }
    static = static_for(ca, tmp_path, dnsChallenge=challenge)
    dynamic = dynamic_for(backend, one="Host(`x.a.test`)", two="Host(`b.test`)")
    dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "*.a.test"}]
    environ = {"EXEC_PATH": str(script_for(ca, tmp_path)), "EXEC_POLLING_INTERVAL": "1"}
    with running(tmp_path, dynamic, static=static, environ=environ):
        assert names_in(issued(ca, "x.a.test")) == {"*.a.test"}
        assert names_in(issued(ca, "b.test")) == {"b.test"}
        calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
        assert {call[1] for call in calls} == {"_acme-challenge.a.test.", "_acme-challenge.b.test."}
        kinds = [call[0] for call in calls]
        assert kinds.count("present") == kinds.count("cleanup") == 2


def test_dns_01_by_an_address(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    challenge = {"provider": "httpreq", "resolvers": [f"127.0.0.1:{ca.dns_port}"]}
    challenge["propagation"] = {"disableChecks": True, "delayBeforeChecks": "100ms"}  # type: ignore[assignment]
    static = static_for(ca, tmp_path, dnsChallenge=challenge)
    posts: list[tuple[str, str, dict[str, str]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posts.append((self.path, self.headers["Authorization"], content))
            if self.path.endswith("/present"):
                ca.dns("set-txt", {"host": content["fqdn"], "value": content["value"]})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    environ = {
        "HTTPREQ_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}/dns",
        "HTTPREQ_USERNAME": "me",
        "HTTPREQ_PASSWORD": "secret",
    }
    try:
        with running(tmp_path, dynamic_for(backend, one="Host(`a.test`)"), static=static, environ=environ):
            assert names_in(issued(ca, "a.test")) == {"a.test"}
            eventually(lambda: len(posts) == 2, "the record is taken away")
    finally:
        server.shutdown()
        server.server_close()
    assert [path for path, _, _ in posts] == ["/dns/present", "/dns/cleanup"]
    assert posts[0][1] == "Basic " + base64.b64encode(b"me:secret").decode()
    assert posts[0][2] == posts[1][2]
    assert posts[0][2]["fqdn"] == "_acme-challenge.a.test."


def test_external_accounts(backend: Backend, tmp_path: Path) -> None:
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    with authority(tmp_path / "ca", keys={"kid-1": key}) as ca:
        static = static_for(ca, tmp_path, tlsChallenge={}, eab={"kid": "kid-1", "hmacEncoded": key}, retryDelay="1s")
        wrong = ca.settings(tmp_path, tlsChallenge={}, eab={"kid": "kid-2", "hmacEncoded": key})
        static["certificatesResolvers"]["wrong"] = {"acme": wrong}
        dynamic = dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)")
        dynamic["http"]["routers"]["two"]["tls"]["certResolver"] = "wrong"
        with running(tmp_path, dynamic, static=static) as instance:
            assert get_when_issued(ca, "a.test").endswith("one")
            instance.logged(r"wrong: no certificate for b.test, trying again in \S+ min: the account is refused: ")
            assert key not in instance.log


def test_dns_01_by_updates(backend: Backend, tmp_path: Path) -> None:
    with name_server(tmp_path / "dns") as server, authority(tmp_path / "ca", dns=server) as ca:
        checks = {"disableANSChecks": True, "requireAllRNS": True}
        challenge = {"provider": "rfc2136", "resolvers": [server], "propagation": checks}
        static = static_for(ca, tmp_path, dnsChallenge=challenge)
        dynamic = dynamic_for(backend, one="Host(`a.test`)", two="Host(`alias.test`)")
        dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "a.test", "sans": ["*.a.test"]}]
        environ = {
            "RFC2136_NAMESERVER": server,
            "RFC2136_TSIG_KEY": KEY_NAME,
            "RFC2136_TSIG_SECRET": SECRET,
            "RFC2136_TSIG_ALGORITHM": f"{ALGORITHM}.",
            "RFC2136_POLLING_INTERVAL": "1",
        }
        with running(tmp_path, dynamic, static=static, environ=environ):
            # Both names are validated by one name of the DNS, with two values.
            assert names_in(issued(ca, "x.a.test")) == {"a.test", "*.a.test"}
            # The record stands where the alias leads to.
            assert names_in(issued(ca, "alias.test")) == {"alias.test"}
            host, _, port = server.partition(":")

            def is_clean() -> bool:
                question = dns.message.make_query("_acme-challenge.a.test.", "TXT")
                return not dns.query.udp(question, host, 5, int(port)).answer

            eventually(is_clean, "the records are taken away")


def test_renewal_loses_no_request(backend: Backend, tmp_path: Path) -> None:
    with authority(tmp_path / "ca", lasts_s=20) as ca:
        static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
        with running(tmp_path, dynamic_for(backend, one="Host(`a.test`)"), static=static):
            first = issued(ca, "a.test").serial_number
            stays = connected(ca.tls_port)
            assert asked(stays) == b"200"
            seen, problems, done = {first}, list[str](), threading.Event()

            def load() -> None:
                while not done.is_set():
                    try:
                        answer = get(ca, "a.test")
                        if not answer.endswith("one"):
                            problems.append(answer)
                    except (OSError, ssl.SSLError) as error:
                        problems.append(repr(error))

            clients = [threading.Thread(target=load) for _ in range(4)]
            for client in clients:
                client.start()
            try:

                def renewed() -> bool:
                    assert asked(stays) == b"200", "the connection of before is served on"
                    seen.add(served(ca, "a.test").serial_number)
                    return len(seen) >= 3

                eventually(renewed, "two renewals", 90)
            finally:
                done.set()
                for client in clients:
                    client.join()
            assert problems == []
            assert len(json.loads((tmp_path / "acme.json").read_text())["le"]["Certificates"]) == 1


def test_a_name_that_fails_does_not_hold_up_the_others(backend: Backend, tmp_path: Path) -> None:
    with authority(tmp_path / "ca", blocked=("blocked.test",)) as ca:
        static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"}, retryDelay="1s")
        static["certificatesResolvers"]["away"] = {
            "acme": {"caServer": "https://127.0.0.1:1/dir", "storage": str(tmp_path / "acme.json"), "tlsChallenge": {}}
        }
        dynamic = dynamic_for(
            backend,
            bad="Host(`x.blocked.test`)",
            good="Host(`a.test`)",
            away="Host(`b.test`)",
            unknown="Host(`c.test`)",
        )
        for name in ("away", "unknown"):
            dynamic["http"]["routers"][name]["tls"]["certResolver"] = name
        with running(tmp_path, dynamic, static=static) as instance:
            assert get_when_issued(ca, "a.test").endswith("one")
            instance.logged(r"le: no certificate for x.blocked.test, trying again in 1 s: .*: rejectedIdentifier: ")
            instance.logged(r"le: no certificate for x.blocked.test, trying again in [56] s: ")
            instance.logged(r"away: no certificate for b.test, trying again in 1\S* min: it cannot be reached: ")
            instance.logged(r"router unknown uses a nonexistent certificate resolver: unknown")
            failures = json.loads((tmp_path / "acme.json").read_text())["le"]["Failures"]
            assert failures[0]["names"] == ["x.blocked.test"]
            for name in ("b.test", "c.test", "x.blocked.test"):  # they are served meanwhile
                assert "LBCORE DEFAULT CERT" in served(ca, name).subject.rfc4514_string()
        # A restart does not begin anew.
        static["certificatesResolvers"]["le"]["acme"]["retryDelay"] = "1h"
        (tmp_path / "lbcore.log").unlink()
        stored = json.loads((tmp_path / "acme.json").read_text())
        stored["le"]["Failures"][0]["notBefore"] = time.time() + 3600
        (tmp_path / "acme.json").write_text(json.dumps(stored))
        dynamic["http"]["routers"]["more"] = {**dynamic["http"]["routers"]["good"], "rule": "Host(`d.test`)"}
        with running(tmp_path, dynamic, static=static) as instance:
            issued(ca, "d.test")
            assert "x.blocked.test" not in instance.log
            assert "ordering a certificate for a.test" not in instance.log


def test_a_ca_that_is_busy_is_left_alone_and_one_that_suggests_a_time_is_followed(
    ca: Authority, backend: Backend, tmp_path: Path
) -> None:
    between = Between(ca)
    asked: list[float] = []  # when orders came

    def limited(path: str, content: Any) -> tuple[int, dict[str, str], Any] | None:
        if path != "/order-plz":
            return None
        asked.append(time.monotonic())
        if len(asked) > 2:
            return None
        problem = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders", "status": 429}
        return 429, {"Retry-After": "8", "Replay-Nonce": base64.urlsafe_b64encode(os.urandom(12)).decode()}, problem

    between.answer = limited
    between.directory_entries["renewalInfo"] = f"{between.url}/ari"
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"}, retryDelay="1s")
    static["certificatesResolvers"]["le"]["acme"]["caServer"] = f"{between.url}/dir"
    dynamic = dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)")

    def orders() -> list[Any]:
        return [content for method, path, content in between.requests if path == "/order-plz"]

    with running(tmp_path, dynamic, static=static) as instance:
        instance.logged(r"le: no certificate for .\.test, trying again in \S+ s: .*rateLimited: too many new orders")
        first, second = issued(ca, "a.test"), issued(ca, "b.test")
        assert len(asked) >= 4  # or more, with nonces that were refused
        assert asked[2] - asked[1] > 7.5
        between.requests.clear()
        hour = 3600

        def suggests(path: str, content: Any) -> tuple[int, dict[str, str], Any] | None:
            if not path.startswith("/ari/"):
                return None
            begins = time.time() + (-hour if path.endswith(renewal_id(first)) else 90 * 24 * hour)
            window = [datetime.fromtimestamp(at, UTC).isoformat() for at in (begins, begins + hour / 2)]
            return 200, {"Retry-After": "21600"}, {"suggestedWindow": {"start": window[0], "end": window[1]}}

        between.answer = suggests
        instance.signal(signal.SIGHUP)
        eventually(lambda: served(ca, "a.test") != first, "the certificate is renewed when the CA suggests it")
        assert served(ca, "b.test") == second
        assert orders()[0]["replaces"] == renewal_id(first)
    between.close()


def test_an_end_amid_an_order_takes_back_what_was_left_in_the_dns(
    ca: Authority, backend: Backend, tmp_path: Path
) -> None:
    challenge = {"provider": "exec", "resolvers": [f"127.0.0.1:{ca.dns_port}"]}
    challenge["propagation"] = {"delayBeforeChecks": "1h"}  # type: ignore[assignment]
    static = static_for(ca, tmp_path, dnsChallenge=challenge)
    environ = {"EXEC_PATH": str(script_for(ca, tmp_path))}
    with running(tmp_path, dynamic_for(backend, one="Host(`a.test`)"), static=static, environ=environ) as instance:
        eventually((tmp_path / "calls").exists, "an order is under way")
        # A reload does not end it, and traffic goes on.
        instance.write(dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)"))
        instance.logged(r"ordering a certificate for b.test")
        assert "LBCORE DEFAULT CERT" in served(ca, "b.test").subject.rfc4514_string()
        eventually(lambda: "_acme-challenge.b.test." in (tmp_path / "calls").read_text(), "both are under way")
        instance.signal(signal.SIGTERM)
        assert instance.process.wait(20) == 0
        calls = [line.split()[:2] for line in (tmp_path / "calls").read_text().splitlines()]
        for name in ("_acme-challenge.a.test.", "_acme-challenge.b.test."):
            assert [call for call, of in calls if of == name] == ["present", "cleanup"]


def test_a_new_ca_gets_a_new_account_and_the_certificates_stay(backend: Backend, tmp_path: Path) -> None:
    with authority(tmp_path / "ca") as ca:
        static = static_for(ca, tmp_path, tlsChallenge={})
        with running(tmp_path, dynamic_for(backend, one="Host(`a.test`)"), static=static) as instance:
            first = issued(ca, "a.test")
            # The CA has lost all it knew: the account is made anew.
            ca.stop()
            ca.start()
            instance.write(dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)"))
            instance.logged(r"the CA does not know the account: registering it again")
            issued(ca, "b.test")
            assert served(ca, "a.test") == first
        settings = static["certificatesResolvers"]["le"]["acme"]
        settings["caServer"] = settings["caServer"].replace("127.0.0.1", "localhost")
        (tmp_path / "lbcore.log").unlink()
        before = json.loads((tmp_path / "acme.json").read_text())["le"]["Account"]
        dynamic = dynamic_for(backend, one="Host(`a.test`)", three="Host(`c.test`)")
        with running(tmp_path, dynamic, static=static) as instance:
            instance.logged(r"the account's URI does not match caServer: the account is reset")
            issued(ca, "c.test")
            assert served(ca, "a.test") == first
        after = json.loads((tmp_path / "acme.json").read_text())["le"]["Account"]
        assert after["PrivateKey"] != before["PrivateKey"]
        assert after["Registration"]["uri"].startswith("https://localhost:")


def test_a_storage_that_others_may_read_leaves_the_resolver_out(
    ca: Authority, backend: Backend, tmp_path: Path
) -> None:
    (tmp_path / "acme.json").write_text("{}")
    (tmp_path / "acme.json").chmod(0o644)
    static = static_for(ca, tmp_path, tlsChallenge={})
    with running(tmp_path, dynamic_for(backend, one="Host(`a.test`)"), static=static) as instance:
        instance.logged(r"permissions 644 for \S+acme.json are too open, please use 600: the resolver is left out")
        instance.runs(1)
        assert "LBCORE DEFAULT CERT" in served(ca, "a.test").subject.rfc4514_string()
        done = run_command("check", str(tmp_path / "static.yml"))
        assert done.returncode == 1
        assert "certificatesResolvers.le: storage: permissions 644" in done.stderr


def test_certificates_are_imported_and_renewed_by_command(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    files = certificate(tmp_path, "own", "a.test")
    static = static_for(ca, tmp_path, tlsChallenge={})
    static |= {"api": {"insecure": True, "token": "a secret of some length"}}
    port = free_port()
    static["entryPoints"]["traefik"] = {"address": f"127.0.0.1:{port}"}

    def lbcore(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_command("cert", *arguments)

    with running(tmp_path, dynamic_for(backend, two="Host(`b.test`)"), static=static) as instance:
        first = issued(ca, "b.test")
        config = str(tmp_path / "static.yml")
        done = lbcore("import", "--config", config, str(files.certificate), str(files.key))
        assert (done.returncode, done.stdout) == (0, f"{tmp_path}/acme.json: le: a.test, own\n")
        eventually(lambda: "own" in served(ca, "a.test").subject.rfc4514_string(), "what was imported is served")
        instance.write(dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)"))
        api = f"http://127.0.0.1:{port}"
        done = lbcore("renew", "b.test", "--api", api, "--token", "a secret of some length")
        assert (done.returncode, done.stdout) == (0, "ordering a certificate for b.test\n")
        eventually(lambda: served(ca, "b.test") != first, "it is renewed")
        assert "own" in served(ca, "a.test").subject.rfc4514_string()
        done = lbcore("renew", "c.test", "--api", api, "--token", "a secret of some length")
        assert (done.returncode, done.stderr) == (1, "error: no resolver orders a certificate for c.test\n")
        assert lbcore("renew", "--api", api, "--token", "wrong").returncode == 1
        done = lbcore("import", "--config", config, str(files.certificate), str(ca.trusted))
        assert (done.returncode, done.stderr) == (1, "error: a.test, own: the key cannot be read\n")


def test_by_pass_leaves_challenges_of_others_to_the_routers(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
    dynamic = dynamic_for(backend, one="Host(`a.test`)")
    path = "/.well-known/acme-challenge/"
    dynamic["http"]["routers"]["all"] = {"rule": "PathPrefix(`/`)", "service": "app", "entryPoints": ["web"]}
    dynamic["http"]["routers"]["other"] = {
        "rule": f"Host(`other.test`) && PathPrefix(`{path}`)",
        "service": "app",
        "entryPoints": ["web"],
    }

    def asked(host: str) -> tuple[int, str]:
        request = urllib.request.Request(f"http://127.0.0.1:{ca.http_port}{path}token", headers={"Host": host})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    with running(tmp_path, dynamic, static=static) as instance:
        instance.runs(1)
        assert asked("other.test") == (404, "")
        issued(ca, "a.test")
    static["entryPoints"]["web"]["allowACMEByPass"] = True
    (tmp_path / "acme.json").unlink()
    (tmp_path / "lbcore.log").unlink()
    with running(tmp_path, dynamic, static=static) as instance:
        instance.runs(1)
        assert asked("other.test") == (200, "one")
        assert asked("a.test") == (404, "")
        issued(ca, "a.test")


def test_a_router_of_layer_4_gets_its_certificate(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    """The challenge comes before a router that passes everything on."""
    static = static_for(ca, tmp_path, tlsChallenge={})
    services = {"app": {"loadBalancer": {"servers": [{"address": backend.url.removeprefix("http://")}]}}}
    routers: dict[str, dict[str, Any]] = {
        "one": {"rule": "HostSNI(`a.test`)", "tls": {"certResolver": "le"}},
        "rest": {"rule": "HostSNI(`*`)", "tls": {"passthrough": True}},
    }
    named = {name: {**router, "service": "app", "entryPoints": ["websecure"]} for name, router in routers.items()}
    with running(tmp_path, {"tcp": {"routers": named, "services": services}}, static=static):
        assert get_when_issued(ca, "a.test").endswith("one")


def test_the_default_certificate_is_ordered(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"})
    dynamic = dynamic_for(backend, one="Host(`a.test`)")
    del dynamic["http"]["routers"]["one"]["tls"]["certResolver"]
    generated = {"resolver": "le", "domain": {"main": "d.test", "sans": ["e.test"]}}
    dynamic["tls"] = {"stores": {"default": {"defaultGeneratedCert": generated}}}
    with running(tmp_path, dynamic, static=static):
        assert names_in(issued(ca, "a.test")) == {"d.test", "e.test"}


def test_inside_a_program(backend: Backend, tmp_path: Path) -> None:
    async def test(ca: Authority) -> None:
        root = x509.load_pem_x509_certificate(ca.roots[1].encode()).subject
        name = str(root.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        static = static_for(ca, tmp_path, httpChallenge={"entryPoint": "web"}, preferredChain=name, keyType="EC384")
        async with Proxy(static, dynamic_for(backend, one="Host(`a.test`)")) as proxy:
            first = await asyncio.to_thread(issued, ca, "a.test")
            await proxy.apply(dynamic_for(backend, one="Host(`a.test`)", two="Host(`b.test`)"))
            assert names_in(await asyncio.to_thread(issued, ca, "b.test")) == {"b.test"}
            assert await asyncio.to_thread(served, ca, "a.test") == first
        assert isinstance(first.public_key(), ec.EllipticCurvePublicKey)
        assert first.public_key().curve.name == "secp384r1"
        entry = json.loads((tmp_path / "acme.json").read_text())["le"]["Certificates"][0]
        chain = x509.load_pem_x509_certificates(base64.b64decode(entry["certificate"]))
        assert chain[-1].issuer == root

    with authority(tmp_path / "ca", environ={"PEBBLE_ALTERNATE_ROOTS": "1"}) as ca:
        asyncio.run(test(ca))


def test_a_ca_is_trusted_by_what_is_configured_alone(ca: Authority, backend: Backend, tmp_path: Path) -> None:
    files = certificate(tmp_path, "other", "other.test")
    static = static_for(ca, tmp_path, tlsChallenge={})
    resolvers = static["certificatesResolvers"]

    def add(name: str, **more: Any) -> None:
        resolvers[name] = {"acme": ca.settings(tmp_path, tlsChallenge={}, **more)}

    add("wrong", caCertificates=[str(files.certificate)])
    add("named", caServerName="pebble.test")
    add("misnamed", caServerName="other.test")
    add("system", caSystemCertPool=True, caCertificates=[ca.trusted.read_text()])
    del resolvers["le"]["acme"]["caCertificates"]  # lego's variable holds
    names = {"le": "a.test", "wrong": "b.test", "named": "c.test", "misnamed": "d.test", "system": "e.test"}
    dynamic = dynamic_for(backend, **{resolver: f"Host(`{name}`)" for resolver, name in names.items()})
    for resolver in names:
        dynamic["http"]["routers"][resolver]["tls"]["certResolver"] = resolver
    environ = {"LEGO_CA_CERTIFICATES": str(ca.trusted)}
    with running(tmp_path, dynamic, static=static, environ=environ) as instance:
        for resolver in ("le", "named", "system"):
            assert names_in(issued(ca, names[resolver])) == {names[resolver]}
        instance.logged(r"wrong: no certificate for b.test, .*: it cannot be reached: .*certificate verify failed")
        instance.logged(r"misnamed: no certificate for d.test, .*: it cannot be reached: .*'other.test'")
