"""Certificate authorities that speak ACME, and the DNS they see: Debian's `pebble`, Caddy, `pebble-challtestsrv`."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cryptography import x509

from tests.support.certificates import CURVE
from tests.support.instance import Backend, eventually
from tests.support.ports import free_ports


@dataclass
class Authority:
    """A CA that runs. All names that it resolves are 127.0.0.1.

    http_port, tls_port  where it asks for challenges.
    trusted  the certificate that its own server is trusted by.
    issuer   what the names of its issuers have.
    """

    issuer: ClassVar[str] = "Pebble"

    folder: Path
    port: int
    management_port: int
    dns_port: int
    dns_api_port: int
    http_port: int
    tls_port: int
    trusted: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def log(self) -> str:
        return (self.folder / "pebble.log").read_text()

    @property
    def root(self) -> str:
        """The certificate at the top of what it issues, as PEM."""
        return self.roots[0]

    @property
    def roots(self) -> list[str]:
        """The same of all its chains."""
        found = []
        with contextlib.suppress(urllib.error.HTTPError):
            while True:
                found.append(self._get(f"https://127.0.0.1:{self.management_port}/roots/{len(found)}"))
        return found

    def settings(self, folder: Path, **more: Any) -> dict[str, Any]:
        """The `acme` of a resolver that orders here."""
        usual = {
            "email": "admin@example.test",
            "storage": str(folder / "acme.json"),
            "caServer": self.directory,
            "caCertificates": [str(self.trusted)],
            "keyType": "EC256",
        }
        return {**usual, **more}

    def dns(self, path: str, content: Mapping[str, Any]) -> None:
        """Tell the DNS it sees: `set-txt`, `add-a`, ..."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dns_api_port}/{path}", json.dumps(content).encode(), method="POST"
        )
        urllib.request.urlopen(request, timeout=10).close()

    def _get(self, url: str) -> str:
        context = ssl.create_default_context(cafile=str(self.trusted))
        with urllib.request.urlopen(url, timeout=10, context=context) as answer:
            return str(answer.read().decode())

    def is_up(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._get(self.directory))
        return False

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()

    def start(self, environ: Mapping[str, str] | None = None, dns: str = "") -> None:
        """Start, or start again: it has forgotten accounts and orders, and has new roots."""
        log = (self.folder / "pebble.log").open("ab")
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "5", **(environ or {})}
        server = dns or f"127.0.0.1:{self.dns_port}"
        command = ["pebble", "-config", str(self.folder / "pebble.json"), "-dnsserver", server]
        self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        self.processes.append(subprocess.Popen(self.dns_command, stdout=log, stderr=log))
        log.close()
        eventually(self.is_up, "pebble answers")

    @property
    def dns_command(self) -> list[str]:
        command = ["pebble-challtestsrv", "-management", f"127.0.0.1:{self.dns_api_port}", "-defaultIPv6", ""]
        return [*command, "-dns01", f"127.0.0.1:{self.dns_port}", "-http01", "", "-https01", "", "-tlsalpn01", ""]


class CaddyAuthority(Authority):
    """The same by Caddy's `acme_server`, whose certificates last 5 minutes, and which has challenges by DNS alone."""

    issuer = "Caddy"

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/acme/local/directory"

    @property
    def log(self) -> str:
        return (self.folder / "caddy.log").read_text()

    @property
    def roots(self) -> list[str]:
        return [(self.folder / "data" / "pki" / "authorities" / "local" / "root.crt").read_text()]

    def start(self, environ: Mapping[str, str] | None = None, dns: str = "") -> None:
        server = {"handler": "acme_server", "lifetime": "5m", "challenges": ["dns-01"]}
        server["resolvers"] = [f"udp/{dns or f'127.0.0.1:{self.dns_port}'}"]
        settings = {
            "admin": {"disabled": True, "config": {"persist": False}},
            "storage": {"module": "file_system", "root": str(self.folder / "data")},
            "apps": {
                "pki": {"certificate_authorities": {"local": {"install_trust": False}}},
                "tls": {
                    "certificates": {
                        "load_files": [{"certificate": str(self.trusted), "key": str(self.folder / "ca.key")}]
                    }
                },
                "http": {
                    "servers": {
                        "ca": {
                            "listen": [f"127.0.0.1:{self.port}"],
                            "automatic_https": {"disable": True},
                            "tls_connection_policies": [{}],
                            "routes": [{"handle": [server]}],
                        }
                    }
                },
            },
        }
        (self.folder / "caddy.json").write_text(json.dumps(settings))
        with (self.folder / "caddy.log").open("ab") as log:
            command = [str(Path(sys.prefix) / "bin" / "caddy"), "run", "--config", str(self.folder / "caddy.json")]
            environment = {**os.environ, "HOME": str(self.folder), **(environ or {})}
            self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            self.processes.append(subprocess.Popen(self.dns_command, stdout=log, stderr=log))
        eventually(self.is_up, "caddy answers")


