"""Find libnghttp2: the copy in the package pycurl, else the system's."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from typing import Any

from cffi import FFI  # type: ignore[import-untyped]

OLDEST = (1, 52, 0)
SYSTEM = "libnghttp2.so.14"

_ffi = FFI()
_ffi.cdef(
    "typedef struct { int age; int number; const char *text; const char *protocol; } info;"
    "const info *nghttp2_version(int least);"
)


@dataclass(frozen=True, slots=True)
class Library:
    """An open libnghttp2. `origin`: bundled or system; `version`: the text of the library."""

    origin: str
    version: str
    handle: Any

    def address(self, *names: str) -> int:
        """The address of the first of these functions that exists; 0: none does."""
        for name in names:
            _ffi.cdef(f"void {name}(void);", override=True)
            try:
                return int(_ffi.cast("uintptr_t", _ffi.addressof(self.handle, name)))
            except AttributeError:
                continue
        return 0


@cache
def find() -> Library | None:
    """Open the first library that is new enough; None: there is none."""
    for origin, path in _candidates():
        try:
            handle = _ffi.dlopen(path, _ffi.RTLD_NOW | _ffi.RTLD_LOCAL)
            info = handle.nghttp2_version(0)
        except (OSError, AttributeError):
            continue
        version = _ffi.string(info.text).decode()
        if tuple(int(part) for part in version.split("-")[0].split(".")) >= OLDEST:
            return Library(origin, version, handle)
    return None


def is_available() -> bool:
    """Whether HTTP/2 is available."""
    return find() is not None


def _candidates() -> list[tuple[str, str]]:
    found = []
    try:
        files = importlib.metadata.files("pycurl") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.parts[0] == "pycurl.libs" and file.name.startswith("libnghttp2-"):
            found.append(("bundled", str(file.locate())))
    return [*found, ("system", SYSTEM)]
