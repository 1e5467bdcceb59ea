"""What reading and making a session's cookie costs, by number of servers, beside the standard library."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from http.cookies import SimpleCookie
from typing import Any

import pytest

from lbcore.config.dynamic import StickyCookie as Config
from lbcore.http.request import Request
from lbcore.routing.sticky import StickyCookie
from lbcore.selection import StickyCodec
from lbcore.selection.sticky import member_id

Measure = Callable[..., dict[str, float]]
SIZES = (2, 256, 4096)
SIGNED: dict[str, Any] = {"signed": {"keys": ["a key of enough bytes for tests of speed"]}}


def keys_of(count: int) -> list[str]:
    return [f"http://10.0.{n >> 8}.{n & 255}:8080" for n in range(count)]


def cookie(value: str) -> str:
    return f"theme=dark; session=8c58ad4750226f20a1b2c3d4e5f60718; lb={value}; consent=1"


def request(value: str) -> tuple[Request, bytes]:
    """A request that carries a session, and its bytes, which it refers to."""
    made, data = Request(), f"GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie(value)}\r\n\r\n".encode()
    assert made.parse_bytes(data) == len(data)
    return made, data


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("kind", ["plain", "signed"])
def test_sticky_read(measure: Measure, kind: str, count: int) -> None:
    config = Config.model_validate({"name": "lb", **(SIGNED if kind == "signed" else {})})
    codec = StickyCookie(config, "app@file", keys_of(count))
    value = codec.value_of(count // 2).decode().partition(";")[0].removeprefix("lb=")
    made, data = request(value)
    assert codec.member_of(made) == (count // 2, False)
    names = {"codec": codec, "made": made, "data": data}
    measure(f"sticky_read_{kind}_n{count}", "codec.member_of(made)", job="sticky read", **names)


@pytest.mark.parametrize("kind", ["plain", "signed"])
def test_sticky_make(measure: Measure, kind: str) -> None:
    config = Config.model_validate({"name": "lb", **(SIGNED if kind == "signed" else {})})
    codec = StickyCookie(config, "app@file", keys_of(16))
    measure(f"sticky_make_{kind}", "codec.value_of(7)", job="sticky make", codec=codec)


@pytest.mark.parametrize("count", SIZES)
def test_sticky_standard_library(measure: Measure, count: int) -> None:
    """http.cookies, and a dict from values to servers."""
    index_of = {member_id(key): index for index, key in enumerate(keys_of(count))}
    header = cookie(member_id(keys_of(count)[count // 2]))

    def read() -> int:
        return index_of[SimpleCookie(header)["lb"].value]

    assert read() == count // 2
    measure(f"sticky_read_http.cookies_n{count}", "read()", job="sticky read", read=read)


def test_sticky_make_standard_library(measure: Measure) -> None:
    key = keys_of(16)[7].encode()
    statement = "sha256(server).hexdigest()[:16]"
    measure("sticky_make_hashlib", statement, job="sticky make", sha256=hashlib.sha256, server=key)


@pytest.mark.parametrize("kind", ["plain", "signed"])
@pytest.mark.parametrize("count", SIZES)
def test_sticky_codec(measure: Measure, kind: str, count: int) -> None:
    """The library's codec, from Python."""
    servers = keys_of(count)
    codec = StickyCodec(servers, keys=["a key of enough bytes for tests of speed"] if kind == "signed" else ())
    value = codec.encode(servers[count // 2])
    assert codec.decode(value) == (servers[count // 2], False)
    measure(f"sticky_decode_{kind}_n{count}", "codec.decode(value)", job="sticky read", codec=codec, value=value)
