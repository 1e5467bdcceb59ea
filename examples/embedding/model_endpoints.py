"""A pool of model endpoints with rate limits: the least busy of those that have tokens left; who fails is out.

    python examples/embedding/model_endpoints.py
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from lbcore.selection import LeastConnections, NoServerError, OutlierDetector


class TokenBucket:
    """`rate` tokens a second, `burst` at most."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self.burst, self.clock = rate, burst, clock
        self.level, self.at_s = burst, clock()

    def holds(self, tokens: float) -> bool:
        now_s = self.clock()
        self.level = min(self.burst, self.level + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        return self.level >= tokens

    def take(self, tokens: float) -> None:
        self.level -= tokens


class ModelPool:
    """Endpoints with weights (how much each can do at once) and limits (tokens a minute)."""

    def __init__(self, endpoints: dict[str, tuple[int, float]], clock: Callable[[], float] = time.monotonic) -> None:
        weights = {name: weight for name, (weight, _) in endpoints.items()}
        self.lb = OutlierDetector(
            LeastConnections(weights), consecutive_failures=3, max_ejection_percent=50, clock=clock
        )
        self.buckets = {name: TokenBucket(limit / 60, limit, clock) for name, (_, limit) in endpoints.items()}

    async def ask(self, send: Callable[[str], Awaitable[str]], tokens: float, attempts: int = 3) -> str:
        """Send a prompt of so many tokens. Raises NoServerError when every endpoint has used up its limit or failed."""
        tried: set[str] = set()
        for _ in range(attempts):
            lease = self.lb.lease(accept=lambda name: self.buckets[name].holds(tokens), exclude=tried)
            tried.add(lease.server)
            self.buckets[lease.server].take(tokens)
            try:
                async with lease as endpoint:
                    return await send(endpoint)
            except (OSError, TimeoutError):
                continue
        raise NoServerError(f"{len(tried)} endpoints failed")


async def work() -> None:
    pool = ModelPool({"gpu-large": (4, 60_000), "gpu-small": (1, 60_000), "rented": (2, 1_000), "broken": (2, 60_000)})
    asked: Counter[str] = Counter()

    async def send(endpoint: str) -> str:  # in place of a real request
        asked[endpoint] += 1
        if endpoint == "broken":
            raise ConnectionResetError
        await asyncio.sleep(0.002)
        return f"answer of {endpoint}"

    async def user() -> None:
        for _ in range(10):
            await pool.ask(send, tokens=100)

    await asyncio.gather(*(user() for _ in range(7)))
    print("requests by endpoint:", dict(asked))
    print("taken out:", pool.lb.ejected)
    assert asked["rented"] <= 11, "beyond its limit of 1,000 tokens"
    assert asked["broken"] < 20
    assert asked.total() - asked["broken"] == 70


def main() -> None:
    asyncio.run(work())


if __name__ == "__main__":
    main()
