"""HTTP/2 with the clients that people have: curl's library, nghttp, h2load, httpx; over TLS and without it."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pycurl
import pytest

from tests.support.certificates import Files, certificate
from tests.support.wire import Edge, config_for, edge, serving

BODY = bytes(range(256)) * 4096  # 1 MiB
PLAIN_AND_TLS = pytest.mark.parametrize("scheme", ["http", "https"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("certificates"), "a", "a.test")


@pytest.fixture(scope="module")
def lb(files: Files) -> Iterator[Edge]:
    """One entry point for both: routers with TLS and without it share a port."""
    with serving() as server:
        dynamic = config_for(server.url)
        dynamic["http"]["routers"]["encrypted"] = {"rule": "PathPrefix(`/`)", "service": "all", "tls": {}}
        dynamic["tls"] = {"certificates": [files.entry]}
        with edge(dynamic) as found:
            yield found


def url(lb: Edge, scheme: str, path: str = "/") -> str:
    return f"{scheme}://127.0.0.1:{lb.address[1]}{path}"


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@PLAIN_AND_TLS
def test_h2load(lb: Edge, scheme: str) -> None:
    said = ran("h2load", "-n1000", "-c8", "-m16", url(lb, scheme, "/a"))
    assert "1000 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert "status codes: 1000 2xx" in said
    assert re.search(r"Application protocol: h2", said)


@PLAIN_AND_TLS
def test_h2load_with_bodies(lb: Edge, scheme: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(BODY[:200_000])
    said = ran("h2load", "-n40", "-c4", "-m4", "-d", str(body), url(lb, scheme, "/a"))
    assert "40 succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert re.search(r"8\.\d\dMB|\(\d+\) data", said)


@PLAIN_AND_TLS
def test_nghttp(lb: Edge, scheme: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(BODY)
    out = subprocess.run(
        ["nghttp", "--no-verify-peer", "-d", str(body), "-H", "x-a: b", url(lb, scheme, "/a")],
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert out.returncode == 0, out.stderr
    assert b"POST /a HTTP/1.1\n" + BODY in out.stdout


@PLAIN_AND_TLS
def test_nghttp_with_priorities_and_padding(lb: Edge, scheme: str) -> None:
    urls = [url(lb, scheme, f"/{number}") for number in range(20)]
    said = ran("nghttp", "--no-verify-peer", "--padding=100", "-p", "7", "-v", *urls)
    assert said.count(":status: 200") == 20
    assert "INVALID" not in said


class Curl:
    """A handle of curl's library, whose connection stays for the next request."""

    def __init__(self, version: int) -> None:
        self.handle = pycurl.Curl()
        self.handle.setopt(pycurl.HTTP_VERSION, version)
        self.handle.setopt(pycurl.SSL_VERIFYPEER, 0)
        self.handle.setopt(pycurl.SSL_VERIFYHOST, 0)

    def ask(self, address: str, body: bytes | None = None, trailer: bool = False) -> tuple[int, bytes]:
        into = io.BytesIO()
        handle = self.handle
        handle.setopt(pycurl.URL, address)
        handle.setopt(pycurl.WRITEDATA, into)
        if body is not None:
            handle.setopt(pycurl.POST, 1)
            handle.setopt(pycurl.READDATA, io.BytesIO(body))
            handle.setopt(pycurl.POSTFIELDSIZE_LARGE, -1 if trailer else len(body))
        handle.perform()
        assert handle.getinfo(pycurl.INFO_HTTP_VERSION) == pycurl.CURL_HTTP_VERSION_2_0
        return handle.getinfo(pycurl.RESPONSE_CODE), into.getvalue()


@PLAIN_AND_TLS
def test_curl(lb: Edge, scheme: str) -> None:
    kind = pycurl.CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE if scheme == "http" else pycurl.CURL_HTTP_VERSION_2TLS
    curl = Curl(kind)
    for number in range(10):
        assert curl.ask(url(lb, scheme, f"/{number}")) == (200, b"GET /%d HTTP/1.1\n" % number)
    assert curl.handle.getinfo(pycurl.NUM_CONNECTS) == 0  # the last request used a connection that was there
    assert curl.ask(url(lb, scheme, "/a"), BODY) == (200, b"POST /a HTTP/1.1\n" + BODY)
    assert curl.ask(url(lb, scheme, "/a"), BODY, True) == (200, b"POST /a HTTP/1.1\n" + BODY)


def test_curl_with_many_streams_on_one_connection(lb: Edge) -> None:
    multi = pycurl.CurlMulti()
    multi.setopt(pycurl.M_PIPELINING, pycurl.PIPE_MULTIPLEX)
    multi.setopt(pycurl.M_MAX_HOST_CONNECTIONS, 1)
    asked = []
    for number in range(50):
        curl, into = Curl(pycurl.CURL_HTTP_VERSION_2TLS), io.BytesIO()
        curl.handle.setopt(pycurl.URL, url(lb, "https", f"/{number}"))
        curl.handle.setopt(pycurl.WRITEDATA, into)
        curl.handle.setopt(pycurl.PIPEWAIT, 1)
        multi.add_handle(curl.handle)
        asked.append((curl, into))
    left = 1
    while left:
        _, left = multi.perform()
        multi.select(1.0)
    for number, (curl, into) in enumerate(asked):
        assert curl.handle.getinfo(pycurl.RESPONSE_CODE) == 200
        assert into.getvalue() == b"GET /%d HTTP/1.1\n" % number
    assert sum(curl.handle.getinfo(pycurl.NUM_CONNECTS) for curl, _ in asked) == 1


@PLAIN_AND_TLS
def test_httpx(lb: Edge, scheme: str) -> None:
    # Without TLS it speaks HTTP/2 only where HTTP/1.1 is off.
    with httpx.Client(http1=scheme == "https", http2=True, verify=False, trust_env=False) as client:
        for number in range(10):
            answer = client.get(url(lb, scheme, f"/{number}"), headers={"cookie": "a=b"})
            assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
        pieces = (BODY[at : at + 100_000] for at in range(0, len(BODY), 100_000))
        assert client.post(url(lb, scheme, "/a"), content=pieces).content == b"POST /a HTTP/1.1\n" + BODY
        with client.stream("POST", url(lb, scheme, "/b"), content=BODY) as streamed:
            assert next(streamed.iter_raw()).startswith(b"POST /b")
        assert client.head(url(lb, scheme)).headers["content-length"]
