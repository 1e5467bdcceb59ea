"""Which coding a client prefers."""

from __future__ import annotations

import time

import pytest

from lbcore.middleware.codings import KEPT_CHOICES, Choice, encoder

ALL = ["gzip", "br", "zstd"]


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, ""),
        ("", ""),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("zstd, br, gzip", "gzip"),
        ("br;q=0.9, gzip;q=0.8", "br"),
        ("gzip;q=0.8, br", "br"),
        ("gzip;q=0", ""),
        ("gzip; q=0.5, br ; q=0.6", "br"),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.4, gzip;q=0.5", "gzip"),
        ("identity, gzip", "gzip"),
        ("*", "gzip"),
        ("*;q=0.1, br", "br"),
        ("br, *", "gzip"),
        ("gzip;q=0, *", "br"),
        ("*;q=0", ""),
        ("deflate", ""),
        ("gzip;q=x", ""),
        ("gzip;q=nan, br;q=0.1", "br"),
        ("gzip;q=-1, br;q=0.1", "br"),
        ("gzip;level=1", "gzip"),
        (",,;q=1,gzip", "gzip"),
    ],
)
def test_quality_values(accept: str | None, coding: str) -> None:
    assert Choice(ALL, "").choose(None if accept is None else accept.encode()) == coding.encode()


def test_the_default_is_for_clients_that_say_nothing_and_for_those_that_take_anything() -> None:
    choice = Choice(ALL, "zstd")
    assert [choice.choose(accept) for accept in (None, b"*", b"zstd;q=0, *", b"")] == [b"zstd", b"zstd", b"gzip", b""]


def test_only_what_is_configured_is_chosen() -> None:
    assert Choice(["br"], "").choose(b"gzip, br;q=0.1") == b"br"
    assert Choice(["br"], "").choose(b"gzip") == b""


def test_absurd_lists_cost_little_and_are_not_kept() -> None:
    choice = Choice(ALL, "")
    started = time.process_time()
    assert choice.choose(b"gzip;q=0.1," * 100_000 + b"br") == b"br"
    assert time.process_time() - started < 20
    for number in range(3 * KEPT_CHOICES):
        choice.choose(b"x%d" % number)
    assert len(choice._kept) <= KEPT_CHOICES


def test_an_unknown_coding_is_refused() -> None:
    with pytest.raises(ValueError, match="unsupported encoding 'deflate': there are gzip, br, zstd"):
        encoder("deflate")
