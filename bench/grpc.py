"""gRPC for the benchmark: servers that answer any unary call with the same message, and a load of such calls.

nginx is the servers: it costs little, sends trailers, and does not look at what is called.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.job import write
from bench.load import Load, LoadError, h2load_streams, run

MESSAGE = b"\0\0\0\0\x20" + b"a message of thirty-two bytes it "[:32]
HEADERS = ("content-type: application/grpc", "te: trailers", "grpc-timeout: 10S", "user-agent: grpc-bench/1")


def server_command(folder: Path, ports: list[int]) -> list[str]:
    (folder / "answer").write_bytes(MESSAGE)
    listen = " ".join(f"listen 127.0.0.1:{port} http2 backlog=4096;" for port in ports)
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # A file cannot be posted to; what is said of that is the file.
    config = (
        f"worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log crit;\n"
        "events { worker_connections 9000; }\n"
        f"http {{ access_log off; {paths} keepalive_requests 100000000; keepalive_timeout 600s;\n"
        f"server {{ {listen} http2_max_concurrent_streams 1024; default_type application/grpc; root {folder};\n"
        "error_page 404 405 =200 /answer; add_trailer grpc-status 0; } }\n"
    )
    return ["nginx", "-c", write(folder, "nginx.conf", config)]


def options(folder: Path) -> list[str]:
    """Of h2load, for a call."""
    (folder / "call").write_bytes(MESSAGE)
    return [f"--data={folder}/call", *(part for header in HEADERS for part in ("-H", header))]


def answers(url: str) -> bool:
    """Whether a call is answered."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            text = run("h2load", "-n1", "-c1", "-m1", *options(Path(folder)), f"{url}/bench.Service/Call")
        except LoadError:
            return False
    return "1 succeeded" in text and "1 2xx" in text


def call(url: str, seconds: int, connections: int, streams: int, folder: Path) -> Load:
    """As fast as it goes, with so many calls under way on each connection."""
    return h2load_streams(f"{url}/bench.Service/Call", seconds, connections, streams, folder, options(folder))
