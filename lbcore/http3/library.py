"""Find ngtcp2 and nghttp3: the copies in the package pycurl, which use the OpenSSL that lies beside them."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from typing import Any

from cffi import FFI  # type: ignore[import-untyped]

from lbcore.tls.library import find as find_tls

OLDEST = 0x011600  # ngtcp2 1.22
NAMES = ("libngtcp2", "libngtcp2_crypto_ossl", "libnghttp3")
HELP = "install the package pycurl (7.48 or later, for glibc): pip install 'pycurl>=7.48'"

_ffi = FFI()
_ffi.cdef(
    "typedef struct { int age; int number; const char *text; } quic_info;"
    "const quic_info *ngtcp2_version(int least); const quic_info *nghttp3_version(int least);"
)


@dataclass(frozen=True, slots=True)
class Library:
    """The open libraries. `number`: the version of ngtcp2, as 0x011900 for 1.25.0; `version`: of both, as text."""

    version: str
    number: int
    handles: tuple[Any, ...]

    def address(self, name: str) -> int:
        """The address of a function. Raises ImportError."""
        _ffi.cdef(f"void {name}(void);", override=True)
        for handle in self.handles:
            try:
                return int(_ffi.cast("uintptr_t", _ffi.addressof(handle, name)))
            except AttributeError:
                continue
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
    paths = _bundled()
    missing = [name for name in NAMES if name not in paths]
    if missing:
        raise ImportError(f"HTTP/3 needs {' and '.join(missing)}: {HELP}")
    try:
        handles = tuple(_ffi.dlopen(paths[name], _ffi.RTLD_NOW | _ffi.RTLD_LOCAL) for name in NAMES)
        quic, http = handles[0].ngtcp2_version(0), handles[2].nghttp3_version(0)
    except (OSError, AttributeError) as error:
        raise ImportError(f"HTTP/3: {error}: {HELP}") from error
    version = f"ngtcp2 {_ffi.string(quic.text).decode()}, nghttp3 {_ffi.string(http.text).decode()}"
    if quic.number < OLDEST:
        raise ImportError(f"HTTP/3 needs ngtcp2 1.22 or later, not {version}: {HELP}")
    return Library(version, int(quic.number), handles)


def why_not() -> str:
    """Why HTTP/3 is not available; empty if it is."""
    try:
        find()
    except ImportError as error:
        return str(error)
    return ""


def _bundled() -> dict[str, str]:
    """Paths of the libraries in the wheel of pycurl, by name; their file names carry a hash."""
    try:
        files = importlib.metadata.files("pycurl") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    folder = [file for file in files if file.parts[0] == "pycurl.libs"]
    return {name: str(file.locate()) for name in NAMES for file in folder if file.name.startswith(f"{name}-")}
