"""The proxies for UDP: the same job for each, datagrams of clients to two servers in turn, sessions of 10 seconds."""

from __future__ import annotations

from pathlib import Path

from bench.job import Job, write
from bench.peers_tcp import NGINX_STREAM


def traefik_files(folder: Path, job: Job) -> str:
    """The same two files for lbcore and Traefik. Returns the static one."""
    servers = ", ".join(f"{{address: '127.0.0.1:{port}'}}" for port in job.servers)
    path = write(
        folder,
        "dynamic.yml",
        "udp:\n  routers:\n    all: {entryPoints: [udp], service: app}\n"
        f"  services:\n    app: {{loadBalancer: {{servers: [{servers}]}}}}\n",
    )
    return write(
        folder,
        "static.yml",
        f"entryPoints: {{udp: {{address: '127.0.0.1:{job.port}/udp', udp: {{timeout: 10s}}}}}}\n"
        f"providers: {{file: {{filename: '{path}', watch: false}}}}\n",
    )


def lbcore(program: str, folder: Path, job: Job) -> list[str]:
    return [program, "run", "--config", traefik_files(folder, job), "--workers", "1"]


def traefik(program: str, folder: Path, job: Job) -> list[str]:
    return [program, f"--configFile={traefik_files(folder, job)}"]


def nginx(program: str, folder: Path, job: Job) -> list[str]:
    servers = " ".join(f"server 127.0.0.1:{port};" for port in job.servers)
    module = f"load_module {NGINX_STREAM};" if NGINX_STREAM.exists() else ""
    text = f"""
{module}
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 9000; multi_accept on; }}
stream {{
  upstream app {{ {servers} }}
  server {{ listen 127.0.0.1:{job.port} udp; proxy_pass app; proxy_timeout 10s; }}
}}
"""
    return [program, "-c", write(folder, "nginx.conf", text)]


def envoy(program: str, folder: Path, job: Job) -> list[str]:
    place = "        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}"
    ends = "\n".join(place.format(port) for port in job.servers)
    text = f"""
static_resources:
  listeners:
  - address: {{socket_address: {{protocol: UDP, address: 127.0.0.1, port_value: {job.port}}}}}
    listener_filters:
    - name: envoy.filters.udp_listener.udp_proxy
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
        stat_prefix: udp
        idle_timeout: 10s
        matcher:
          on_no_match:
            action:
              name: route
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.udp.udp_proxy.v3.Route
                cluster: app
  clusters:
  - name: app
    type: STATIC
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{ends}
"""
    return [program, "--concurrency", "1", "--log-level", "error", "-c", write(folder, "envoy.yaml", text)]
