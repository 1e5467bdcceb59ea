"""Buckets, counts of what is under way, circuit breakers and budgets against slow models, over workers and reloads.

The clock is the test's.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from lbcore.config.middlewares.circuit_breaker import CircuitBreaker as BreakerConfig
from lbcore.config.middlewares.in_flight_req import InFlightReq as InFlightConfig
from lbcore.config.middlewares.rate_limit import RateLimit as RateConfig
from lbcore.middleware.budget import RetryBudget
from lbcore.middleware.circuit_breaker import CircuitBreaker
from lbcore.middleware.in_flight import InFlightReq
from lbcore.middleware.rate_limit import RateLimit
from lbcore.state.holdings import State
from lbcore.state.region import Region
from tests.fuzz.effort import examples
from tests.support.native import native

WORKERS = 3
SECOND_NS = 1_000_000_000
BEGIN_NS = 1000 * SECOND_NS
BY_KEY = {"requestHeaderName": "X-Key"}
worker = st.integers(0, WORKERS - 1)
place = st.sampled_from(["shop@file", "other@file"])
key = st.sampled_from([b"ann", b"bob"])
Place = tuple[str, bytes]


class Workers(RuleBasedStateMachine):
    """Each worker has the middleware, and builds it anew at a reload."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = BEGIN_NS
        self.region = Region.create(WORKERS, 8, 8)
        self.states = [State(self.region, number) for number in range(WORKERS)]

    def build(self) -> Any:
        raise NotImplementedError

    def make(self, number: int) -> Any:
        made = self.build()
        made.keep_in(self.states[number])
        return made

    def begun(self) -> None:
        self.middlewares = [self.make(number) for number in range(WORKERS)]

    @rule(number=worker)
    def reload(self, number: int) -> None:
        self.middlewares[number] = self.make(number)

    @rule(number=worker)
    def die(self, number: int) -> None:
        """Another worker takes the place of one."""
        self.region.clear_worker(number)
        self.states[number] = State(self.region, number)
        self.middlewares[number] = self.make(number)

    def exchange(self, number: int, where: str, name: bytes) -> Any:
        return native("driven").Driven(self.middlewares[number], where, name)


class Buckets(Workers):
    """Tokens come at a rate, up to a burst. A request may be early by half the time between two."""

    @initialize(average=st.sampled_from([1, 3, 7, 1000]), burst=st.integers(0, 5), period=st.sampled_from(["1s", "7s"]))
    def begin(self, average: int, burst: int, period: str) -> None:
        self.config = RateConfig.model_validate(
            {"average": average, "burst": burst, "period": period, "sourceCriterion": BY_KEY}
        )
        self.rate = Fraction(average, int(period[:-1]) * SECOND_NS)
        self.burst = max(burst, 1)
        a_second = self.rate * SECOND_NS
        self.most_delay_ns = SECOND_NS // (2 * int(a_second)) if a_second >= 1 else SECOND_NS // 2
        self.buckets: dict[Place, tuple[Fraction, int]] = {}
        self.begun()

    def build(self) -> Any:
        return RateLimit("limit@file", self.config)

    @rule(number=worker, where=place, name=key, step_ms=st.sampled_from([0, 0, 0, 1, 30, 333, 1000, 4000]))
    def ask(self, number: int, where: str, name: bytes, step_ms: int) -> None:
        self.now_ns += step_ms * 1_000_000
        tokens, at_ns = self.buckets.get((where, name), (Fraction(self.burst), self.now_ns))
        tokens = min(Fraction(self.burst), tokens + (self.now_ns - at_ns) * self.rate) - 1
        delay_ns = max(Fraction(0), -tokens / self.rate)
        exchange = self.exchange(number, where, name)
        status = exchange.begin(self.now_ns)
        if abs(delay_ns - self.most_delay_ns) > 1:
            assert status == (429 if delay_ns > self.most_delay_ns else 0), (float(tokens), float(delay_ns))
        if status == 0:
            assert abs(exchange.waits_ms - delay_ns / 1_000_000) <= Fraction(501, 1000)
            self.buckets[where, name] = (tokens, self.now_ns)


class UnderWay(Workers):
    """So many of a source are under way at once; those of a worker that has died are not."""

    exchanges = Bundle("exchanges")

    @initialize(amount=st.integers(0, 4))
    def begin(self, amount: int) -> None:
        self.amount = amount
        self.held: dict[int, tuple[int, Place]] = {}
        self.begun()

    def build(self) -> Any:
        config = InFlightConfig.model_validate({"amount": self.amount, "sourceCriterion": BY_KEY})
        return InFlightReq("limit@file", config)

    @rule(target=exchanges, number=worker, where=place, name=key)
    def ask(self, number: int, where: str, name: bytes) -> Any:
        exchange = self.exchange(number, where, name)
        count = sum(of == (where, name) for _, of in self.held.values())
        assert exchange.begin(self.now_ns) == (0 if count < self.amount else 429)
        if count >= self.amount:
            return multiple()
        self.held[id(exchange)] = (number, (where, name))
        return exchange

    @rule(exchange=consumes(exchanges))
    def end(self, exchange: Any) -> None:
        if self.held.pop(id(exchange), None) is not None:
            exchange.end(self.now_ns, 200)

    @rule(number=worker)
    def die(self, number: int) -> None:
        super().die(number)
        self.held = {name: item for name, item in self.held.items() if item[0] != number}

    @invariant()
    def no_row_is_left(self) -> None:
        if hasattr(self, "held"):
            assert self.region.keys_used == (0, len(set(self.held.values())))


