"""The middlewares of examples/middlewares run in workers, and the page about them shows them as they are."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import yaml

from examples.middlewares.shop import OrderCheck, Variant
from lbcore.middleware_api import Request, Response
from tests.support.instance import Instance, eventually, running
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/middlewares-in-python.md").read_text()


def test_the_page_shows_the_examples() -> None:
    source = (ROOT / "examples/middlewares/shop.py").read_text()
    shown = [text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Options" in text]
    assert len(shown) == 3
    for text in shown:
        assert text in source


def test_the_first_example_of_the_page() -> None:
    text = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert text is not None
    names: dict[str, Any] = {}
    exec(text[1], names)
    answer = names["Teapot"]().on_request(Request("GET", "http://shop.test/coffee"))
    assert isinstance(answer, Response) and (answer.status, answer.body) == (418, b"no coffee here\n")
    assert names["Teapot"]().on_request(Request("GET", "/tea")) is None


def test_a_user_keeps_a_variant() -> None:
    variant = Variant(Variant.Options(share=0.2))
    seen = {}
    for user in [f"user-{number}" for number in range(2000)] * 2:
        request = Request(headers={"X-User": user})
        variant.on_request(request)
        assert seen.setdefault(user, request.headers["X-Variant"]) == request.headers["X-Variant"]
    assert abs(list(seen.values()).count("B") - 400) < 80


def test_an_order_needs_its_keys() -> None:
    check = OrderCheck(OrderCheck.Options())
    for body, status in ((b'{"item": 1, "amount": 2}', None), (b"{", 400), (b"[]", 422), (b'{"item": 1}', 422)):
        answer = check.on_request(Request("POST", "/orders", body=body))
        assert (answer.status if answer else None) == status


class Shop(NamedTuple):
    instance: Instance
    url: str
    metrics: str
    redis: subprocess.Popen[bytes]


BROKEN = """
class Broken:
    def on_request(self, request):
        raise LookupError("as the test wants it")
"""


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = json.dumps({"headers": {k.lower(): v for k, v in self.headers.items()}, "body": body.decode()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(name="shop", scope="module")
def a_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The files of the example, with free ports, and what they need."""
    folder = tmp_path_factory.mktemp("shop")
    backend = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    backend.daemon_threads = True
    threading.Thread(target=backend.serve_forever, args=(0.05,), daemon=True).start()
    port, web, metrics = free_port(), free_port(), free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port)

    def answers() -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(client.ping())
        return False

    dynamic = yaml.safe_load((ROOT / "examples/middlewares/dynamic.yml").read_text())
    middlewares = dynamic["http"]["middlewares"]
    middlewares["tenant"]["python"]["options"]["url"] = f"redis://127.0.0.1:{port}"
    middlewares["tenant"]["python"]["timeout"] = "2s"
    middlewares["variant"]["python"]["slowCall"] = "1us"
    middlewares["broken"] = {"python": "lbcore_broken:Broken"}
    dynamic["http"]["routers"]["broken"] = {
        "rule": "Path(`/broken`)",
        "priority": 100,
        "middlewares": ["broken"],
        "service": "shop",
    }
    (folder / "lbcore_broken.py").write_text(BROKEN)
    url = f"http://127.0.0.1:{backend.server_address[1]}"
    dynamic["http"]["services"]["shop"]["loadBalancer"]["servers"] = [{"url": url}]
    points = {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{metrics}"}}
    static = {"entryPoints": points, "metrics": {"prometheus": {}}}
    try:
        eventually(answers, "redis-server answers")
        client.set("tenant:k1", "ann")
        with running(folder, dynamic, static=static, environ={"PYTHONPATH": str(folder)}) as instance:
            instance.runs(1)
            yield Shop(instance, f"http://127.0.0.1:{web}", f"http://127.0.0.1:{metrics}/metrics", server)
    finally:
        backend.shutdown()
        client.close()
        server.kill()
        server.wait(30)


def ask(url: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(url, data=body, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def metric(shop: Shop, name: str, middleware: str) -> float:
    text = ask(shop.metrics, {})[2].decode()
    found = re.search(rf'^{name}{{middleware="{middleware}"}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else -1


ORDER = json.dumps({"item": "tea", "amount": 2}).encode()


def test_users_get_variants(shop: Shop) -> None:
    seen = set()
    for number in range(40):
        answers = [ask(shop.url, {"X-User": f"user-{number}"}) for _ in range(2)]
        told = {json.loads(body)["headers"]["x-variant"] for _, _, body in answers}
        assert told == {headers["X-Variant"] for _, headers, _ in answers} and len(told) == 1
        seen |= told
    assert seen == {"A", "B"}


def test_orders_are_checked_and_their_tenant_is_found(shop: Shop) -> None:
    url = f"{shop.url}/orders"
    assert ask(url, {"X-Tenant-Key": "k2"}, ORDER)[::2] == (403, b"unknown key\n")
    status, _, body = ask(url, {"X-Tenant-Key": "k1", "X-Tenant": "eve"}, ORDER)
    found = json.loads(body)
    assert (status, found["body"].encode(), found["headers"]["x-tenant"]) == (200, ORDER, "ann")
    assert "x-tenant-key" not in found["headers"]
    assert ask(url, {"X-Tenant-Key": "k1"}, b"{")[::2] == (400, b"not JSON\n")
    assert ask(url, {"X-Tenant-Key": "k1"}, b'{"item": 1}')[::2] == (422, b"missing: amount\n")
    assert ask(url, {"X-Tenant-Key": "k1"}, b"1" * 70_000)[0] == 413


def test_a_redis_that_does_not_answer_holds_up_its_own_requests_alone(shop: Shop) -> None:
    url = f"{shop.url}/orders"
    expired = metric(shop, "lbcore_middleware_timeouts_total", "tenant@file")
    shop.redis.send_signal(signal.SIGSTOP)
    try:
        assert ask(url, {"X-Tenant-Key": "k1"}, ORDER)[::2] == (504, b"Gateway Timeout")
        assert ask(shop.url, {})[0] == 200
    finally:
        shop.redis.send_signal(signal.SIGCONT)
    assert metric(shop, "lbcore_middleware_timeouts_total", "tenant@file") == expired + 1
    eventually(lambda: ask(url, {"X-Tenant-Key": "k1"}, ORDER)[0] == 200, "Redis answers again")


def test_calls_are_counted_over_all_workers(shop: Shop) -> None:
    before = metric(shop, "lbcore_middleware_calls_total", "variant@file")
    for _ in range(10):
        assert ask(shop.url, {})[0] == 200
    assert metric(shop, "lbcore_middleware_calls_total", "variant@file") == before + 20
    assert metric(shop, "lbcore_middleware_slow_calls_total", "variant@file") >= 10
    assert metric(shop, "lbcore_middleware_waiting", "tenant@file") == 0
    shop.instance.logged(r"WRN middleware variant@file: a call has held the event loop for 0 ms")


def test_an_error_is_one_line_of_the_log(shop: Shop) -> None:
    for _ in range(3):
        assert ask(f"{shop.url}/broken", {})[::2] == (500, b"Internal Server Error")
    assert metric(shop, "lbcore_middleware_failures_total", "broken@file") == 3
    shop.instance.logged(r"ERR middleware broken@file has failed\\nTraceback .*LookupError: as the test wants it", 3)
    assert shop.instance.log.count("as the test wants it") == 2 * 3  # the line of the source, and the error
    assert ask(shop.url, {})[0] == 200
