"""The files of the dashboard's page, as they were built. I/O: read once."""

from __future__ import annotations

import gzip
import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from importlib.resources.abc import Traversable

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".png": "image/png",
    ".ico": "image/x-icon",
}
PACKED = (".html", ".js", ".css", ".svg", ".json")


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    immutable  its name changes with its contents.
    gzip       the compressed body; empty: it is not worth it.
    """

    body: bytes
    content_type: str
    immutable: bool
    gzip: bytes


@cache
def files() -> Mapping[str, File]:
    """By path below `/dashboard/`; the page itself has the empty path."""
    found = {path: _file(path, body) for path, body in _read(resources(__name__) / "built", "")}
    if "index.html" in found:
        found[""] = found["index.html"]
    return found


def _read(folder: Traversable, above: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{above}{entry.name}/")
        else:
            yield f"{above}{entry.name}", entry.read_bytes()


def _file(path: str, body: bytes) -> File:
    extension = f".{path.rpartition('.')[2]}"
    kind = TYPES.get(extension) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    packed = gzip.compress(body, 9, mtime=0) if extension in PACKED and len(body) > 1000 else b""
    return File(body, kind, path.startswith("assets/"), packed)
