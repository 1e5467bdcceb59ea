"""Replies of Redis in whatever pieces they come; what is no reply is an error."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.store.redis import slot_of
from lbcore.store.resp import MOST_BYTES, Refusal, Replies, command

WIRE = b":17\r\n+OK\r\n-ERR no \xff\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n"
WIRE += b"*3\r\n:-1\r\n*1\r\n$1\r\nx\r\n+y\r\n*-1\r\n*0\r\n:2\r\n"
FOUND: list[Any] = [17, b"OK", "ERR no \ufffd", b"a\r\nbc", b"", None, [-1, [b"x"], b"y"], None, [], 2]


@given(st.lists(st.integers(0, len(WIRE)), max_size=8))
def test_replies_in_pieces(cuts: list[int]) -> None:
    replies, found = Replies(), []
    edges = [0, *sorted(cuts), len(WIRE)]
    for begin, end in pairwise(edges):
        found += list(replies.feed(WIRE[begin:end]))
    assert found == FOUND
    assert isinstance(found[2], Refusal) and not isinstance(found[1], Refusal)


@pytest.mark.parametrize(
    "wire",
    [b"HTTP/1.1 400 Bad Request\r\n", b":x\r\n", b"$x\r\n", b"*1\r\n" * 10, b"$99999999\r\n", b"*99999999\r\n", b"\r\n",
     b"+" * (MOST_BYTES + 1)],
    ids=["http", "number", "size", "depth", "bulk", "array", "empty", "line"],
)  # fmt: skip
def test_what_is_no_reply(wire: bytes) -> None:
    with pytest.raises(ValueError):
        list(Replies().feed(wire))


def test_commands() -> None:
    assert command(b"GET", b"a\r\n\0") == b"*2\r\n$3\r\nGET\r\n$4\r\na\r\n\0\r\n"


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 12739),  # of the specification of Redis Cluster
        (b"{user1000}.following", slot_of(b"user1000")),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", slot_of(b"{bar")),
        (b"foo{bar}{zap}", slot_of(b"bar")),
        (b"foo{bar", 15278),
    ],
)
def test_slots_of_a_cluster(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot
