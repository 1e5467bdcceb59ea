"""What reading a request's head costs, by size, beside httptools and h11. `pytest bench/micro`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h11
import httptools
import pytest

from bench.workloads import REALISTIC
from lbcore.http.request import Request

Measure = Callable[..., dict[str, float]]


def head(count: int) -> bytes:
    """A request with `count` realistic headers besides Host."""
    fields = list(REALISTIC.items())
    fields += [(f"X-More-{n}", f"value-{n}") for n in range(max(0, count - len(fields)))]
    lines = ["GET /catalogue/shoes?page=4&sort=price HTTP/1.1", "Host: shop.example.com"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in fields[:count]), "", ""]).encode()


HEADS = {"small": head(0), "medium": head(8), "large": head(20), "huge": head(60)}


class Seen:
    """What a server needs of a request, as httptools hands it over."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def by_httptools(data: bytes) -> Seen:
    seen = Seen()
    httptools.HttpRequestParser(seen).feed_data(data)
    return seen


def by_h11(data: bytes) -> Any:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    return connection.next_event()


@pytest.mark.parametrize("size", HEADS)
def test_parse_lbcore(measure: Measure, size: str) -> None:
    data, request = HEADS[size], Request()
    assert request.parse_bytes(data) == len(data)
    names = {"request": request, "data": data}
    found = measure(f"parse_lbcore_{size}", "request.parse_bytes(data)", job=f"parse {size}", **names)
    assert found["allocations_per_op"] <= 1, "but for the number that is returned, parsing allocates nothing"


@pytest.mark.parametrize("size", HEADS)
def test_parse_httptools(measure: Measure, size: str) -> None:
    data = HEADS[size]
    assert by_httptools(data).url
    measure(f"parse_httptools_{size}", "parse(data)", job=f"parse {size}", parse=by_httptools, data=data)


@pytest.mark.parametrize("size", HEADS)
def test_parse_h11(measure: Measure, size: str) -> None:
    data = HEADS[size]
    assert isinstance(by_h11(data), h11.Request)
    measure(f"parse_h11_{size}", "parse(data)", job=f"parse {size}", rounds=20, parse=by_h11, data=data)
