"""What a proxy under test has to do, and where its configuration goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """What clients are served with: PEM files. Without `tickets` none is resumed: all handshakes are full."""

    certificate: Path
    key: Path
    tickets: bool


@dataclass(frozen=True, slots=True)
class Job:
    port: int
    servers: Sequence[int]  # ports
    hosts: int  # 0: any host
    tls: Tls | None = None  # None: plain


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)
