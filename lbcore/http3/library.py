"""Find ngtcp2 and nghttp3: the copies in the package pycurl, which use the OpenSSL that lies beside them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lbcore.native.bundled import bundled
from lbcore.native.library import SharedLibrary, version_info
from lbcore.tls.library import find as find_tls

OLDEST = 0x011600  # ngtcp2 1.22
NAMES = ("libngtcp2", "libngtcp2_crypto_ossl", "libnghttp3")
HELP = "install the package pycurl (7.48 or later, for glibc): pip install 'pycurl>=7.48'"


@dataclass(frozen=True, slots=True)
class Library:
    """The open libraries. `number`: the version of ngtcp2, as 0x011900 for 1.25.0; `version`: of both, as text."""

    version: str
    number: int
    shared: tuple[SharedLibrary, ...]

    def address(self, name: str) -> int:
        """The address of a function. Raises ImportError."""
        for each in self.shared:
            if address := each.address(name):
                return address
        raise ImportError(f"HTTP/3: {self.version} has no {name}")


@cache
def find() -> Library:
    """Open the libraries. Raises ImportError, which says what helps."""
    tls = find_tls()
    if tls.origin != "bundled":
        raise ImportError(
            f"HTTP/3 needs the OpenSSL of the package pycurl, TLS uses another one ({tls.version}, {tls.origin}): "
            f"set tls.library to bundled, or {HELP}"
        )
    paths = bundled(*NAMES)
    missing = [name for name in NAMES if name not in paths]
    if missing:
        raise ImportError(f"HTTP/3 needs {' and '.join(missing)}: {HELP}")
    try:
        shared = tuple(SharedLibrary(paths[name]) for name in NAMES)
    except OSError as error:
        raise ImportError(f"HTTP/3: {error}: {HELP}") from error
    quic, http = version_info(shared[0].address("ngtcp2_version")), version_info(shared[2].address("nghttp3_version"))
    if quic is None or http is None:
        raise ImportError(f"HTTP/3: {', '.join(NAMES)} do not tell their versions: {HELP}")
    version = f"ngtcp2 {quic[1]}, nghttp3 {http[1]}"
    if quic[0] < OLDEST:
        raise ImportError(f"HTTP/3 needs ngtcp2 1.22 or later, not {version}: {HELP}")
    return Library(version, quic[0], shared)


def why_not() -> str:
    """Why HTTP/3 is not available; empty if it is."""
    try:
        find()
    except ImportError as error:
        return str(error)
    return ""
