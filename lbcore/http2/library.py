"""Find libnghttp2: the copy in the package pycurl, else the system's."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lbcore.native.bundled import bundled
from lbcore.native.library import SharedLibrary, version_info

OLDEST = (1, 52, 0)
SYSTEM = "libnghttp2.so.14"


@dataclass(frozen=True, slots=True)
class Library:
    """An open libnghttp2. `origin`: bundled or system; `version`: the text of the library."""

    origin: str
    version: str
    shared: SharedLibrary

    def address(self, *names: str) -> int:
        """The address of the first of these functions that exists; 0: none does."""
        return next(filter(None, map(self.shared.address, names)), 0)


@cache
def find() -> Library | None:
    """Open the first library that is new enough; None: there is none."""
    for origin, path in _candidates():
        try:
            shared = SharedLibrary(path)
        except OSError:
            continue
        info = version_info(shared.address("nghttp2_version"))
        if info is None:
            continue
        version = info[1]
        if tuple(int(part) for part in version.split("-")[0].split(".")) >= OLDEST:
            return Library(origin, version, shared)
    return None


def is_available() -> bool:
    """Whether HTTP/2 is available."""
    return find() is not None


def _candidates() -> list[tuple[str, str]]:
    return [*(("bundled", path) for path in bundled("libnghttp2").values()), ("system", SYSTEM)]
