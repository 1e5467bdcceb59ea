"""The data plane's epoll set inside uvloop: readiness, timers, errors, and channels that close each other."""

import asyncio
import contextlib
import re
import select
import socket
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from lbcore.transport.reactor import CallbackChannel, Reactor
from tests.support.instance import becomes_true
from tests.support.reactor import with_reactor

READ = select.EPOLLIN | select.EPOLLRDHUP


def watched() -> set[int]:
    """Descriptors that some epoll set of this process names."""
    found = set()
    for path in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            found |= {int(number) for number in re.findall(r"^tfd:\s+(\d+)", path.read_text(), re.MULTILINE)}
    return found


async def passes(reactor: Reactor) -> None:
    """Wait for events of a channel that come after all those that are due now."""
    for _ in range(2):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            seen: list[int] = []
            channel = CallbackChannel(seen.append)
            channel.open(reactor, ours.fileno(), READ)
            theirs.send(b"a")
            await becomes_true(lambda seen=seen: bool(seen))
            channel.close()


def test_reactor_reports_a_readable_descriptor_once_per_edge() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            seen: list[int] = []
            channel = CallbackChannel(seen.append)
            channel.open(reactor, ours.fileno(), READ)
            theirs.send(b"a")
            await becomes_true(lambda: len(seen) == 1)
            await passes(reactor)
            assert len(seen) == 1  # edge-triggered: unread bytes are not reported again
            theirs.close()
            await becomes_true(lambda: bool(seen[-1] & select.EPOLLRDHUP))
            channel.close()
            channel.close()
            assert reactor.channels == 0

    with_reactor(body)


def test_reactor_error_in_a_callback_reaches_fail_and_others_go_on() -> None:
    async def body(reactor: Reactor) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        failed: list[BaseException] = []
        seen: list[int] = []

        def broken(events: int) -> None:
            raise ValueError("broken")

        channels = [CallbackChannel(broken, failed=failed.append), CallbackChannel(seen.append)]
        for channel, (ours, theirs) in zip(channels, pairs, strict=True):
            channel.open(reactor, ours.fileno(), READ)
            theirs.send(b"a")
        await becomes_true(lambda: bool(failed and seen))
        assert isinstance(failed[0], ValueError)
        for channel, pair in zip(channels, pairs, strict=True):
            channel.close()
            for sock in pair:
                sock.close()

    with_reactor(body)


def test_reactor_channel_closed_by_another_in_the_same_batch_is_not_called() -> None:
    async def body(reactor: Reactor) -> None:
        pairs = [socket.socketpair() for _ in range(2)]
        called: list[int] = []
        channels: list[CallbackChannel] = []

        def close_the_other(index: int) -> None:
            called.append(index)
            channels[1 - index].close()

        for index, (ours, theirs) in enumerate(pairs):
            theirs.send(b"a")
            channels.append(CallbackChannel(lambda events, index=index: close_the_other(index)))
            channels[-1].open(reactor, ours.fileno(), READ)
        await becomes_true(lambda: bool(called))
        await passes(reactor)
        assert len(called) == 1
        channels[called[0]].close()
        for pair in pairs:
            for sock in pair:
                sock.close()

    with_reactor(body)


def test_reactor_timer_fires_not_early_and_moving_or_clearing_it_holds() -> None:
    async def body(reactor: Reactor) -> None:
        fired: dict[str, float] = {}
        start = time.monotonic()
        pairs: list[socket.socket] = []
        channels: dict[str, CallbackChannel] = {}
        for name in ("plain", "later", "earlier", "cleared"):
            ours, theirs = socket.socketpair()
            pairs += [ours, theirs]
            channels[name] = CallbackChannel(
                lambda events: None, lambda name=name: fired.setdefault(name, time.monotonic() - start)
            )
            channels[name].open(reactor, ours.fileno(), READ)
            channels[name].arm({"plain": 120, "later": 60, "earlier": 90_000, "cleared": 60}[name])
        channels["later"].arm(300)
        channels["earlier"].arm(120)
        channels["cleared"].disarm()
        await becomes_true(lambda: len(fired) == 3)
        assert "cleared" not in fired
        # Clocks are cut to whole milliseconds, and the delay counts from the batch's own time.
        assert fired["plain"] >= 0.1
        assert fired["earlier"] >= 0.1
        assert fired["later"] >= 0.25
        for channel in channels.values():
            channel.close()
        for sock in pairs:
            sock.close()

    with_reactor(body)


