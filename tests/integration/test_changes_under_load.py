"""Changes of every kind of provider follow each other under load, and no request to what stays is lost."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from bench.rate import Client
from bench.sources import SOURCES
from tests.support.instance import Backend, eventually, running

KINDS = [kind for kind in SOURCES if kind != "file"]  # it has the section of "files"
ROUTERS = 120
ROUNDS = 12


@contextlib.contextmanager
def asking(port: int, hosts: list[str]) -> Iterator[list[tuple[str, int]]]:
    """Ask for one host after the other, all the time. The list gets the answers that are not 200."""
    failed: list[tuple[str, int]] = []
    over = threading.Event()

    def ask() -> None:
        client, count = Client(port), 0
        while not over.is_set() or count < len(hosts):
            host = hosts[count % len(hosts)]
            count += 1
            if (status := client.status(host)) != 200:
                failed.append((host, status))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield failed
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_no_request_is_lost(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        backend = Backend("served")
        stack.callback(backend.close)
        sources = {}
        for kind in KINDS:
            folder = tmp_path / kind
            folder.mkdir()
            sources[kind] = stack.enter_context(SOURCES[kind](folder, backend.url.removeprefix("http://")))
            sources[kind].put({number: f"{kind}-{number}" for number in range(ROUTERS)})
        providers = {"providersThrottleDuration": "0s"}
        for source in sources.values():
            providers |= source.settings
        lb = stack.enter_context(running(tmp_path, None, workers=2, static={"providers": providers}))
        client = Client(lb.port)
        for kind in KINDS:
            last = f"{kind}-{ROUTERS - 1}"
            eventually(lambda last=last: client.status(last) == 200, f"{last} is served")
        stay = [f"{kind}-{number}" for kind in KINDS for number in (0, ROUTERS - 1)]
        with asking(lb.port, stay) as failed:
            for turn in range(ROUNDS):
                for kind, source in sources.items():
                    source.put({1 + turn % 3: f"{kind}-changed-{turn}"})
            for kind in KINDS:
                host = f"{kind}-changed-{ROUNDS - 1}"
                eventually(lambda host=host: client.status(host) == 200, f"{host} is served")
        assert failed == []
