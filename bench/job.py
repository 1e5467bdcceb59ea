"""What a proxy under test has to do, and where its configuration goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LAYER_4 = ("tcp", "udp")


@dataclass(frozen=True, slots=True)
class Tls:
    """What clients are served with: PEM files. Without `tickets` none is resumed: all handshakes are full."""

    certificate: Path
    key: Path
    tickets: bool


@dataclass(frozen=True, slots=True)
class Job:
    """`kind`: http, which includes HTTP/2 over TLS; http3; grpc, which is HTTP/2 to the servers as well; tcp; udp."""

    port: int
    servers: Sequence[int]  # ports
    hosts: int  # 0: any host
    tls: Tls | None = None  # None: plain
    kind: str = "http"
    task: str = ""  # of `bench.tasks`: what it does beside; none: nothing


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)
