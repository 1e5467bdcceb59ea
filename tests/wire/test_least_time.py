"""Strategies that go by latency: a server that was slow once is asked again within ten seconds."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

from tests.support.wire import Peer, Server, edge

RATE = 20
SECONDS = 10.0
STRATEGIES = ("leasttime", "peakewma")


class Timed(Server):
    """Answers after the times it is given, and keeps when it was asked."""

    def __init__(self, first_s: float, later_s: float) -> None:
        self.asked: list[float] = []
        times = itertools.chain([first_s], itertools.repeat(later_s))
        lock = threading.Lock()

        def answer(peer: Peer) -> None:
            while True:
                peer.message()
                with lock:
                    self.asked.append(time.monotonic())
                    wait_s = next(times)
                time.sleep(wait_s)  # what takes so long is what is tested
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        super().__init__(answer)


def test_one_that_was_slow_once_is_asked_again_within_ten_seconds() -> None:
    pools = {strategy: (Timed(0.4, 0.001), Timed(0.02, 0.02)) for strategy in STRATEGIES}
    config: dict[str, Any] = {
        "http": {
            "routers": {name: {"rule": f"Host(`{name}`)", "service": name} for name in STRATEGIES},
            "services": {
                name: {"loadBalancer": {"strategy": name, "servers": [{"url": server.url} for server in pool]}}
                for name, pool in pools.items()
            },
        }
    }
    with edge(config) as lb:

        def ask(name: str, until: float) -> None:
            client = lb.client()
            while time.monotonic() < until:
                client.ask(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % name.encode())
                time.sleep(1 / RATE)
            client.close()

        started = time.monotonic()
        threads = [threading.Thread(target=ask, args=(name, started + SECONDS + 1)) for name in STRATEGIES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name, pool in pools.items():
        for server in pool:
            times = [started, *server.asked, started + SECONDS + 1]
            assert max(b - a for a, b in itertools.pairwise(times)) <= SECONDS, (name, server.asked[-1] - started)
            server.close()
