"""Content codings: which one a client prefers (RFC 9110 section 12.5.3), and what encodes it. No I/O.

The encoders are libraries that are loaded when a configuration first names their coding. Each has `compress(data)`,
`flush()` and `finish()`, which return what is ready to be sent. Their levels have about the ratio of Traefik's (gzip
makes about 5 % more of a text, at a quarter of the cost); their windows are bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from lbcore.middleware.brotli_stream import BrotliStream, load

GZIP_LEVEL = 3  # the highest one of ISA-L
BROTLI_QUALITY = 5
BROTLI_WINDOW = 18  # bits
ZSTD_LEVEL = 3
ZSTD_WINDOW = 18  # bits
ZSTD_TABLES = {"hash_log": 16, "chain_log": 14}  # bits; the level's own tables cost more than Traefik's ratio needs
KEPT_CHOICES = 1024  # values of Accept-Encoding for which the choice is remembered
LONGEST_KEPT = 256  # bytes of such a value


class Encoder(Protocol):
    def compress(self, data: Any) -> bytes: ...
    def flush(self) -> bytes: ...
    def finish(self) -> bytes: ...


def _gzip() -> Callable[[], Encoder]:
    zlib = import_module("isal.isal_zlib")

    class Gzip:
        __slots__ = ("_stream", "compress")

        def __init__(self) -> None:
            self._stream = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
            self.compress = self._stream.compress

        def flush(self) -> bytes:
            data: bytes = self._stream.flush(zlib.Z_SYNC_FLUSH)
            return data

        def finish(self) -> bytes:
            data: bytes = self._stream.flush()
            return data

    return Gzip


def _brotli() -> Callable[[], Encoder]:
    brotli = import_module("brotli")
    try:
        load(import_module("_brotli").__file__ or "")
    except (ImportError, OSError, AttributeError):  # a build of the package that hides its library
        return _brotli_of_package(brotli)
    return partial(BrotliStream, BROTLI_QUALITY, BROTLI_WINDOW)


def _brotli_of_package(brotli: Any) -> Callable[[], Encoder]:
    class Brotli:
        __slots__ = ("compress", "finish", "flush")

        def __init__(self) -> None:
            stream = brotli.Compressor(quality=BROTLI_QUALITY, lgwin=BROTLI_WINDOW)
            self.compress = stream.process
            self.flush = stream.flush
            self.finish = stream.finish

    return Brotli


def _zstd() -> Callable[[], Encoder]:
    zstandard = import_module("zstandard")
    level = zstandard.ZstdCompressionParameters.from_level(ZSTD_LEVEL, window_log=ZSTD_WINDOW, **ZSTD_TABLES)

    class Zstd:
        __slots__ = ("_stream", "compress")

        def __init__(self) -> None:
            self._stream = zstandard.ZstdCompressor(compression_params=level).compressobj()
            self.compress = self._stream.compress

        def flush(self) -> bytes:
            data: bytes = self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
            return data

        def finish(self) -> bytes:
            data: bytes = self._stream.flush()
            return data

    return Zstd


_MAKERS = {"gzip": _gzip, "br": _brotli, "zstd": _zstd}


def encoder(coding: str) -> Callable[[], Encoder]:
    """What makes an encoder for one answer. Raises ValueError with a text for users."""
    if coding not in _MAKERS:
        raise ValueError(f"unsupported encoding {coding!r}: there are {', '.join(_MAKERS)}")
    try:
        return _MAKERS[coding]()
    except ImportError as error:
        raise ValueError(f"the encoding {coding} needs a library that is not installed: {error}") from error


class Choice:
    """Chooses a coding by quality values, then by the order of the configuration; `identity` is the last one of these.

    `*` stands for the default coding, else for the first one; in both cases for one that the client does not refuse.
    """

    def __init__(self, codings: list[str], default: str) -> None:
        self.codings = [name.encode() for name in codings]
        self.default = default.encode()
        self._ranks = {b"*": -1, b"identity": len(codings), **{name: at for at, name in enumerate(self.codings)}}
        self._kept: dict[bytes, bytes] = {}

    def choose(self, accept: bytes | None) -> bytes:
        """The coding for a value of Accept-Encoding, of which several lines are one; None: it is not there.

        Returns b"" for a body as it is.
        """
        if accept is None:
            return self.default
        found = self._kept.get(accept)
        if found is None:
            found = self._find(accept)
            if len(accept) <= LONGEST_KEPT:
                if len(self._kept) >= KEPT_CHOICES:
                    self._kept.clear()
                self._kept[accept] = found
        return found

    def _find(self, accept: bytes) -> bytes:
        best, refused = (0.0, 0), set()
        name = b""
        for item in accept.replace(b" ", b"").replace(b"\t", b"").lower().split(b","):
            coding, _, parameters = item.partition(b";")
            rank = self._ranks.get(coding)
            if rank is None:
                continue
            quality = _quality(parameters)
            if quality == 0:
                refused.add(coding)
            elif not name or (quality, -rank) > best:
                best, name = (quality, -rank), coding
        if name == b"*":
            wanted = [self.default, *self.codings] if self.default else self.codings
            name = next((coding for coding in wanted if coding not in refused), b"")
        return b"" if name == b"identity" else name


def _quality(parameters: bytes) -> float:
    """The quality value among the parameters of a coding; one that is not a number is 0, as in Traefik."""
    if not parameters.startswith(b"q="):
        return 1.0
    try:
        quality = float(parameters[2:])
    except ValueError:
        return 0.0
    return quality if quality == quality else 0.0
