"""The proxies at layer 4: the same job for each, TCP connections or datagrams to two servers in turn.

UDP: sessions of 10 seconds.
"""

from __future__ import annotations

from pathlib import Path

from bench.job import Job, write

NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # Debian's libnginx-mod-stream


def traefik_files(folder: Path, job: Job) -> str:
    """The same two files for lbcore and Traefik. Returns the static one."""
    servers = ", ".join(f"{{address: '127.0.0.1:{port}'}}" for port in job.servers)
    router = "{entryPoints: [all], service: app}"
    entry_point = f"{{address: '127.0.0.1:{job.port}/udp', udp: {{timeout: 10s}}}}"
    if job.kind == "tcp":
        router = "{rule: 'HostSNI(`*`)', service: app}"
        entry_point = f"{{address: '127.0.0.1:{job.port}'}}"
    dynamic = f"{job.kind}:\n  routers:\n    all: {router}\n"
    dynamic += f"  services:\n    app: {{loadBalancer: {{servers: [{servers}]}}}}\n"
    path = write(folder, "dynamic.yml", dynamic)
    return write(
        folder,
        "static.yml",
        f"entryPoints: {{all: {entry_point}}}\nproviders: {{file: {{filename: '{path}', watch: false}}}}\n",
    )


def lbcore(program: str, folder: Path, job: Job) -> list[str]:
    return [program, "run", "--config", traefik_files(folder, job), "--workers", "1"]


def traefik(program: str, folder: Path, job: Job) -> list[str]:
    return [program, f"--configFile={traefik_files(folder, job)}"]


def nginx(program: str, folder: Path, job: Job) -> list[str]:
    servers = " ".join(f"server 127.0.0.1:{port};" for port in job.servers)
    module = f"load_module {NGINX_STREAM};" if NGINX_STREAM.exists() else ""
    server = "backlog=4096; proxy_pass app; proxy_buffer_size 64k; tcp_nodelay on;"
    if job.kind == "udp":
        server = "udp; proxy_pass app; proxy_timeout 10s;"
    text = f"""
{module}
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 9000; {"multi_accept on;" if job.kind == "udp" else ""} }}
stream {{
  upstream app {{ {servers} }}
  server {{ listen 127.0.0.1:{job.port} {server} }}
}}
"""
    return [program, "-c", write(folder, "nginx.conf", text)]


def haproxy(program: str, folder: Path, job: Job) -> list[str]:
    servers = "\n".join(f"  server s{n} 127.0.0.1:{port}" for n, port in enumerate(job.servers))
    text = f"""
global
  nbthread 1
  maxconn 4096
  tune.pipesize 1048576
defaults
  mode tcp
  timeout connect 5s
  timeout client 180s
  timeout server 180s
  option splice-request
  option splice-response
listen app
  bind 127.0.0.1:{job.port}
  balance roundrobin
{servers}
"""
    return [program, "-db", "-f", write(folder, "haproxy.cfg", text)]


ENVOY_TCP = """    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: app
"""
ENVOY_UDP = """    listener_filters:
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
"""


def envoy(program: str, folder: Path, job: Job) -> list[str]:
    place = "        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}"
    ends = "\n".join(place.format(port) for port in job.servers)
    protocol = "UDP" if job.kind == "udp" else "TCP"
    text = f"""
static_resources:
  listeners:
  - address: {{socket_address: {{protocol: {protocol}, address: 127.0.0.1, port_value: {job.port}}}}}
{ENVOY_UDP if job.kind == "udp" else ENVOY_TCP}
  clusters:
  - name: app
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers: {{thresholds: [{{max_connections: 16384, max_pending_requests: 16384}}]}}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{ends}
"""
    return [program, "--concurrency", "1", "--log-level", "error", "-c", write(folder, "envoy.yaml", text)]
