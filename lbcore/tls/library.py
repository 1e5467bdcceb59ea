"""Find an OpenSSL (3.0 or later): the copy in the package pycurl, else the system's.

A process may load several copies, as long as no object of one is passed to another. Each is opened such that it uses
neither the symbols of another copy, nor those of an executable with OpenSSL linked in.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from lbcore.native.bundled import bundled
from lbcore.native.library import DEEP_BIND, SharedLibrary, version_number, version_text

OLDEST = 0x30000000
NAMES = ("libcrypto", "libssl")


@dataclass(frozen=True, slots=True)
class Library:
    """A pair of open libraries. `origin`: bundled, system, python, or a chosen path; `version`: in its own words."""

    origin: str
    version: str
    number: int
    crypto: SharedLibrary
    ssl: SharedLibrary

    def address(self, name: str) -> int:
        """The address of a function. Raises ImportError."""
        if address := self.ssl.address(name) or self.crypto.address(name):
            return address
        raise ImportError(f"{self.version} ({self.origin}) has no {name}")


_chosen = ""


def choose(which: str) -> None:
    """Say what `find` has to look for, before anything asks for TLS: bundled, system, a path, or nothing in particular.

    Raises ValueError for an invalid path, and if another library is in use already.
    """
    global _chosen
    if which in ("", _chosen):
        return
    if which not in ("", "bundled", "system") and not Path(which).is_file():
        raise ValueError(f"tls.library: {which} is not a file: write bundled, system, or the path of a libssl")
    if "lbcore.tls.openssl" in sys.modules:
        raise ValueError(f"tls.library: another library is in use already, {which} cannot replace it")
    _chosen = which


def find() -> Library:
    """Open the first usable library. Raises ImportError, which lists the attempts."""
    tried = []
    for origin, crypto, tls in _candidates():
        try:
            return _open(origin, crypto, tls)
        except (OSError, ImportError) as error:
            tried.append(f"{tls}: {error}")
    reasons = "; ".join(tried) or "no libssl is installed"
    raise ImportError(f"TLS needs OpenSSL 3.0 or later, install the package pycurl or OpenSSL: {reasons}")


def _candidates() -> list[tuple[str, str, str]]:
    if _chosen in ("bundled", "system"):
        return [candidate for candidate in _known() if candidate[0] == _chosen]
    if _chosen:
        # As distributions and wheels name them: libssl.so.3, libssl-1a2b3c.so.3
        folder = Path(_chosen).parent
        beside = sorted(folder.glob("libcrypto*.so*"), key=lambda path: path.name != "libcrypto.so.3")
        return [(_chosen, str(path), _chosen) for path in beside[:1]]
    return _known()


def _known() -> list[tuple[str, str, str]]:
    found = []
    shipped = bundled(*NAMES)
    if len(shipped) == len(NAMES):
        found.append(("bundled", shipped["libcrypto"], shipped["libssl"]))
    found.append(("system", "libcrypto.so.3", "libssl.so.3"))
    mapped = _mapped()
    if len(mapped) == len(NAMES):
        found.append(("python", mapped["libcrypto"], mapped["libssl"]))
    beside = Path(sys.prefix, "lib")
    found.append(("python", str(beside / "libcrypto.so.3"), str(beside / "libssl.so.3")))
    return found


def _mapped() -> dict[str, str]:
    """Paths of the libraries that Python's module `ssl` uses, if they are files."""
    assert ssl.OPENSSL_VERSION
    found = re.findall(r"\s(/\S*/(libcrypto|libssl)\.so\.3)$", _maps(), re.MULTILINE)
    return {name: path for path, name in found}


def _maps() -> str:
    """The memory map of this process; empty if the system does not show it."""
    try:
        return Path("/proc/self/maps").read_text()
    except OSError:
        return ""


def _open(origin: str, crypto: str, tls: str) -> Library:
    # The address sanitizer does not support RTLD_DEEPBIND.
    flags = DEEP_BIND if _is_glibc() and "libasan" not in _maps() else 0
    libraries = [SharedLibrary(path, flags) for path in (crypto, tls)]
    number = version_number(libraries[0].address("OpenSSL_version_num"))
    version = version_text(libraries[0].address("OpenSSL_version"))
    if number < OLDEST:
        raise ImportError(f"{version} is older than 3.0")
    return Library(origin, version, number, *libraries)


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False
