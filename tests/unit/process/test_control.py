"""The control channel: any message, cut anywhere, arrives whole and in order; foreign bytes are refused."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.process.control import MAX_BYTES, Channel, ControlError, Decoder, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
messages = st.builds(lambda rest: {**rest, "type": "m"}, st.dictionaries(st.text(), values, max_size=3))


def test_messages_before_invalid_bytes_are_given() -> None:
    found = []
    with pytest.raises(ControlError):
        for message in Decoder().feed(encode({"type": "a"}) + bytes(64)):
            found.append(message["type"])
    assert found == ["a"]


@given(st.lists(messages, max_size=4), st.lists(st.integers(1, 50), min_size=1))
def test_decoder_bytes_cut_anywhere_give_the_messages(sent: list[dict[str, Any]], sizes: list[int]) -> None:
    data = b"".join(map(encode, sent))
    decoder, received, position, turn = Decoder(), [], 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        received += decoder.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert received == sent


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (struct.pack("!BI", 2, 2) + b"{}", "version 2"),
        (struct.pack("!BI", 1, MAX_BYTES + 1), "over the limit"),
        (struct.pack("!BI", 1, 2) + b"[]", "without a type"),
        (struct.pack("!BI", 1, 10) + b'{"type":1}', "without a type"),
        (struct.pack("!BI", 1, 2) + b"{x", "not JSON"),
        (struct.pack("!BI", 1, 2) + b"\xff\xff", "not JSON"),
    ],
)
def test_decoder_foreign_bytes_are_refused(data: bytes, problem: str) -> None:
    with pytest.raises(ControlError, match=problem):
        list(Decoder().feed(data))


def test_channel_message_larger_than_any_socket_buffer_arrives() -> None:
    async def talk() -> list[dict[str, Any]]:
        ours, theirs = socket.socketpair()
        left, right = Channel(ours), Channel(theirs)
        left.send({"type": "big", "text": "x" * (8 << 20)})
        left.send({"type": "small"})
        assert left.queued_bytes > 0
        received = []
        async for message in right.messages():
            received.append(message)
            if message["type"] == "small":
                right.send({"type": "answer"})
                break
        await left.flushed()
        assert left.queued_bytes == 0
        async for message in left.messages():
            received.append(message)
            break
        left.close()
        async for message in right.messages():
            received.append(message)
        right.close()
        return received

    big, small, answer = asyncio.run(talk())
    assert len(big["text"]) == 8 << 20
    assert (small["type"], answer["type"]) == ("small", "answer")


def test_channel_peer_gone_ends_messages_and_swallows_sends() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        reading = asyncio.create_task(collect(channel))
        await asyncio.sleep(0)
        theirs.close()
        assert await reading == []
        channel.send({"type": "late"})
        await channel.flushed()
        channel.close()
        channel.close()

    asyncio.run(talk())


def test_channel_closed_here_ends_a_waiting_reader() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        reading = asyncio.create_task(collect(channel))
        await asyncio.sleep(0)
        channel.close()
        assert await asyncio.wait_for(reading, 5) == []
        theirs.close()

    asyncio.run(talk())


async def collect(channel: Channel) -> list[dict[str, Any]]:
    return [message async for message in channel.messages()]


def test_channel_of_a_peer_that_does_not_read_the_last_message_of_a_kind_alone_waits() -> None:
    async def talk() -> None:
        ours, theirs = socket.socketpair()
        sender, receiver = Channel(ours), Channel(theirs)
        sender.send({"type": "large", "text": "x" * (1 << 22)})  # fills the buffers of the socket
        before = sender.queued_bytes
        for number in range(1000):
            sender.send_latest("taps", encode({"type": "taps", "number": number, "text": "x" * 10_000}))
            sender.send_latest("ping", encode({"type": "ping", "number": number}))
        sender.send({"type": "end"})
        assert sender.queued_bytes < before + 20_000
        found = []
        async for message in receiver.messages():
            found.append((message["type"], message.get("number")))
            if message["type"] == "end":
                break
        assert found == [("large", None), ("taps", 999), ("ping", 999), ("end", None)]
        for number in range(3):  # the peer takes each of them
            sender.send_latest("taps", encode({"type": "taps", "number": number}))
        sender.send({"type": "end"})
        numbers = []
        async for message in receiver.messages():
            if message["type"] == "end":
                break
            numbers.append(message["number"])
        assert numbers == [0, 1, 2]
        sender.close()
        sender.send_latest("taps", encode({"type": "taps"}))  # no error
        receiver.close()

    asyncio.run(asyncio.wait_for(talk(), 60))
