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
AT_ONCE, GATHERS, LONGER = 0, 1, 2  # Gathering
MOMENT_NS = 50_000  # the shortest pause


class Chain:
    """Sockets of which each event adds a piece, and has the next event come, as servers do that answer one by one.

    With `fan` the first event has all others come, before there is a pause.
    """

    def __init__(self, reactor: Reactor, output: Any, length: int, before: Any, fan: bool) -> None:
        self.pairs = [socket.socketpair() for _ in range(length)]
        self.channels = [CallbackChannel(lambda events, i=i: self.on_event(i)) for i in range(length)]
        self.output, self.before, self.fan, self.served = output, before, fan, 0
        for channel, (ours, _) in zip(self.channels, self.pairs, strict=True):
            channel.open(reactor, ours.fileno(), READ)

    def on_event(self, i: int) -> None:
        self.before()
        self.output.add()
        self.served += 1
        following = self.pairs[i + 1 :] if i == 0 or not self.fan else []
        for _, theirs in following if self.fan else following[:1]:
            theirs.send(b"a")

    async def run(self) -> None:
        self.pairs[0][1].send(b"a")
        await becomes_true(lambda: self.served == sum(self.output.sent) == len(self.pairs))

    def close(self) -> None:
        for channel, pair in zip(self.channels, self.pairs, strict=True):
            channel.close()
            for end in pair:
                end.close()


@contextlib.contextmanager
def chain(reactor: Reactor, length: int, *, gathers: int = GATHERS, before: Any, fan: bool = False) -> Iterator[Chain]:
    found = Chain(reactor, native("gathering").Output(reactor, gathers), length, before, fan)
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
            assert reactor.pauses_made == 1

    with_reactor(body)


CASES = ("no load", "few streams", "one stream each", "no streams in it", "work of the loop waits")


@pytest.mark.parametrize("case", CASES)
def test_other_output_is_sent_at_once(case: str) -> None:
    async def body(reactor: Reactor) -> None:
        module = native("gathering")

        def before() -> None:
            sessions = MANY // 2 + 1 if case == "one stream each" else 1
            module.be(reactor, case != "no load", MANY - 1 if case == "few streams" else MANY, sessions)
            if case == "work of the loop waits":
                module.hurry(reactor)

        with chain(reactor, 2, gathers=AT_ONCE if case == "no streams in it" else GATHERS, before=before) as events:
            await events.run()
            assert events.output.sent == [1, 1]
            assert reactor.pauses_made == 0

    with_reactor(body)


@pytest.mark.parametrize(("gathers", "most_ns"), [(GATHERS, MOMENT_NS), (LONGER, MANY * 4000)])
def test_pauses_that_bring_events_grow_where_much_is_gained_and_shrink_again(gathers: int, most_ns: int) -> None:
    async def body(reactor: Reactor) -> None:
        loaded = lambda: native("gathering").be(reactor, True, MANY)  # noqa: E731
        lengths = [reactor.pause_ns]
        for _ in range(3):
            with chain(reactor, 5, gathers=gathers, before=loaded, fan=True) as events:
                await events.run()
                assert events.output.sent == [5]
            lengths.append(reactor.pause_ns)
        assert lengths == [MOMENT_NS] + [min(MOMENT_NS << i, most_ns) for i in (1, 2, 3)]
        for _ in range(30):
            with chain(reactor, 2, gathers=gathers, before=loaded) as events:
                await events.run()
        assert reactor.pause_ns == MOMENT_NS

    with_reactor(body)


def test_the_longest_pause_is_that_of_many_streams() -> None:
    async def body(reactor: Reactor) -> None:
        loaded = lambda: native("gathering").be(reactor, True, 1000)  # noqa: E731
        for _ in range(6):
            with chain(reactor, 5, gathers=LONGER, before=loaded, fan=True) as events:
                await events.run()
        assert reactor.pause_ns == 300_000

    with_reactor(body)


def test_the_number_of_streams_of_late_counts() -> None:
    """Clients with many streams in flight do not have all of them here all the time."""

    async def body(reactor: Reactor) -> None:
        module = native("gathering")
        module.be(reactor, True, 2 * MANY)
        with chain(reactor, 2, before=lambda: None) as events:
            events.before = lambda: module.be(reactor, True, 2 * MANY if events.served == 0 else 2)
            await events.run()
        pauses = reactor.pauses_made
        for _ in range(20):
            with chain(reactor, 2, before=lambda: module.be(reactor, True, 2)) as events:
                await events.run()
        assert reactor.pauses_made > pauses, "the number is forgotten at once"
        with chain(reactor, 2, before=lambda: module.be(reactor, True, 2)) as events:
            await events.run()
            assert events.output.sent == [1, 1], "the number is kept for ever"

    with_reactor(body)


def test_pauses_in_which_nothing_comes_become_seldom() -> None:
    async def body(reactor: Reactor) -> None:
        loaded = lambda: native("gathering").be(reactor, True, MANY)  # noqa: E731
        pauses = []
        for _ in range(12):
            with chain(reactor, 1, before=loaded) as events:
                await events.run()
            pauses.append(reactor.pauses_made)
        # After the first one a batch without any, then three, then seven.
        assert pauses == [1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]

    with_reactor(body)


def test_packets_of_quic_and_requests_to_servers_gather_longer() -> None:
    assert native("gathering").kinds() == (GATHERS, LONGER, LONGER)


@pytest.mark.parametrize("end", ["answered", "reset", "the client goes"])
def test_a_stream_counts_while_it_is_open(end: str) -> None:
    with serving() as server, edge(config_for(server.url)) as lb:
        engine: Any = lb.proxy._plane
        streams_of = native("gathering").streams_of
        h2 = Http2Client(socket.create_connection(lb.address, timeout=TIMEOUT_S))
        with contextlib.closing(h2):
            stream = h2.open()
            h2.headers(stream, request("POST", "/", ("content-length", "2")), end=False)
            h2.ping()
            assert streams_of(engine.reactor) == (1, 0, 1)
            if end == "answered":
                h2.data(stream, b"ab", end=True)
                assert h2.answer(stream).status == 200
            elif end == "reset":
                h2.reset(stream)
                h2.ping()
            if end != "the client goes":
                assert streams_of(engine.reactor) == (0, 0, 0)
        eventually(lambda: streams_of(engine.reactor) == (0, 0, 0), "no stream counts")
