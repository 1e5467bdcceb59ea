"""gRPC through the proxy, with grpcio at both ends."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.certificates import authority, signed
from tests.support.instance import eventually
from tests.support.native import native
from tests.support.wire import TIMEOUT_S, Edge, config_for, edge, serving

SERVICE = "test.Echo"


class Echo:
    """What the server does, by method."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.calls: list[str] = []
        self.cancelled = threading.Event()
        self.time_left: list[float] = []

    def unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls.append("unary")
        self.time_left.append(context.time_remaining() or 0)
        context.set_trailing_metadata((("x-name", self.name), ("x-bin-bin", b"\x00\xff")))
        return request + self.name.encode()

    def refused(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00e4")

    def hang(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(self.cancelled.set)
        self.calls.append("hang")
        self.cancelled.wait(TIMEOUT_S)
        return b""

    def many(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for i in range(int(request)):
            yield b"%d" % i

    def total(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"%d" % sum(len(request) for request in requests)

    def chat(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request.upper()


@contextlib.contextmanager
def server(echo: Echo, credentials: grpc.ServerCredentials | None = None, **options: int) -> Iterator[str]:
    handlers = {
        "unary": grpc.unary_unary_rpc_method_handler(echo.unary),
        "refused": grpc.unary_unary_rpc_method_handler(echo.refused),
        "hang": grpc.unary_unary_rpc_method_handler(echo.hang),
        "many": grpc.unary_stream_rpc_method_handler(echo.many),
        "total": grpc.stream_unary_rpc_method_handler(echo.total),
        "chat": grpc.stream_stream_rpc_method_handler(echo.chat),
    }
    found = grpc.server(
        futures.ThreadPoolExecutor(16), options=[(f"grpc.{name}", value) for name, value in options.items()]
    )
    found.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = "127.0.0.1:0"
    port = found.add_secure_port(address, credentials) if credentials else found.add_insecure_port(address)
    found.start()
    try:
        yield f"h2c://127.0.0.1:{port}"
    finally:
        echo.cancelled.set()
        found.stop(0).wait()


@contextlib.contextmanager
def channel(lb: Edge) -> Iterator[grpc.Channel]:
    address = lb.address
    assert not isinstance(address, str)
    with grpc.insecure_channel(f"127.0.0.1:{address[1]}", options=[("grpc.enable_retries", 0)]) as found:
        yield found


def method(name: str) -> str:
    return f"/{SERVICE}/{name}"


@pytest.fixture
def echo() -> Iterator[tuple[Echo, Edge, grpc.Channel]]:
    found = Echo("a")
    with server(found) as url, edge(config_for(url)) as lb, channel(lb) as client:
        yield found, lb, client


Set = tuple[Echo, Edge, grpc.Channel]


def test_calls_over_tls_at_both_ends(tmp_path: Path) -> None:
    """HTTP/2 is agreed on by ALPN: grpcio speaks nothing else."""
    ca = authority(tmp_path, "ca")
    files = {name: signed(tmp_path, ca, name, f"DNS:{name}.test") for name in ("edge", "echo")}
    pair = (files["echo"].key.read_bytes(), files["echo"].certificate.read_bytes())
    found, transport = Echo("a"), {"rootCAs": [str(ca.certificate)], "serverName": "echo.test"}
    with server(found, grpc.ssl_server_credentials([pair])) as url:
        dynamic = config_for(url.replace("h2c:", "https:"), transport=transport)
        dynamic["http"]["routers"]["all"]["tls"] = {}
        with edge({**dynamic, "tls": {"certificates": [files["edge"].entry]}}) as lb:
            trust = grpc.ssl_channel_credentials(ca.certificate.read_bytes())
            options = [("grpc.ssl_target_name_override", "edge.test"), ("grpc.enable_retries", 0)]
            address = lb.address
            assert not isinstance(address, str)
            with grpc.secure_channel(f"127.0.0.1:{address[1]}", trust, options) as client:
                assert client.unary_unary(method("unary"))(b"text", timeout=TIMEOUT_S) == b"texta"
                parts = list(client.stream_stream(method("chat"))(iter([b"one", b"two"]), timeout=TIMEOUT_S))
                assert parts == [b"ONE", b"TWO"]
                with pytest.raises(grpc.RpcError) as refused:
                    client.unary_unary(method("refused"))(b"", timeout=TIMEOUT_S)
                assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_calls_count_as_streams_of_both_ends(echo: Set) -> None:
    engine: Any = echo[1].proxy._plane
    streams_of = native("gathering").streams_of
    calls = [echo[2].unary_unary(method("hang")).future(b"", timeout=TIMEOUT_S) for _ in range(3)]
    eventually(lambda: streams_of(engine.reactor) == (3, 3, 2), "the calls are under way at both ends")
    for call in calls:
        call.cancel()
    eventually(lambda: streams_of(engine.reactor) == (0, 0, 0), "no stream counts")


def test_unary_calls_with_metadata_and_deadlines(echo: Set) -> None:
    call = echo[2].unary_unary(method("unary"))
    answer, done = call.with_call(b"text", timeout=TIMEOUT_S)
    assert answer == b"texta"
    trailing: dict[str, Any] = {key: value for key, value in done.trailing_metadata()}  # noqa: C416
    assert (trailing["x-name"], trailing["x-bin-bin"]) == ("a", b"\x00\xff")
    # gRPC rounds the time that it sends up to tenths of a second.
    assert 0 < echo[0].time_left[0] <= TIMEOUT_S + 1
    assert call(b"x" * 3_000_000, timeout=TIMEOUT_S) == b"x" * 3_000_000 + b"a"


@pytest.mark.parametrize("streams", [1, 3])
def test_a_server_that_allows_few_concurrent_streams_loses_no_call(streams: int) -> None:
    found = Echo("a")
    with server(found, max_concurrent_streams=streams) as url, edge(config_for(url)) as lb, channel(lb) as client:
        call = client.unary_unary(method("unary"))
        for _ in range(5):
            calls = [call.future(b"%d" % i, timeout=TIMEOUT_S) for i in range(64)]
            assert [each.result() for each in calls] == [b"%da" % i for i in range(64)]
        chats = [client.stream_stream(method("chat"))(iter([b"one", b"two"]), timeout=TIMEOUT_S) for _ in range(10)]
        assert [list(chat) for chat in chats] == [[b"ONE", b"TWO"]] * 10


def test_streams_of_the_server_of_the_client_and_both(echo: Set) -> None:
    client = echo[2]
    assert list(client.unary_stream(method("many"))(b"500", timeout=TIMEOUT_S)) == [b"%d" % i for i in range(500)]
    parts = (b"x" * 1000 for _ in range(500))
    assert client.stream_unary(method("total"))(parts, timeout=TIMEOUT_S) == b"500000"
    heard: list[bytes] = []
    said = threading.Semaphore(1)

    def talk() -> Iterator[bytes]:
        for word in (b"one", b"two", b"three"):
            assert said.acquire(timeout=TIMEOUT_S)  # each word waits for the answer to the one before
            yield word

    for word in client.stream_stream(method("chat"))(talk(), timeout=TIMEOUT_S):
        heard.append(word)
        said.release()
    assert heard == [b"ONE", b"TWO", b"THREE"]


def test_a_status_without_an_answer(echo: Set) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        echo[2].unary_unary(method("refused"))(b"", timeout=TIMEOUT_S)
    assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert failed.value.details() == "not now: \u00e4"
    with pytest.raises(grpc.RpcError) as failed:
        echo[2].unary_unary(method("nowhere"))(b"", timeout=TIMEOUT_S)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_call_that_is_cancelled_ends_at_the_server(echo: Set) -> None:
    call = echo[2].unary_unary(method("hang")).future(b"", timeout=TIMEOUT_S)
    eventually(lambda: echo[0].calls, "the server is asked")
    call.cancel()
    assert echo[0].cancelled.wait(TIMEOUT_S)
    assert echo[2].unary_unary(method("unary"))(b"", timeout=TIMEOUT_S) == b"a"


def test_a_deadline_ends_the_call_at_both_ends(echo: Set) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        echo[2].unary_unary(method("hang"))(b"", timeout=0.5)
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo[0].cancelled.wait(TIMEOUT_S)


def test_calls_of_one_connection_are_balanced() -> None:
    first, second = Echo("1"), Echo("2")
    with server(first) as one, server(second) as two, edge(config_for(one, two)) as lb, channel(lb) as client:
        call = client.unary_unary(method("unary"))
        answers = [call(b"", timeout=TIMEOUT_S) for _ in range(20)]
    assert (answers.count(b"1"), answers.count(b"2")) == (10, 10)


def test_calls_at_once(echo: Set) -> None:
    call = echo[2].unary_unary(method("unary"))
    pending = [call.future(b"%d" % i, timeout=TIMEOUT_S) for i in range(200)]
    assert [done.result() for done in pending] == [b"%da" % i for i in range(200)]


def code_of(client: grpc.Channel, timeout: float = TIMEOUT_S) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as failed:
        client.unary_unary(method("unary"))(b"", timeout=timeout)
    return failed.value.code(), failed.value.details()


def test_errors_of_the_proxy_are_statuses_of_grpc() -> None:
    with serving() as gone:
        pass
    with edge(config_for(f"h2c://127.0.0.1:{gone.port}")) as lb, channel(lb) as client:
        assert code_of(client) == (grpc.StatusCode.UNAVAILABLE, "Bad Gateway")
        lb.apply(config_for())
        assert code_of(client) == (grpc.StatusCode.UNAVAILABLE, "Service Unavailable")
        lb.apply({})
        assert code_of(client) == (grpc.StatusCode.UNIMPLEMENTED, "Not Found")


def test_a_server_that_ends_has_its_calls_answered_by_another() -> None:
    first, second = Echo("1"), Echo("2")
    with server(second) as two:
        with server(first) as one, edge(config_for(one, two)) as lb, channel(lb) as client:
            call = client.unary_unary(method("unary"))
            assert {call(b"", timeout=TIMEOUT_S) for _ in range(4)} == {b"1", b"2"}
            stop = time.monotonic() + 0.5
            ending = threading.Thread(target=first.cancelled.set)
            ending.start()
            while time.monotonic() < stop:
                call(b"", timeout=TIMEOUT_S)
            ending.join()
