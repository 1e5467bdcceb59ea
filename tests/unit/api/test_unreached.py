"""Which servers cannot be reached, by their counters."""

from __future__ import annotations

from lbcore.api.unreached import Unreached
from lbcore.state.counters import ServerCounters


class Servers:
    """What a region says of servers: of each the connections that failed, and its answers."""

    def __init__(self) -> None:
        self.failed: dict[int, int] = {}
        self.answers: dict[int, int] = {}
        self.asked: list[int] = []

    def fail(self, slot: int) -> None:
        self.failed[slot] = self.failed.get(slot, 0) + 1

    def answer(self, slot: int) -> None:
        self.answers[slot] = self.answers.get(slot, 0) + 1

    def connect_errors(self) -> dict[int, int]:
        return dict(self.failed)

    def server_counters(self, slot: int) -> ServerCounters:
        self.asked.append(slot)
        failed, answers = self.failed.get(slot, 0), self.answers.get(slot, 0)
        return ServerCounters(failed + answers, 0, failed, 0, (failed, 0, answers, 0, 0, 0), 0, 0, 0, 0, 0.0)


def test_a_failure_without_an_answer_until_the_next_look() -> None:
    servers, unreached = Servers(), Unreached()
    for _ in range(100):
        servers.answer(3)
    assert not unreached.look(servers)
    servers.fail(3)
    assert not unreached.look(servers), "what comes next is waited for"
    assert unreached.look(servers) and set(unreached.since) == {3}
    since = unreached.since[3]
    servers.fail(3)
    assert not unreached.look(servers) and unreached.since == {3: since}, "it is the same trouble"
    servers.answer(3)
    assert unreached.look(servers) and unreached.since == {}
    assert not unreached.look(servers)


def test_failures_among_answers_are_none() -> None:
    servers, unreached = Servers(), Unreached()
    for _ in range(5):
        servers.fail(1)
        servers.answer(1)
        assert not unreached.look(servers)
    servers.answer(1)
    assert not unreached.look(servers) and unreached.since == {}


def test_another_server_in_the_slot_begins_anew() -> None:
    servers, unreached = Servers(), Unreached()
    for _ in range(3):
        servers.fail(7)
    unreached.look(servers)
    assert unreached.look(servers)
    servers.failed = {7: 1}
    assert unreached.look(servers) and unreached.since == {}
    servers.failed.clear()
    assert not unreached.look(servers)


def test_servers_that_failed_once_are_not_asked_for_ever() -> None:
    servers, unreached = Servers(), Unreached()
    for slot in range(50):
        servers.fail(slot)
    unreached.look(servers)
    for slot in range(50):
        servers.answer(slot)
    unreached.look(servers)
    servers.asked.clear()
    assert not unreached.look(servers) and servers.asked == []
