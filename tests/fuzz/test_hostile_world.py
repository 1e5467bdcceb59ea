"""Hostile clients, hostile servers, reloads and a log at once: good clients are served, and learn nothing of others."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import json
import logging
import os
import random
import re
import resource
import ssl
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.effort import SEED, seconds
from tests.fuzz.encrypted import Secrets
from tests.fuzz.world import ANSWER_BODY, REQUEST_BODY, HostileClient, HostileServer, draw_config
from tests.support.http2 import Http2Client
from tests.support.instance import eventually
from tests.support.native import with_filters, with_steps
from tests.support.tls import handshakes, trusting
from tests.support.wire import Edge, Peer, edge

SECONDS = seconds(10)
CLIENTS = 6
GOOD = b"GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n"
TOKENS = re.compile(r"tk\d+q")


class Errors(logging.Handler):
    """Keeps what lbcore logs as an error, and what it corrects."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or "corrected" in record.msg:
            self.lines.append(self.format(record))


def each(stop: threading.Event, act: object, pause_s: float, failures: list[BaseException]) -> threading.Thread:
    """A thread that acts until `stop`; keeps its exception."""

    def run() -> None:
        try:
            while not stop.wait(pause_s):
                act()  # type: ignore[operator]
        except BaseException as error:
            traceback.print_exc()
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def ask_well(lb: Edge, context: ssl.SSLContext) -> None:
    """By HTTP/1, over TLS, and by HTTP/2."""
    with contextlib.closing(lb.client("good")) as plain:
        assert plain.ask(GOOD)[0] == "HTTP/1.1 200 OK"
    with contextlib.closing(lb.client("good")) as peer:
        with context.wrap_socket(peer.sock, server_hostname="good.test") as encrypted:
            assert Peer(encrypted).ask(GOOD)[0] == "HTTP/1.1 200 OK"
    with contextlib.closing(lb.client("good")) as peer:
        assert Http2Client(peer.sock).ask("GET", "/good").status == 200


def no_line_tells_of_two(log: str) -> None:
    for line in log.splitlines():
        entry = json.loads(line)
        assert len(set(TOKENS.findall(line))) <= 1, line
        assert REQUEST_BODY.decode() not in line, entry
        assert ANSWER_BODY.decode() not in line, entry


def in_loop(lb: Edge, call: Callable[[], object]) -> None:
    """Call something in the event loop of the proxy, which may be about to end."""

    async def run() -> None:
        call()

    with contextlib.suppress(RuntimeError):
        asyncio.run_coroutine_threadsafe(run(), lb._loop)


def without_descriptors(pause_s: float) -> None:
    """Let the process, the proxy with it, have nearly no descriptor more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 2, hard))
    try:
        time.sleep(pause_s)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_ones(lb: Edge) -> str:
    """What is open: connections and streams by kind, and the kernel's view of the sockets at the entry points."""
    kinds = Counter(
        type(each).__name__ for each in gc.get_objects() if str(type(each).__module__).startswith("lbcore.transport.")
    )
    ports = {address[1]: name for name, address in lb.proxy.addresses.items()}
    lines = [f"{name}: {count}" for name, count in sorted(kinds.items())]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, queues, *_ = line.split()
        if (name := ports.get(int(local.partition(":")[2], 16))) and remote != "00000000:0000":
            lines.append(f"{name}: from port {int(remote.partition(':')[2], 16)}, state {state}, bytes queued {queues}")
    return "\n".join(lines)


def nothing_is_left(lb: Edge, used: dict[str, int], errors: Errors) -> None:
    """No request in flight, no mirror, no request in a queue, no byte of a body kept, no open connection.

    Of the connections that were encrypted, nothing of OpenSSL's is left.
    """
    region: Any = lb.proxy._region
    try:
        eventually(lambda: lb.open_connections == 0, "all connections of clients have ended")
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), open_ones(lb), *errors.lines])) from None
    for name, slot in used.items():
        eventually(lambda slot=slot: region.counted_in_flight(slot) == 0, f"{name}: no slot is taken")  # type: ignore[misc]
        eventually(lambda slot=slot: region.server_counters(slot).in_flight == 0, f"{name}: idle")  # type: ignore[misc]
    slots = lb.proxy._publication.current.snapshot.slots  # type: ignore[union-attr]
    for name, slot in slots.services.items():
        assert region.queue_counters(slot).waiting == 0, name
    eventually(lambda: region.body_memory == 0, "no body is kept")
    eventually(lambda: handshakes() == 0, "no state of TLS is kept")


