"""The proxies under test: each is given the same job in its own configuration language, with one worker.

The job: keep-alive to client and server, round robin over two servers, X-Forwarded-* headers, no access log; one host,
or a number of hosts `h<n>.test` that are routed one by one. Over TLS: versions 1.2 and 1.3, the same suites in the same
order, the proxy's own number of tickets or none. HTTP/3 on the same port, and gRPC over HTTP/2 to both sides, for those
that have it.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import peers_layer4
from bench.job import LAYER_4, Job, Tls, write
from bench.machine import version_of
from bench.tasks import TASKS, Haproxy, Nginx

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Peer:
    """`configure` writes the configuration into a folder and returns the command; `configure_layer4` that for layer 4.

    speaks  the kinds of jobs that it can have, see `Job`; tls: a job of kind http over TLS.
    """

    name: str
    program: str
    version: Callable[[str], str]
    configure: Callable[[str, Path, Job], list[str]]
    configure_layer4: Callable[[str, Path, Job], list[str]] | None = None
    environ: tuple[tuple[str, str], ...] = ()
    speaks: tuple[str, ...] = ("http",)

    def command(self, folder: Path, job: Job) -> list[str]:
        assert self.path is not None
        configure = self.configure_layer4 if job.kind in LAYER_4 else self.configure
        assert configure is not None
        return configure(self.path, folder, job)

    @property
    def path(self) -> str | None:
        local = BIN / self.program
        return str(local) if local.exists() else shutil.which(self.program)


def traefik_files(folder: Path, job: Job) -> str:
    """The same two files for lbcore and Traefik. Returns the static one."""
    rules = [f"Host(`h{n}.test`)" for n in range(job.hosts)] or ["PathPrefix(`/`)"]
    middlewares = TASKS[job.task].middlewares(folder, job) if job.task else {}
    through = f", middlewares: [{', '.join(middlewares)}]" if middlewares else ""
    routers = "\n".join(f"    r{n}: {{rule: '{rule}', service: app{through}}}" for n, rule in enumerate(rules))
    scheme = "h2c" if job.kind == "grpc" else "http"
    servers = ", ".join(f"{{url: '{scheme}://127.0.0.1:{port}'}}" for port in job.servers)
    dynamic = f"http:\n  routers:\n{routers}\n  services:\n    app: {{loadBalancer: {{servers: [{servers}]}}}}\n"
    if middlewares:
        dynamic += "  middlewares:\n" + "".join(f"    {name}: {text}\n" for name, text in middlewares.items())
    entry_point = f"address: '127.0.0.1:{job.port}'"
    if job.tls is not None:
        entry_point += ", http: {tls: {}}" + (", http3: {}" if job.kind == "http3" else "")
        files = f"{{certFile: '{job.tls.certificate}', keyFile: '{job.tls.key}'}}"
        options = f"{{minVersion: VersionTLS12, disableSessionTickets: {str(not job.tls.tickets).lower()}}}"
        # Clients that send no name get the default certificate.
        stores = f"{{default: {{defaultCertificate: {files}}}}}"
        dynamic += f"tls: {{stores: {stores}, options: {{default: {options}}}}}\n"
    path = write(folder, "dynamic.yml", dynamic)
    return write(
        folder,
        "static.yml",
        f"entryPoints: {{web: {{{entry_point}}}}}\n"
        f"providers: {{file: {{filename: '{path}', watch: false}}}}\n"
        "serversTransport: {maxIdleConnsPerHost: 512}\n",
    )


def lbcore(program: str, folder: Path, job: Job) -> list[str]:
    return [program, "run", "--config", traefik_files(folder, job), "--workers", "1"]


def traefik(program: str, folder: Path, job: Job) -> list[str]:
    return [program, f"--configFile={traefik_files(folder, job)}"]


SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"


def nginx_tls(tls: Tls) -> str:
    return (
        f"ssl_certificate {tls.certificate}; ssl_certificate_key {tls.key}; ssl_protocols TLSv1.2 TLSv1.3; "
        f"ssl_session_tickets {'on' if tls.tickets else 'off'}; ssl_prefer_server_ciphers on; ssl_ciphers {CIPHERS}; "
        f"ssl_conf_command Ciphersuites {SUITES}; ssl_ecdh_curve X25519:P-256;"
    )


def nginx(program: str, folder: Path, job: Job) -> list[str]:
    names = [f"h{n}.test" for n in range(job.hosts)] or ["_"]
    does = TASKS[job.task].nginx if job.task else None
    task = does(folder, job) if does is not None else Nginx("")
    proxy = (
        f"{task.server} location / {{ {task.location} "
        "proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ''; "
        "proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; "
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; "
        "proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Port $server_port; }"
    )
    listen = f"listen 127.0.0.1:{job.port}{' ssl http2' if job.tls else ''}"
    blocks = "\n".join(
        f"server {{ {listen}{'' if n else ' backlog=4096'}; server_name {name}; {proxy} }}"
        for n, name in enumerate(names)
    )
    servers = " ".join(f"server 127.0.0.1:{port};" for port in job.servers)
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 9000; }}
http {{
  access_log off; {paths} keepalive_requests 100000000; proxy_buffering on; client_max_body_size 0;
  server_names_hash_max_size 131072; server_names_hash_bucket_size 128;
  {nginx_tls(job.tls) if job.tls else ""} {task.http}
  upstream app {{ {servers} keepalive 512; keepalive_requests 100000000; }}
  {blocks}
}}
"""
    return [program, "-c", write(folder, "nginx.conf", text)]


