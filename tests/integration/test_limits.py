"""Limits of servers over several workers: one count for all, also after one dies, and no request waits for ever."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.instance import Instance, eventually, running
from tests.support.wire import config_for
from tests.wire.test_queue import GET, counting, limited

API = {"api": {"insecure": True, "dashboard": False}, "metrics": {"prometheus": {}}}


def asking(lb: Instance, count: int, times: int, found: list[float], statuses: Counter[str]) -> list[threading.Thread]:
    """Clients, each with a connection of its own; how long each request took, in seconds."""

    def ask() -> None:
        sock = socket.create_connection(("127.0.0.1", lb.port), timeout=30)
        with contextlib.closing(sock):
            for _ in range(times):
                started = time.monotonic()
                sock.sendall(GET)
                try:
                    head = sock.recv(65536)
                except OSError:
                    head = b""
                found.append(time.monotonic() - started)
                statuses[head[9:12].decode() or "closed"] += 1
                if not head:
                    return

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def health(lb: Instance) -> Any:
    port = lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/http/services/all@file", timeout=10) as answer:
        return json.load(answer)["health"]


def run(tmp_path: Path, dynamic: Any, workers: int = 2) -> Any:
    points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}
    return running(tmp_path, dynamic, workers=workers, static={"entryPoints": points, **API})


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_two_workers_never_send_more_than_the_limit(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(3, delay_s=0.002) as servers:
        with run(tmp_path, limited(*servers, limit=2, timeout="30s")) as lb:
            lb.runs(1)
            finish(asking(lb, 24, 50, found, statuses))
            assert statuses == {"200": 1200}
            assert [server.most for server in servers] == [2, 2, 2]
            assert sum(server.total for server in servers) == 1200
            eventually(lambda: health(lb)["queue"]["waiting"] == 0, "no request waits")
            assert all(server["inFlight"] == 0 for server in health(lb)["servers"])


def test_a_slot_is_shared_fairly_by_the_workers(tmp_path: Path) -> None:
    """One slot, and clients of both workers: no client waits much longer than the others."""
    found: list[float] = []
    statuses = Counter[str]()
    with counting(1, delay_s=0.005) as (server,):
        with run(tmp_path, limited(server, limit=1, timeout="30s")) as lb:
            lb.runs(1)
            finish(asking(lb, 16, 20, found, statuses))
            assert statuses == {"200": 320}
            assert server.most == 1
            # 16 clients, one at a time, some 6 ms each: a round takes 0.1 s.
            found.sort()
            assert found[-1] < 8 * found[len(found) // 2]


def test_a_worker_that_is_killed_leaves_no_count_behind(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(2) as servers:
        with run(tmp_path, limited(*servers, limit=4, timeout="30s")) as lb:
            lb.runs(1)
            threads = asking(lb, 30, 1, found, statuses)
            eventually(lambda: [server.now for server in servers] == [4, 4], "all are full")
            eventually(lambda: health(lb)["queue"]["waiting"] == 22, "the others wait")
            for pid in lb.workers:
                os.kill(pid, signal.SIGKILL)
            finish(threads)
            assert statuses == {"closed": 30}
            for server in servers:
                server.go.release(1000)
            lb.logged(r"2 workers run configuration 1\b", 2)
            assert health(lb)["queue"]["waiting"] == 0
            assert [server["inFlight"] for server in health(lb)["servers"]] == [0, 0]
            finish(asking(lb, 20, 10, found, statuses))
            assert statuses == {"closed": 30, "200": 200}


def test_a_slot_of_a_killed_worker_goes_to_requests_that_wait_in_the_other(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(1) as (server,):
        with run(tmp_path, limited(server, limit=1, timeout="30s")) as lb:
            lb.runs(1)
            threads = asking(lb, 20, 1, found, statuses)
            eventually(lambda: server.now == 1, "the server is full")
            eventually(lambda: health(lb)["queue"]["waiting"] == 19, "the others wait")
            os.kill(lb.workers[0], signal.SIGKILL)
            server.go.release(1000)
            finish(threads)
            assert statuses["200"] + statuses["closed"] == 20
            assert statuses["200"] > 0
            eventually(lambda: health(lb)["servers"][0]["inFlight"] == 0, "nothing is under way")


def test_a_worker_that_hangs_does_not_delay_requests_in_the_other(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(1) as (server,):
        with run(tmp_path, limited(server, limit=1, timeout="30s")) as lb:
            lb.runs(1)
            threads = asking(lb, 1, 1, found, statuses)
            eventually(lambda: server.now == 1, "the server is full")
            threads += asking(lb, 30, 1, found, statuses)
            eventually(lambda: health(lb)["queue"]["waiting"] == 30, "the others wait")
            hangs = lb.workers[0]
            os.kill(hangs, signal.SIGSTOP)
            try:
                server.go.release(1000)
                # The hanging worker may hold the slot, which is then unavailable.
                eventually(lambda: server.total > 1 or statuses["200"] == 0, "the others go on")
            finally:
                os.kill(hangs, signal.SIGCONT)
            finish(threads)
            assert statuses == {"200": 31}
            assert server.most == 1


def test_a_slow_start_is_one_for_all_workers(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(2, delay_s=0) as (old, new):
        slowly = {"duration": "60s", "minWeightPercent": 10}
        with run(tmp_path, config_for(old.url, slowStart=slowly)) as lb:
            lb.runs(1)
            lb.write(config_for(old.url, new.url, slowStart=slowly))
            lb.runs(2)
            before = new.total
            finish(asking(lb, 14, 40, found, statuses))
            assert statuses == {"200": 560}
            # 12 parts of 140 to begin with, 19 of 147 a step later.
            assert 44 <= new.total - before <= 80
            assert health(lb)["servers"][1]["slowStartPercent"] in (10, 15)


def test_metrics_and_the_tree_show_the_queue(tmp_path: Path) -> None:
    found: list[float] = []
    statuses = Counter[str]()
    with counting(1) as (server,):
        with run(tmp_path, limited(server, limit=1, timeout="200ms", room=3)) as lb:
            lb.runs(1)
            threads = asking(lb, 1, 1, found, statuses)
            eventually(lambda: server.now == 1, "the server is full")
            threads += asking(lb, 3, 1, found, statuses)
            eventually(lambda: statuses["503"] == 3, "three have waited in vain")
            node = health(lb)
            assert node["queue"] == {
                "waiting": 0, "queued": 3, "timedOut": 3, "rejected": 0, "abandoned": 0,
                "maxRequests": 3, "timeout": "200ms",
            }  # fmt: skip
            assert node["servers"][0]["maxConnections"] == 1
            port = lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            assert 'lbcore_service_queue_length{service="all@file"} 0.0' in text
            assert 'lbcore_service_queue_requests_total{result="timed_out",service="all@file"} 3.0' in text
            assert 'lbcore_service_queue_requests_total{result="queued",service="all@file"} 3.0' in text
            server.go.release(10)
            finish(threads)
