"""What a proxy does beside passing requests on, in the language of each: limits, authentication, compression.

A proxy that is missing in a task cannot do it, or not in the same way.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.job import Job, write

USER, PASSWORD = "bench", "correct-horse"
AUTHORIZATION = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
STORED = f"{USER}:{{SHA}}{base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()}"
MANY = 1_000_000  # of a limit that nothing reaches
GZIP_LEVEL = 3  # of nginx: the one whose ratio is next to lbcore's


@dataclass(frozen=True, slots=True)
class Nginx:
    location: str
    http: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Haproxy:
    frontend: str
    sections: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """Each part is made for the folder of the proxy and its job.

    middlewares  by name, of a dynamic file for lbcore, and for `others`.
    """

    middlewares: Callable[[Path, Job], dict[str, str]]
    nginx: Callable[[Path, Job], Nginx] | None = None
    haproxy: Callable[[Path, Job], Haproxy] | None = None
    others: tuple[str, ...] = ("traefik",)

    def does(self, peer: str) -> bool:
        return peer in ("lbcore", *self.others) or (peer in ("nginx", "haproxy") and getattr(self, peer) is not None)


CHAIN = Task(
    lambda folder, job: {
        "allow": "{ipAllowList: {sourceRange: [10.0.0.0/8, 127.0.0.0/8, 192.168.0.0/16]}}",
        "rate": f"{{rateLimit: {{average: {MANY}, burst: {MANY}}}}}",
        "inflight": f"{{inFlightReq: {{amount: {MANY}, sourceCriterion: {{ipStrategy: {{depth: 0}}}}}}}}",
        "headers": "{headers: {customRequestHeaders: {X-Edge: bench}, customResponseHeaders: {X-Served-By: edge}}}",
        "breaker": "{circuitBreaker: {expression: 'NetworkErrorRatio() > 0.30'}}",
    },
    lambda folder, job: Nginx(
        "allow 10.0.0.0/8; allow 127.0.0.0/8; allow 192.168.0.0/16; deny all; "
        "limit_req zone=rate burst=1000000 nodelay; limit_conn inflight 60000; "
        "add_header X-Served-By edge; proxy_set_header X-Edge bench;",
        f"limit_req_zone $binary_remote_addr zone=rate:10m rate={MANY}r/s; "
        "limit_conn_zone $binary_remote_addr zone=inflight:10m;",
    ),
    lambda folder, job: Haproxy(
        "  acl inside src 10.0.0.0/8 127.0.0.0/8 192.168.0.0/16\n"
        "  http-request deny unless inside\n"
        "  stick-table type ip size 1m expire 30s store http_req_rate(1s),conn_cur\n"
        "  http-request track-sc0 src\n"
        f"  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {MANY} }}\n"
        f"  http-request deny deny_status 429 if {{ sc_conn_cur(0) gt {MANY} }}\n"
        "  http-request set-header X-Edge bench\n"
        "  http-response set-header X-Served-By edge\n"
    ),
)
SOURCES = Task(
    lambda folder, job: {
        "rate": f"{{rateLimit: {{average: {MANY}, burst: {MANY}, sourceCriterion: {{requestHeaderName: X-Client}}}}}}"
    },
    lambda folder, job: Nginx(
        "limit_req zone=rate burst=1000000 nodelay;",
        f"limit_req_zone $http_x_client zone=rate:10m rate={MANY}r/s; limit_req_log_level info;",
    ),
    lambda folder, job: Haproxy(
        "  stick-table type string len 32 size 64k expire 30s store http_req_rate(1s)\n"
        "  http-request track-sc0 req.hdr(x-client)\n"
        f"  http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {MANY} }}\n"
    ),
)
GZIP = Task(
    lambda folder, job: {"gzip": "{compress: {encodings: [gzip]}}"},
    lambda folder, job: Nginx(f"gzip on; gzip_proxied any; gzip_comp_level {GZIP_LEVEL};"),
)
BROTLI = Task(lambda folder, job: {"br": "{compress: {encodings: [br]}}"})
ZSTD = Task(lambda folder, job: {"zstd": "{compress: {encodings: [zstd]}}"})
PYTHON = Task(lambda folder, job: {"nothing": "{python: 'bench.nothing:Nothing'}"}, others=())
BASIC_AUTH = Task(
    lambda folder, job: {"users": f"{{basicAuth: {{users: ['{STORED}']}}}}"},
    lambda folder, job: Nginx(f"auth_basic bench; auth_basic_user_file {write(folder, 'users', STORED)};"),
    lambda folder, job: Haproxy(
        "  http-request auth unless { http_auth(known) }\n",
        f"userlist known\n  user {USER} insecure-password {PASSWORD}\n",
    ),
)
FORWARD_AUTH = Task(
    lambda folder, job: {
        "ask": f"{{forwardAuth: {{address: 'http://127.0.0.1:{job.servers[0]}/auth', authResponseHeaders: [X-User]}}}}"
    },
    lambda folder, job: Nginx(
        "auth_request /_auth; auth_request_set $user $upstream_http_x_user; proxy_set_header X-User $user;",
        f"upstream auth {{ server 127.0.0.1:{job.servers[0]}; keepalive 512; keepalive_requests 100000000; }}",
        "location = /_auth { internal; proxy_pass http://auth/auth; proxy_http_version 1.1; "
        "proxy_set_header Connection ''; proxy_pass_request_body off; proxy_set_header Content-Length ''; "
        "proxy_set_header X-Forwarded-Method $request_method; proxy_set_header X-Forwarded-Proto $scheme; "
        "proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Uri $request_uri; "
        "proxy_set_header X-Forwarded-For $remote_addr; }",
    ),
)
TASKS = {
    "chain": CHAIN,
    "sources": SOURCES,
    "gzip": GZIP,
    "br": BROTLI,
    "zstd": ZSTD,
    "python": PYTHON,
    "basicauth": BASIC_AUTH,
    "forwardauth": FORWARD_AUTH,
}