def haproxy(program: str, folder: Path, job: Job) -> list[str]:
    servers = "\n".join(f"  server s{n} 127.0.0.1:{port}" for n, port in enumerate(job.servers))
    does = TASKS[job.task].haproxy if job.task else None
    task = does(folder, job) if does is not None else Haproxy("")
    route = "default_backend app"
    if job.hosts:
        table = write(folder, "hosts.map", "".join(f"h{n}.test app\n" for n in range(job.hosts)))
        route = f"use_backend %[req.hdr(host),lower,map({table})]"
    encrypted = ""
    if job.tls is not None:
        pair = write(folder, "pair.pem", job.tls.certificate.read_text() + job.tls.key.read_text())
        encrypted = (
            f" ssl crt {pair} alpn h2,http/1.1 ssl-min-ver TLSv1.2 ciphersuites {SUITES} ciphers {CIPHERS} "
            f"curves X25519:P-256{'' if job.tls.tickets else ' no-tls-tickets'}"
        )
    text = f"""
global
  nbthread 1
  maxconn 8192
  {"tune.ssl.cachesize 0" if job.tls and not job.tls.tickets else ""}
defaults
  mode http
  timeout connect 5s
  timeout client 180s
  timeout server 60s
  option http-keep-alive
  option forwardfor
  http-reuse always
{task.sections}
frontend web
  bind 127.0.0.1:{job.port}{encrypted}
{task.frontend}
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto {"https" if job.tls else "http"}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  {route}
backend app
  balance roundrobin
{servers}
"""
    return [program, "-db", "-f", write(folder, "haproxy.cfg", text)]


TYPES = "type.googleapis.com/envoy.extensions"


def envoy_tls(job: Job) -> str:
    """The encryption of a listener."""
    tls = job.tls
    if tls is None:
        return ""
    protocols = "h3" if job.kind == "http3" else "h2, http/1.1"
    files = f"{{certificate_chain: {{filename: '{tls.certificate}'}}, private_key: {{filename: '{tls.key}'}}}}"
    kind = f"{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"
    more = (
        "" if tls.tickets else ", disable_stateless_session_resumption: true, disable_stateful_session_resumption: true"
    )
    versions = "tls_minimum_protocol_version: TLSv1_2, tls_maximum_protocol_version: TLSv1_3"
    context = f"common_tls_context: {{alpn_protocols: [{protocols}], tls_certificates: [{files}], "
    context += f"tls_params: {{{versions}}}}}{more}"
    if job.kind == "http3":
        quic = f"{TYPES}.transport_sockets.quic.v3.QuicDownstreamTransport"
        kind, context = quic, f"downstream_tls_context: {{{context}}}"
    return f"transport_socket: {{name: tls, typed_config: {{'@type': {kind}, {context}}}}}"