@pytest.mark.timeout(3600)
def test_the_good_are_served_and_nothing_is_told_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"LBCORE_FUZZ_SEED={SEED}")
    draw, secrets, context = random.Random(SEED), Secrets(tmp_path), trusting()
    steps, tap = with_steps(monkeypatch), with_filters(monkeypatch)
    servers = [HostileServer(SEED, 0.0), *(HostileServer(SEED + n, 0.4) for n in range(1, 5))]
    urls = [server.url for server in servers]
    errors, stop, failures = Errors(), threading.Event(), list[BaseException]()
    asking, used = threading.Lock(), dict[str, int]()
    log = tmp_path / "access.log"
    static = {
        "accessLog": {"filePath": str(log), "format": "json", "fields": {"headers": {"defaultMode": "keep"}}},
        "metrics": {"prometheus": {}},
        "explain": {"secret": "a secret of some length"},
        "bodyMemoryBytes": draw.choice([8_000, 100_000, 5_000_000]),
    }
    transport = {"respondingTimeouts": {"readTimeout": "300ms", "idleTimeout": "300ms"}}
    transport["lifeCycle"] = {"graceTimeOut": "500ms"}
    point = {"address": "127.0.0.1:0", "transport": transport}
    points: dict[str, Any] = {name: dict(point) for name in ("web", "raw", "secure")}
    # The good have time: how long one of their threads may have to wait for its turn is not known.
    points["good"] = {"address": "127.0.0.1:0", "transport": {"lifeCycle": {"graceTimeOut": "500ms"}}}
    points["raw"]["proxyProtocol"] = {"insecure": True}
    logging.getLogger("lbcore").addHandler(errors)
    logging.getLogger("lbcore.health").setLevel(logging.INFO)
    with edge(draw_config(draw, urls, secrets), points, static) as lb:
        for step in steps.values():
            step.timeout_ms = 100
        addresses = lb.proxy.addresses
        clients = [HostileClient(SEED * 100 + n, addresses, secrets, n * 1_000_000) for n in range(CLIENTS)]

        def reload() -> None:
            try:
                lb.apply(draw_config(draw, urls, secrets))
            except OSError as error:  # of files that are read: what runs stays
                if error.errno != errno.EMFILE:
                    raise
            used.update(lb.proxy._publication.current.snapshot.slots.servers)  # type: ignore[union-attr]
            for step in steps.values():
                step.timeout_ms = 100

        def ask() -> None:
            with asking:
                ask_well(lb, context)

        def starve() -> None:
            with asking:  # good clients need descriptors, too
                without_descriptors(0.03)

        reload()
        crowd = [each(stop, client.run_once, 0, failures) for client in clients]
        threads = [each(stop, act, pause, failures) for act, pause in ((reload, 0.25), (ask, 0.02), (starve, 0.4))]
        threads += [each(stop, lambda s=step: in_loop(lb, s.release), 0.03, failures) for step in steps.values()]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and not failures:
            time.sleep(0.1)  # the others are at work
        stop.set()
        for thread in [*threads, *crowd]:
            thread.join(60)
            assert not thread.is_alive()
        ask_well(lb, context)
        nothing_is_left(lb, used, errors)
        for step in steps.values():
            eventually(lambda s=step: s.begun == len(s.statuses), f"{step.name} has seen the end of all")  # type: ignore[misc]
        # The end comes while clients are at work.
        stop_crowd, before = threading.Event(), [client.connections for client in clients]
        crowd = [each(stop_crowd, client.run_once, 0, failures) for client in clients]
        for client, count in zip(clients, before, strict=True):
            eventually(lambda c=client, n=count: c.connections > n or failures, "it is at work")  # type: ignore[misc]
    stop_crowd.set()
    for thread in crowd:
        thread.join(60)
        assert not thread.is_alive()
    logging.getLogger("lbcore").removeHandler(errors)
    logging.getLogger("lbcore.health").setLevel(logging.NOTSET)
    for server in servers:
        server.close()
    assert failures == []
    assert [line for line in errors.lines if "internal error" in line] == []
    # Counts of services may be corrected: of servers that a reload has taken away some requests are under way.
    assert [line for line in errors.lines if "corrected" in line and "at a service" not in line] == []
    assert all(step.begun == len(step.statuses) > 0 and not step.held for step in steps.values())
    assert tap.up.pushed == tap.down.pushed == 0
    no_line_tells_of_two(log.read_text())
    assert all(client.connections for client in clients)
