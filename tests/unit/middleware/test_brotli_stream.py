"""The encoder of Brotli: streams that decode, and memory that is used again."""

from __future__ import annotations

import os
import random
import resource

import brotli
import pytest

from lbcore.middleware import codings
from lbcore.middleware.brotli_stream import BrotliStream, kept_memory

MOST_KEPT = 8 << 20
SANITIZED = "LBCORE_TEST_PYTHON" in os.environ  # what is freed goes back to the heap at once
TEXT = b"".join(b"<p>line %d of %d words</p>\n" % (number, number * 7 % 31) for number in range(10_000))


@pytest.fixture(autouse=True)
def _loaded() -> None:
    codings.encoder("br")


@pytest.mark.parametrize("seed", range(20))
def test_bytes_are_those_of_the_package(seed: int) -> None:
    chance = random.Random(seed)
    stream, other, at, sent = BrotliStream(5, 18), brotli.Compressor(quality=5, lgwin=18), 0, b""
    while at < len(TEXT):
        piece = TEXT[at : at + chance.choice([0, 1, 100, 16_384, 300_000])]
        at += len(piece)
        found = stream.compress(memoryview(piece))
        assert found == other.process(piece)
        sent += found
        if chance.random() < 0.3:
            found = stream.flush()
            assert found == other.flush()
            sent += found
    found = stream.finish()
    assert found == other.finish()
    assert brotli.decompress(sent + found) == TEXT


def test_nothing_at_all() -> None:
    assert brotli.decompress(BrotliStream(5, 18).finish()) == b""


def test_memory_is_used_again() -> None:
    def encode() -> bytes:
        stream = BrotliStream(5, 18)
        return stream.compress(TEXT) + stream.finish()

    expected = encode()
    encode()
    before, kept = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, kept_memory()
    for _ in range(50):
        assert encode() == expected
    assert kept_memory() == kept
    if not SANITIZED:
        # An encoder whose memory comes from the system each time has some 600.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 50 * 100


def test_what_is_kept_is_bounded() -> None:
    streams = [BrotliStream(5, 18) for _ in range(50)]
    for stream in streams:
        stream.compress(TEXT)
    assert kept_memory() <= MOST_KEPT
    streams.clear()
    assert kept_memory() == 0 if SANITIZED else 0 < kept_memory() <= MOST_KEPT


def test_a_package_that_hides_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(path: str) -> None:
        raise AttributeError(path)

    monkeypatch.setattr(codings, "load", hidden)
    stream = codings.encoder("br")()
    assert brotli.decompress(stream.compress(TEXT) + stream.finish()) == TEXT
