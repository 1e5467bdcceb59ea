"""Output of many streams gathers for a moment under load, and no other output waits."""

import contextlib
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from lbcore.transport.reactor import CallbackChannel, Reactor
from tests.support.http2 import Http2Client, request
from tests.support.instance import becomes_true, eventually
from tests.support.native import native
from tests.support.reactor import with_reactor
from tests.support.wire import TIMEOUT_S, config_for, edge, serving

READ = select.EPOLLIN | select.EPOLLRDHUP
MANY = 32


class Chain:
    """Sockets of which each event adds a piece, and has the next event come, as servers do that answer one by one."""

    def __init__(self, reactor: Reactor, output: Any, length: int, before: Any) -> None:
        self.pairs = [socket.socketpair() for _ in range(length)]
        self.channels = [CallbackChannel(lambda events, i=i: self.on_event(i)) for i in range(length)]
        self.output, self.before, self.done = output, before, False
        for channel, (ours, _) in zip(self.channels, self.pairs, strict=True):
            channel.open(reactor, ours.fileno(), READ)

    def on_event(self, i: int) -> None:
        self.before()
        self.output.add()
        if i + 1 < len(self.pairs):
            self.pairs[i + 1][1].send(b"a")
        else:
            self.done = True

    async def run(self) -> None:
        self.pairs[0][1].send(b"a")
        await becomes_true(lambda: self.done and sum(self.output.sent) == len(self.pairs))

    def close(self) -> None:
        for channel, pair in zip(self.channels, self.pairs, strict=True):
            channel.close()
            for end in pair:
                end.close()


@contextlib.contextmanager
def chain(reactor: Reactor, length: int, *, gathers: bool = True, before: Any) -> Iterator[Chain]:
    found = Chain(reactor, native("gathering").Output(reactor, gathers), length, before)
    try:
        yield found
    finally:
        found.close()


def test_output_of_many_streams_under_load_is_sent_together() -> None:
    async def body(reactor: Reactor) -> None:
        loaded = lambda: native("gathering").be(reactor, True, MANY)  # noqa: E731
        with chain(reactor, 2, before=loaded) as events:
            await events.run()
            assert events.output.sent == [2]
            assert reactor.pauses == 1

    with_reactor(body)


@pytest.mark.parametrize("case", ["no load", "few streams", "no streams in it", "work of the loop waits"])
def test_other_output_is_sent_at_once(case: str) -> None:
    async def body(reactor: Reactor) -> None:
        module = native("gathering")

        def before() -> None:
            module.be(reactor, case != "no load", MANY - 1 if case == "few streams" else MANY)
            if case == "work of the loop waits":
                module.hurry(reactor)

        with chain(reactor, 2, gathers=case != "no streams in it", before=before) as events:
            await events.run()
            assert events.output.sent == [1, 1]
            assert reactor.pauses == 0

    with_reactor(body)


def test_pauses_in_which_nothing_comes_become_seldom() -> None:
    async def body(reactor: Reactor) -> None:
        loaded = lambda: native("gathering").be(reactor, True, MANY)  # noqa: E731
        pauses = []
        for _ in range(12):
            with chain(reactor, 1, before=loaded) as events:
                await events.run()
            pauses.append(reactor.pauses)
        # After the first one a batch without any, then three, then seven.
        assert pauses == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]

    with_reactor(body)


@pytest.mark.parametrize("end", ["answered", "reset", "the client goes"])
def test_a_stream_counts_while_it_is_open(end: str) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        engine: Any = lb.proxy._engine
        streams_of = native("gathering").streams_of
        h2 = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))
        with contextlib.closing(h2):
            stream = h2.open()
            h2.headers(stream, request("POST", "/", ("content-length", "2")), end=False)
            h2.ping()
            assert streams_of(engine.reactor) == 1
            if end == "answered":
                h2.data(stream, b"ab", end=True)
                assert h2.answer(stream).status == 200
            elif end == "reset":
                h2.reset(stream)
                h2.ping()
            if end != "the client goes":
                assert streams_of(engine.reactor) == 0
        eventually(lambda: streams_of(engine.reactor) == 0, "no stream counts")