def test_reactor_under_constant_load_the_loop_still_gets_its_turn() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            count = 0

            def again(events: int) -> None:
                nonlocal count
                count += 1
                ours.recv(16)
                theirs.send(b"a")

            channel = CallbackChannel(again)
            channel.open(reactor, ours.fileno(), READ)
            theirs.send(b"a")
            for _ in range(20):
                await asyncio.sleep(0)
            assert count > 20
            channel.close()

    with_reactor(body)


def test_reactor_with_a_far_deadline_sleeps() -> None:
    async def run() -> float:
        reactor = Reactor(asyncio.get_running_loop())
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        channel = CallbackChannel(lambda events: None, lambda: None)
        channel.open(reactor, ours.fileno(), select.EPOLLIN)
        channel.arm(60_000)
        before = time.process_time()
        await asyncio.sleep(0.5)
        used = time.process_time() - before
        channel.close()
        reactor.close()
        ours.close()
        theirs.close()
        return used

    assert uvloop.run(run()) < 0.1


def test_reactor_forgets_a_closed_channel_though_a_child_still_has_its_descriptor() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with theirs, ours.dup():  # what a fork gives a child, until it executes something
            number = ours.fileno()
            channel = CallbackChannel(lambda events: None)
            channel.open(reactor, number, READ)
            assert number in watched()
            channel.close()
            ours.close()
            assert number not in watched()
            theirs.send(b"a")
            await passes(reactor)

    with_reactor(body)