@contextlib.contextmanager
def authority(
    folder: Path,
    *,
    kind: type[Authority] = Authority,
    lasts_s: int = 0,
    keys: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    dns: str = "",
    blocked: tuple[str, ...] = (),
) -> Iterator[Authority]:
    """Run one.

    kind     who it is by. What follows, but `dns`, is for Pebble.
    lasts_s  seconds that its certificates last; 0: years.
    keys     by their ids, for external account binding, which it then asks for.
    dns      address of the name server that it asks; empty: its own, for which there is `Authority.dns`.
    blocked  domains that it issues nothing for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = kind(folder, *free_ports(6), trusted=folder / "ca.pem")
    command = ["openssl", "req", "-x509", *CURVE, "-nodes", "-days", "9", "-keyout"]
    command += [str(folder / "ca.key"), "-out", str(found.trusted), "-subj", "/CN=pebble"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:pebble.test"]
    subprocess.run(command, check=True, capture_output=True)
    settings: dict[str, Any] = {
        "listenAddress": f"127.0.0.1:{found.port}",
        "managementListenAddress": f"127.0.0.1:{found.management_port}",
        "certificate": str(found.trusted),
        "privateKey": str(folder / "ca.key"),
        "httpPort": found.http_port,
        "tlsPort": found.tls_port,
        "externalAccountBindingRequired": bool(keys),
        "externalAccountMACKeys": dict(keys or {}),
        "domainBlocklist": list(blocked),
    }
    if lasts_s:
        settings["certificateValidityPeriod"] = lasts_s
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    try:
        found.start(environ, dns)
        yield found
    finally:
        found.stop()


class Between:
    """Stands between an instance and a CA, and is the CA to the instance.

    answer    given path and content of a request: status, headers and JSON to answer with; None: the CA answers.
    requests  method, path and, for what is signed, the JSON of each.
    """

    def __init__(self, ca: Authority) -> None:
        self.answer: Callable[[str, Any], tuple[int, dict[str, str], Any] | None] = lambda path, content: None
        self.requests: list[tuple[str, str, Any]] = []
        self.directory_entries: dict[str, str] = {}
        between = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                content = payload_of(body)
                between.requests.append((self.command, self.path, content))
                found = between.answer(self.path, content)
                if found is not None:
                    status, headers, text = found
                    self.reply(status, headers, json.dumps(text).encode())
                    return
                context = ssl.create_default_context(cafile=str(ca.trusted))
                upstream = http.client.HTTPSConnection("127.0.0.1", ca.port, context=context, timeout=30)
                upstream.request(self.command, self.path, body, dict(self.headers))
                response = upstream.getresponse()
                data = response.read()
                if self.path == "/dir":
                    data = json.dumps({**json.loads(data), **between.directory_entries}).encode()
                hop = ("content-length", "transfer-encoding", "connection")
                self.reply(
                    response.status, {k: v for k, v in response.getheaders() if k.lower() not in hop}, data
                )
                upstream.close()

            do_POST = do_HEAD = do_GET

            def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                kind = {"Content-Type": "application/problem+json" if status >= 400 else "application/json"}
                for name, value in {**kind, **headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(ca.trusted, ca.folder / "ca.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def payload_of(body: bytes) -> Any:
    """What is signed in a request."""
    try:
        text = json.loads(body)["payload"]
        return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) or "null")
    except (ValueError, KeyError):
        return None


def static_for(ca: Authority, folder: Path, **acme: Any) -> dict[str, Any]:
    """Entry points where the CA looks, and the resolver `le`."""
    return {
        "entryPoints": {
            "web": {"address": f"127.0.0.1:{ca.http_port}"},
            "websecure": {"address": f"127.0.0.1:{ca.tls_port}"},
        },
        "certificatesResolvers": {"le": {"acme": ca.settings(folder, **acme)}},
    }


def dynamic_for(backend: Backend, **rules: str) -> dict[str, Any]:
    routers = {
        name: {"rule": rule, "service": "app", "entryPoints": ["websecure"], "tls": {"certResolver": "le"}}
        for name, rule in rules.items()
    }
    services = {"app": {"loadBalancer": {"servers": [{"url": backend.url}]}}}
    return {"http": {"routers": routers, "services": services}}


def served(ca: Authority, name: str) -> x509.Certificate:
    """What a client gets that asks for a name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", ca.tls_port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            data = encrypted.getpeercert(binary_form=True)
            assert data
            return x509.load_der_x509_certificate(data)


def get(ca: Authority, name: str, path: str = "/") -> str:
    """A request whose certificate is verified by the CA's root. Raises ssl.SSLError."""
    context = ssl.create_default_context(cadata=ca.root)
    with socket.create_connection(("127.0.0.1", ca.tls_port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as encrypted:
            request = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            encrypted.sendall(request.encode())
            found = b""
            while data := encrypted.recv(65536):
                found += data
            return found.decode()


def names_in(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(found.get_values_for_type(x509.DNSName))


def issued(ca: Authority, name: str, within_s: float = 60) -> x509.Certificate:
    """Wait until a name is served by a certificate of the CA."""

    def find() -> x509.Certificate | None:
        try:
            found = served(ca, name)
        except OSError:
            return None
        return found if ca.issuer in found.issuer.rfc4514_string() else None

    return eventually(find, f"a certificate for {name}", within_s)


def get_when_issued(ca: Authority, name: str) -> str:
    def find() -> str | None:
        try:
            return get(ca, name)
        except (ssl.SSLError, OSError):
            return None

    return eventually(find, f"a certificate for {name}", 60)
