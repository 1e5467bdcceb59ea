"""The libraries in the wheel of pycurl: OpenSSL, nghttp2, ngtcp2, nghttp3. I/O: reads the list of its files."""

from __future__ import annotations

import importlib.metadata


def bundled(*names: str) -> dict[str, str]:
    """Paths of libraries, by name (`libssl`), of those that are there. Their file names carry a hash."""
    try:
        files = importlib.metadata.files("pycurl") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    folder = [file for file in files if file.parts[0] == "pycurl.libs"]
    return {name: str(file.locate()) for name in names for file in folder if file.name.startswith(f"{name}-")}