async def in_a_turn(reactor: Reactor, what: Callable[[], object]) -> None:
    """Call `what` from the callback of a channel."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done: list[object] = []
        channel = CallbackChannel(lambda events: done.append(what()))
        channel.open(reactor, ours.fileno(), READ)
        theirs.send(b"a")
        await becomes_true(lambda: bool(done))
        channel.close()


def test_the_kernel_is_told_of_a_late_channel_a_moment_later_and_of_what_holds_by_then() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            seen: list[int] = []
            known: list[bool] = []
            channel = CallbackChannel(seen.append)

            def begin() -> None:
                channel.open_late(reactor, ours.fileno(), READ)
                known.append(ours.fileno() in watched())

            theirs.send(b"a")  # before it is watched: the event comes nevertheless
            await in_a_turn(reactor, begin)
            assert known == [False]
            await becomes_true(lambda: len(seen) == 1)
            assert ours.fileno() in watched()
            channel.close()
            assert reactor.channels == 0

    with_reactor(body)


def test_a_late_channel_that_has_left_costs_nothing_and_its_place_is_another_s() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            gone: list[int] = []
            seen: list[int] = []
            first, second = CallbackChannel(gone.append), CallbackChannel(seen.append)

            def pass_by() -> None:
                first.open_late(reactor, ours.fileno(), READ)
                first.close()
                second.open_late(reactor, ours.fileno(), READ)

            theirs.send(b"a")
            await in_a_turn(reactor, pass_by)
            await becomes_true(lambda: len(seen) == 1)
            assert gone == []
            second.close()
            await passes(reactor)
            assert ours.fileno() not in watched() and len(seen) == 1
            assert reactor.channels == 0

    with_reactor(body)


def test_a_late_channel_is_watched_at_once_if_its_events_change_and_outside_of_a_turn() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            known: list[bool] = []
            channel = CallbackChannel(lambda events: None)

            def begin() -> None:
                channel.open_late(reactor, ours.fileno(), READ)
                channel.change(READ | select.EPOLLOUT)
                known.append(ours.fileno() in watched())
                channel.close()
                known.append(ours.fileno() in watched())

            await in_a_turn(reactor, begin)
            assert known == [True, False]
            channel.open_late(reactor, ours.fileno(), READ)
            assert ours.fileno() in watched()
            channel.close()

    with_reactor(body)


def test_a_late_channel_is_watched_soon_under_constant_load_however_many_there_are() -> None:
    many = 1500  # more than the reactor has late ones

    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        load_ours, load_theirs = socket.socketpair()
        with ours, theirs, load_ours, load_theirs:
            duplicates = [ours.dup() for _ in range(many)]
            seen: list[int] = []
            channels = [CallbackChannel(lambda events, index=index: seen.append(index)) for index in range(many)]
            begun: list[bool] = []

            def again(events: int) -> None:
                """An event for each event: no turn ends for lack of them."""
                load_ours.recv(100)
                load_theirs.send(b"a")
                if not begun:
                    begun.append(True)
                    for channel, duplicate in zip(channels, duplicates, strict=True):
                        channel.open_late(reactor, duplicate.fileno(), READ)

            load = CallbackChannel(again)
            theirs.send(b"a")
            load.open(reactor, load_ours.fileno(), READ)
            load_theirs.send(b"a")
            await becomes_true(lambda: len(set(seen)) == many)
            load.close()
            for channel, duplicate in zip(channels, duplicates, strict=True):
                channel.close()
                duplicate.close()
            assert reactor.channels == 0

    with_reactor(body)


TICK_MS = 50


def test_timers_are_at_most_two_ticks_late_after_any_quiet_spell() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            fired: list[int] = []
            channel = CallbackChannel(lambda events: None, lambda: fired.append(reactor.now_ms))
            channel.open(reactor, ours.fileno(), READ)
            reactor.drive()
            for quiet_ms in (0, 1, 49, 1_000, 51_150, 51_200, 60_000, 102_400, 110_000, 3_600_000):
                for delay_ms in (1, 49, 50, 100, 1_000, 51_199, 51_200, 51_250, 120_000):
                    reactor.drive(quiet_ms)
                    channel.arm(delay_ms)
                    due = reactor.now_ms + delay_ms
                    while reactor.now_ms + TICK_MS < due:
                        reactor.drive(TICK_MS)
                    assert not fired, (quiet_ms, delay_ms)
                    reactor.drive(due - 1 - reactor.now_ms)
                    assert not fired, (quiet_ms, delay_ms)
                    reactor.drive(1 + TICK_MS)
                    assert fired, (quiet_ms, delay_ms)
                    fired.clear()
            channel.close()

    with_reactor(body)


def test_timers_hold_when_the_process_was_stopped_for_long() -> None:
    """One look at the clock finds hours gone: what is due fires, what is not stays punctual."""

    async def body(reactor: Reactor) -> None:
        pairs = [socket.socketpair() for _ in range(40)]
        fired: dict[int, int] = {}
        channels = []
        reactor.drive()
        start = reactor.now_ms
        delays = [1_000 + 7_919 * index for index in range(len(pairs))]
        for delay_ms, (ours, _) in zip(delays, pairs, strict=True):
            channels.append(
                CallbackChannel(
                    lambda events: None, lambda delay_ms=delay_ms: fired.setdefault(delay_ms, reactor.now_ms - start)
                )
            )
            channels[-1].open(reactor, ours.fileno(), READ)
            channels[-1].arm(delay_ms)
        reactor.drive(150_000)
        assert sorted(fired) == [delay for delay in delays if delay <= 150_000]
        for _ in range(4_000):
            reactor.drive(TICK_MS)
        assert sorted(fired) == delays
        assert all(delay <= fired[delay] <= delay + 2 * TICK_MS for delay in delays if delay > 150_000)
        for channel, (ours, theirs) in zip(channels, pairs, strict=True):
            channel.close()
            ours.close()
            theirs.close()

    with_reactor(body)


def test_what_is_armed_by_a_callback_of_the_loop_counts_from_then() -> None:
    async def body(reactor: Reactor) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            fired: list[int] = []
            channel = CallbackChannel(lambda events: channel.arm(100), lambda: fired.append(reactor.now_ms))
            channel.open(reactor, ours.fileno(), READ)
            reactor.drive()
            reactor.drive(10_000)
            armed = reactor.now_ms
            theirs.send(b"a")
            await passes(reactor)
            reactor.drive(99)
            assert not fired
            reactor.drive(1 + 2 * TICK_MS)
            assert fired == [armed + 200]
            channel.close()

    with_reactor(body)