class Breakers(Workers):
    """A breaker for each place, which all workers share: closed, open, or recovering."""

    exchanges = Bundle("exchanges")
    RATIO = Fraction(1, 2)

    @initialize(recovery_s=st.sampled_from([1, 10]))
    def begin(self, recovery_s: int) -> None:
        options = {"checkPeriod": "100ms", "fallbackDuration": "2s", "recoveryDuration": f"{recovery_s}s"}
        expression = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"
        self.config = BreakerConfig.model_validate({"expression": expression, **options})
        self.recovery_ns = recovery_s * SECOND_NS
        self.seen: dict[str, list[tuple[int, int]]] = {"shop@file": [], "other@file": []}  # second and status
        self.open: dict[str, tuple[str, int]] = {}  # state and its end; not there: closed
        self.counts: dict[str, list[int]] = {}  # let through and refused, while it recovers
        self.looks_ns: dict[tuple[int, str], int] = {}  # when a worker looks at the condition again
        self.alive: dict[int, int] = {}  # worker by exchange
        self.begun()

    def build(self) -> Any:
        return CircuitBreaker("breaker@file", self.config)

    @rule(number=worker)
    def reload(self, number: int) -> None:
        super().reload(number)
        self.looks_anew(number)

    @rule(number=worker)
    def die(self, number: int) -> None:
        super().die(number)
        self.looks_anew(number)
        self.alive = {name: of for name, of in self.alive.items() if of != number}

    def looks_anew(self, number: int) -> None:
        for where in self.seen:
            self.looks_ns.pop((number, where), None)
        self.alive = {name: of for name, of in self.alive.items() if of != number}

    @rule(step_ms=st.sampled_from([1, 50, 101, 500, 1001, 2000, 5000, 11_000]))
    def wait(self, step_ms: int) -> None:
        self.now_ns += step_ms * 1_000_000

    def lets_through(self, where: str) -> bool:
        state, until_ns = self.open.get(where, ("closed", 0))
        if state == "closed":
            return True
        if state == "open":
            if self.now_ns < until_ns:
                return False
            until_ns = self.now_ns + self.recovery_ns
            self.open[where] = ("recovering", until_ns)
            self.counts[where] = [0, 0]
        if self.now_ns > until_ns:
            del self.open[where]
            return True
        passed, refused = self.counts[where]
        share = Fraction(1, 2) * (self.recovery_ns - (until_ns - self.now_ns)) / self.recovery_ns
        passes = Fraction(passed + 1, passed + 1 + refused) < share
        self.counts[where][not passes] += 1
        return passes

    @rule(target=exchanges, number=worker, where=place)
    def ask(self, number: int, where: str) -> Any:
        exchange = self.exchange(number, where, b"")
        passes = self.lets_through(where)
        assert exchange.begin(self.now_ns) == (0 if passes else 503), (where, self.open, self.counts)
        if not passes:
            return multiple()
        self.alive[id(exchange)] = number
        return exchange, number, where

    @rule(exchange=consumes(exchanges), status=st.sampled_from([200, 404, 500, 502]))
    def end(self, exchange: Any, status: int) -> None:
        of, number, where = exchange
        if self.alive.pop(id(of), None) is None:
            return  # its worker has died, or has another middleware: that one has a clock of its own for looks
        of.end(self.now_ns, status)
        second = self.now_ns // SECOND_NS
        self.seen[where].append((second, status))
        if self.now_ns <= self.looks_ns.get((number, where), 0):
            return
        self.looks_ns[number, where] = self.now_ns + 100_000_000
        found = [status for at, status in self.seen[where] if at > second - 10]
        ratio = Fraction(sum(status >= 500 for status in found), len(found))
        if ratio > self.RATIO and self.open.get(where, ("closed", 0))[0] != "open":
            self.open[where] = ("open", self.now_ns + 2 * SECOND_NS)
            self.seen[where] = []


class Budgets(Workers):
    """Further attempts are a share of the requests of ten seconds, and so many a second."""

    @initialize(percent=st.sampled_from([0, 20, 50, 100]), least=st.integers(0, 2))
    def begin(self, percent: int, least: int) -> None:
        self.percent, self.least = percent, least
        self.requests: list[int] = []
        self.attempts: list[int] = []
        self.begun()

    def make(self, number: int) -> Any:
        return RetryBudget(self.states[number].group("retry@file"), self.percent / 100, self.least)

    @rule(number=worker, count=st.integers(1, 10))
    def ask(self, number: int, count: int) -> None:
        for _ in range(count):
            self.middlewares[number].note(self.now_ns)
        self.requests += [self.now_ns // SECOND_NS] * count

    @rule(step_ms=st.sampled_from([1, 400, 1000, 3000, 12_000]))
    def wait(self, step_ms: int) -> None:
        self.now_ns += step_ms * 1_000_000

    def room(self) -> bool:
        second = self.now_ns // SECOND_NS
        requests, attempts = (sum(at > second - 10 for at in times) for times in (self.requests, self.attempts))
        return attempts + 1 <= Fraction(self.percent, 100) * requests + 10 * self.least

    @rule(number=worker, count=st.integers(1, 12))
    def spend(self, number: int, count: int) -> None:
        for _ in range(count):
            wanted = self.room()
            assert self.middlewares[number].spend(self.now_ns) == wanted
            self.attempts += [self.now_ns // SECOND_NS] * wanted

    @rule(number=worker)
    def give_back(self, number: int) -> None:
        """At once, as an exchange does."""
        if self.room():
            assert self.middlewares[number].spend(self.now_ns)
            self.middlewares[number].give_back(self.now_ns)


MACHINES = [Buckets, UnderWay, Breakers, Budgets]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.__name__)
def test_as_a_slow_model(machine: type[Workers]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    effort = settings(max_examples=examples(40), stateful_step_count=50, deadline=None)
    run_state_machine_as_test(machine, settings=effort)