def envoy(program: str, folder: Path, job: Job) -> list[str]:
    names = [f"h{n}.test" for n in range(job.hosts)] or ["*"]
    route = '[{match: {prefix: "/"}, route: {cluster: app}}]'
    hosts = "\n".join(
        f'            - {{name: v{n}, domains: ["{name}"], routes: {route}}}' for n, name in enumerate(names)
    )
    place = "        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}"
    ends = "\n".join(place.format(port) for port in job.servers)
    protocol, quic, codec, options = "TCP", "", "AUTO", ""
    if job.kind == "http3":
        protocol, codec = "UDP", "HTTP3"
        quic = "udp_listener_config: {quic_options: {}, downstream_socket_config: {prefer_gro: true}}"
    if job.kind == "grpc":
        name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        kind = f"type.googleapis.com/{name}"
        http2 = f"{{'@type': {kind}, explicit_http_config: {{http2_protocol_options: {{}}}}}}"
        options = f"typed_extension_protocol_options: {{{name}: {http2}}}"
    text = f"""
static_resources:
  listeners:
  - address: {{socket_address: {{protocol: {protocol}, address: 127.0.0.1, port_value: {job.port}}}}}
    {quic}
    filter_chains:
    - {envoy_tls(job)}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          codec_type: {codec}
          use_remote_address: true
          generate_request_id: false
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {TYPES}.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
{hosts}
  clusters:
  - name: app
    type: STATIC
    lb_policy: ROUND_ROBIN
    {options}
    circuit_breakers: {{thresholds: [{{max_connections: 16384, max_pending_requests: 16384, max_requests: 16384}}]}}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{ends}
"""
    return [program, "--concurrency", "1", "--log-level", "error", "-c", write(folder, "envoy.yaml", text)]


def caddy(program: str, folder: Path, job: Job) -> list[str]:
    servers = " ".join(f"127.0.0.1:{port}" for port in job.servers)
    scheme = "http" if job.tls is None else "https"
    names = [f"{scheme}://h{n}.test:{job.port}" for n in range(job.hosts)] or [f"{scheme}://:{job.port}"]
    options = "lb_policy round_robin\n transport http {\n keepalive_idle_conns_per_host 512\n }"
    proxy = f"reverse_proxy {servers} {{\n {options}\n }}"
    tls = "" if job.tls is None else f" tls {job.tls.certificate} {job.tls.key}\n"
    blocks = "\n".join(f"{name} {{\n{tls} {proxy}\n}}" for name in names)
    # Clients that send no name get the one certificate.
    path = write(
        folder, "Caddyfile", f"{{\n admin off\n auto_https off\n default_sni bench.test\n}}\n{blocks}\n"
    )
    return [program, "run", "--config", path, "--adapter", "caddyfile"]


ONE_THREAD = (("GOMAXPROCS", "1"),)
EVERYTHING = ("http", "tls", "http3", "grpc", "tcp", "udp")
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "lbcore",
            "lbcore",
            lambda path: version_of(path, "--version"),
            lbcore,
            peers_layer4.lbcore,
            speaks=EVERYTHING,
        ),
        Peer(
            "nginx",
            "nginx",
            lambda path: version_of(path, "-v"),
            nginx,
            peers_layer4.nginx,
            speaks=("http", "tls", "tcp", "udp"),
        ),
        Peer(
            "haproxy",
            "haproxy",
            lambda path: version_of(path, "-v"),
            haproxy,
            peers_layer4.haproxy,
            speaks=("http", "tls", "tcp"),
        ),
        Peer(
            "traefik",
            "traefik",
            lambda path: version_of(path, "version"),
            traefik,
            peers_layer4.traefik,
            ONE_THREAD,
            EVERYTHING,
        ),
        Peer(
            "envoy",
            "envoy",
            lambda path: version_of(path, "--version"),
            envoy,
            peers_layer4.envoy,
            speaks=EVERYTHING,
        ),
        Peer(
            "caddy",
            "caddy",
            lambda path: version_of(path, "version"),
            caddy,
            None,
            ONE_THREAD,
            ("http", "http3"),
        ),
    )
}
