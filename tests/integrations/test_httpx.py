"""The httpx transports, over real servers: good ones, a dead one, a slow one, a failing one."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from lbcore.integrations.httpx import AsyncBalancedTransport, BalancedTransport, RetryBudget
from lbcore.selection import NoServerError, OutlierDetector, Selector, SmoothWRR
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
kinds = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Replica

    def do_GET(self) -> None:
        replica = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        replica.seen.append((self.command, self.path, self.headers["Host"], body))
        if not replica.go_on.wait(20):
            return
        answer = b"" if self.command == "HEAD" else f"{replica.url} {self.path}".encode()
        self.send_response(replica.status)
        self.send_header("Content-Length", str(len(answer) + replica.too_short))
        self.end_headers()
        self.wfile.write(answer)
        if replica.too_short:
            self.close_connection = True

    do_POST = do_PUT = do_HEAD = do_GET

    def log_message(self, *arguments: Any) -> None:
        pass


class Replica(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, status: int = 200, too_short: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = status
        self.too_short = too_short
        self.seen: list[tuple[str, str, str, bytes]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self.thread.start()


@contextlib.contextmanager
def replicas(*made: dict[str, int]) -> Iterator[list[Replica]]:
    found = [Replica(**settings) for settings in made]
    try:
        yield found
    finally:
        for each in found:
            each.go_on.set()
            each.shutdown()
            each.server_close()
            each.thread.join()


def dead_url() -> str:
    return f"http://127.0.0.1:{free_port()}"


def ask(
    asynchronous: bool, selector: Any, requests: list[httpx.Request], timeout_s: float = 10, **settings: Any
) -> list[Any]:
    """The answers, or the errors, one after the other."""

    async def work() -> list[Any]:
        transport = AsyncBalancedTransport(selector, **settings)
        found: list[Any] = []
        async with httpx.AsyncClient(mounts={"http://orders": transport}, timeout=timeout_s, trust_env=False) as client:
            for request in requests:
                try:
                    found.append(await client.send(prepared(request, timeout_s)))
                except Exception as error:
                    found.append(error)
        return found

    if asynchronous:
        return asyncio.run(work())
    found: list[Any] = []
    transport = BalancedTransport(selector, **settings)
    with httpx.Client(mounts={"http://orders": transport}, timeout=timeout_s, trust_env=False) as client:
        for request in requests:
            try:
                found.append(client.send(prepared(request, timeout_s)))
            except Exception as error:
                found.append(error)
    return found


def prepared(request: httpx.Request, timeout_s: float) -> httpx.Request:
    request.extensions["timeout"] = httpx.Timeout(timeout_s).as_dict()
    return request


def get(count: int, method: str = "GET", **content: Any) -> list[httpx.Request]:
    return [httpx.Request(method, f"http://orders/items/{n}?a=%2F", **content) for n in range(count)]


@kinds
def test_requests_are_spread_and_keep_their_host(asynchronous: bool) -> None:
    with replicas({}, {}) as (one, two):
        lb = SmoothWRR({one.url: 3, two.url: 1})
        answers = ask(asynchronous, lb, get(8))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert (len(one.seen), len(two.seen)) == (6, 2)
        assert answers[0].text.endswith("/items/0?a=%2F") and one.seen[0][2] == "orders"
        assert lb.in_flight(one.url) == lb.in_flight(two.url) == 0
        (answer,) = ask(asynchronous, SmoothWRR(["one"]), get(1), url=lambda server: f"{one.url}/v2/", keep_host=False)
        assert one.seen[-1][1:3] == ("/v2/items/0?a=%2F", one.url.removeprefix("http://"))
        assert answer.request.url == "http://orders/items/0?a=%2F"


@kinds
def test_a_dead_replica_is_avoided_and_ejected(asynchronous: bool) -> None:
    with replicas({}) as (good,):
        dead = dead_url()
        lb = OutlierDetector(SmoothWRR([dead, good.url]), split_local=True, consecutive_local=3)
        answers = ask(asynchronous, lb, [*get(6), *get(6, "POST", content=b"x")])  # nothing was sent: POST too
        assert [answer.status_code for answer in answers] == [200] * 12 and len(good.seen) == 12
        assert lb.ejected == {dead: "consecutive local"}
        (answer,) = ask(asynchronous, SmoothWRR([dead]), get(1))
        assert isinstance(answer, httpx.ConnectError)


@kinds
def test_a_failing_replica(asynchronous: bool) -> None:
    with replicas({"status": 503}, {}) as (bad, good):
        lb = SmoothWRR([bad.url, good.url])
        assert {a.status_code for a in ask(asynchronous, lb, get(10, "PUT", content=b"body"))} == {200}
        assert len(bad.seen) >= 5 and len(good.seen) == 10 and {body for *_, body in good.seen} == {b"body"}
        # What is not idempotent, or cannot be sent again, gets the answer that there is.
        assert Counter(a.status_code for a in ask(asynchronous, lb, get(10, "POST", content=b"x"))) == {200: 5, 503: 5}
        assert Counter(a.status_code for a in ask(asynchronous, lb, get(4), retry_statuses=())) == {200: 2, 503: 2}
        assert Counter(a.status_code for a in ask(asynchronous, lb, get(4), attempts=1)) == {200: 2, 503: 2}
        (answer,) = ask(asynchronous, SmoothWRR([bad.url]), get(1))
        assert answer.status_code == 503 and answer.text.startswith(bad.url)
        assert lb.in_flight(bad.url) == lb.in_flight(good.url) == 0
        detector = OutlierDetector(SmoothWRR([bad.url, good.url]), consecutive_gateway=2, consecutive_failures=None)
        ask(asynchronous, detector, get(6))
        assert detector.ejected == {bad.url: "consecutive gateway"}


@kinds
def test_a_slow_replica(asynchronous: bool) -> None:
    with replicas({}, {}) as (slow, good):
        slow.go_on.clear()
        lb = OutlierDetector(SmoothWRR([slow.url, good.url]), consecutive_failures=1)
        answers = ask(asynchronous, lb, get(4), timeout_s=0.3)
        assert {answer.status_code for answer in answers} == {200}
        assert len(slow.seen) == 1 and slow.url in lb.ejected
        answers = ask(asynchronous, SmoothWRR([slow.url, good.url]), get(1, "POST", content=b"x"), timeout_s=0.3)
        assert isinstance(answers[0], httpx.ReadTimeout)  # perhaps it was carried out


@kinds
def test_an_answer_that_breaks_off_is_a_failure(asynchronous: bool) -> None:
    with replicas({"too_short": 9}) as (bad,):
        lb = OutlierDetector(SmoothWRR([bad.url]), consecutive_failures=2, max_ejection_percent=100)
        answers = ask(asynchronous, lb, get(2))
        assert all(isinstance(answer, httpx.RemoteProtocolError) for answer in answers)
        assert lb.ejected and lb.in_flight(bad.url) == 0


@kinds
def test_the_budget_bounds_retries(asynchronous: bool) -> None:
    with replicas({"status": 502}, {"status": 502}) as found:
        lb = SmoothWRR([each.url for each in found])
        answers = ask(asynchronous, lb, get(20), budget=RetryBudget(ratio=0.1, reserve=3))
        assert {answer.status_code for answer in answers} == {502}
        assert 20 + 3 <= sum(len(each.seen) for each in found) <= 20 + 3 + 2


@kinds
def test_without_an_available_replica_and_with_keys(asynchronous: bool) -> None:
    (answer,) = ask(asynchronous, SmoothWRR([]), get(1))
    assert isinstance(answer, httpx.ConnectError) and isinstance(answer.__cause__, NoServerError)
    asked: list[str] = []

    def key(request: httpx.Request) -> str:
        asked.append(request.url.path)
        return request.url.path

    with replicas({}) as (one,):
        ask(asynchronous, SmoothWRR([one.url]), get(2), key=key)
    assert asked == ["/items/0", "/items/1"]


def test_load_counts_until_the_last_byte() -> None:
    with replicas({}) as (one,):
        lb: Selector[str] = SmoothWRR([one.url])
        with httpx.Client(mounts={"http://orders": BalancedTransport(lb)}, trust_env=False) as client:
            with client.stream("GET", "http://orders/"):
                assert lb.in_flight(one.url) == 1
            assert lb.in_flight(one.url) == 0


def test_wrong_settings() -> None:
    for wrong in (lambda: BalancedTransport(SmoothWRR(["a"]), attempts=0), lambda: RetryBudget(-1)):
        with pytest.raises(ValueError):
            wrong()


def test_errors_name_the_replicas() -> None:
    selector = SmoothWRR(["http://127.0.0.1:1", "http://127.0.0.1:2"])
    with httpx.Client(mounts={"http://orders": BalancedTransport(selector, attempts=2)}, trust_env=False) as client:
        with pytest.raises(httpx.ConnectError) as found:
            client.get("http://orders/")
        assert "replica http://127.0.0.1:2 (before: http://127.0.0.1:1)" in str(found.value)
        selector.set_up("http://127.0.0.1:1", False)
        selector.set_weight("http://127.0.0.1:2", 0)
        with pytest.raises(httpx.ConnectError) as found:
            client.get("http://orders/")
        assert "http://127.0.0.1:1 is down, http://127.0.0.1:2 is drained" in str(found.value)


def test_a_misspelt_setting_is_refused() -> None:
    for kind in (BalancedTransport, AsyncBalancedTransport):
        with pytest.raises(TypeError, match="atempts"):
            kind(SmoothWRR(["a"]), atempts=3)
        with pytest.raises(TypeError):
            kind(SmoothWRR(["a"]), attempts="3")


def test_without_httpx_the_extra_is_named() -> None:
    code = "import sys; sys.modules['httpx'] = None\nimport lbcore.integrations.httpx"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 1 and "pip install 'lbcore[httpx]'" in found.stderr
