"""The access log of every kind of exchange: tunnels, half heads, late bodies, trailers, HEAD, clients that go away."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.instance import Backend, dynamic_for, eventually, running
from tests.support.recorder import recorders
from tests.support.wire import Edge, Peer, config_for, edge, serving

ALL = {"fields": {"headers": {"defaultMode": "keep"}}}


def lines_of(path: Path, count: int) -> list[str]:
    return eventually(lambda: len(lines := path.read_text().splitlines()) >= count and lines, f"{count} lines")


def logged(path: Path, number: int = 1) -> dict[str, Any]:
    """The fields of a line."""
    found: dict[str, Any] = json.loads(lines_of(path, number)[number - 1])
    return found


def as_json(path: Path) -> dict[str, Any]:
    return {"accessLog": {"filePath": str(path), "format": "json", **ALL}}


def websocket(peer: Peer) -> None:
    """Takes an upgrade, sends bytes that look like a head, and ends with the client."""
    peer.head()
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: 1\r\n\r\n")
    for _ in range(3):
        peer.exactly(6)
        peer.send(b"PUT /of-the-server HTTP/1.1\r\nX-A: secret\r\n\r\n")
    assert peer.to_the_end() == b""


@pytest.mark.parametrize("form", ["common", "genericCLF", "json"])
def test_a_tunnel_is_told_of_as_it_was_asked_for(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    with serving(websocket) as server:
        with edge(config_for(server.url), static={"accessLog": {"filePath": str(path), "format": form, **ALL}}) as lb:
            client = lb.client()
            client.send(b"GET /ws?a=1 HTTP/1.1\r\nHost: w.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert client.head()[0].startswith("HTTP/1.1 101")
            for _ in range(3):
                client.send(b"frame!")
                client.until(b"\r\n\r\n")
            client.close()
            line = lines_of(path, 1)[0]
            assert "secret" not in line and "frame" not in line and "of-the-server" not in line
            if form == "json":
                found = json.loads(line)
                logged = [found[key] for key in ("RequestMethod", "RequestPath", "DownstreamStatus")]
                assert logged == ["GET", "/ws?a=1", 101]
                assert found["request_X-Forwarded-Proto"] == "ws"
                assert found["origin_X-A"] == found["downstream_X-A"] == "1"
            else:
                assert '"GET /ws?a=1 HTTP/1.1" 101 ' in line


@pytest.mark.parametrize("form", ["common", "json"])
def test_half_a_head_says_nothing_of_another_client(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    timeouts = {"transport": {"respondingTimeouts": {"readTimeout": "300ms"}}}
    settings = {"accessLog": {"filePath": str(path), "format": form, **ALL}}
    with serving() as server, edge(config_for(server.url), static=settings, **timeouts) as lb:
        assert lb.ask(b"GET /secret HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n")[0].endswith("200 OK")
        lines_of(path, 1)
        client = lb.client()
        client.send(b"GET /half HTTP/1.1\r\nHo")
        client.to_the_end()
        line = lines_of(path, 2)[1]
        assert "secret" not in line and "half" not in line
        if form == "json":
            found = json.loads(line)
            assert [found[key] for key in ("RequestMethod", "RequestPath", "RequestProtocol")] == ["-", "-", "-"]
            assert found["ClientHost"] == "127.0.0.1"
            assert not any(key.startswith("request_") for key in found)
        else:
            assert re.search(r'^127\.0\.0\.1 - - \[.*\] "- - -" 4\d\d ', line)


def test_head_requests_and_their_sizes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with serving() as server, edge(config_for(server.url), static=as_json(path)) as lb:
        client = lb.client()
        client.send(b"HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n")
        client.head()
        found = logged(path)
        assert (found["RequestMethod"], found["DownstreamContentSize"], found["OriginContentSize"]) == ("HEAD", 0, 0)
        assert found["downstream_Content-Length"] == found["origin_Content-Length"] != "0"


def test_a_body_that_comes_late_and_its_trailers_change_nothing_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def late(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nX-Kind: head\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")  # fmt: skip
        assert peer.until(b"go") == b"go"
        peer.send(b"9\r\nX-Kind: b\r\n0\r\nX-Kind: trailer\r\n\r\n")

    with serving(late) as server, edge(config_for(server.url), static=as_json(path)) as lb:
        client = lb.client()
        client.send(b"POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Up: 1\r\n\r\n")
        client.head()
        client.send(b"go")
        assert client.chunks()[0] == b"X-Kind: b"
        found = logged(path)
        assert found["downstream_X-Kind"] == found["origin_X-Kind"] == "head"
        assert found["downstream_Set-Cookie"] == "a=1,b=2"
        assert (found["request_X-Up"], found["RequestContentSize"], found["DownstreamContentSize"]) == ("1", 2, 9)


def test_trailers_that_an_answer_announces_are_told_with_its_headers(tmp_path: Path) -> None:
    path = tmp_path / "log"

    def answers(peer: Peer) -> None:
        for end in (b"X-Sum: 7\r\nx-kind: end\r\nX-Other: 1\r\nContent-Length: 9\r\n\r\n", b"\r\n"):
            peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nX-Kind: head\r\nTrailer: X-Sum, X-Kind\r\nTrailer: Content-Length\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + end)  # fmt: skip

    with serving(answers) as server, edge(config_for(server.url), static=as_json(path)) as lb:
        client = lb.client()
        for number, wanted in ((1, "7"), (2, None)):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.head()
            assert client.chunks()[0] == b"a"
            found = logged(path, number)
            for side in ("origin", "downstream"):
                assert found.get(f"{side}_X-Sum") == wanted
                assert found[f"{side}_X-Kind"] == ("head,end" if wanted else "head")
                assert f"{side}_X-Other" not in found
                assert f"{side}_Content-Length" not in found


def test_a_client_that_goes_away_is_told_of_with_its_own_request(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with recorders("a") as (a,), edge(config_for(a.url), static=as_json(path)) as lb:
        a.delay_s = 1
        client = lb.client()
        client.send(b"GET /gone HTTP/1.1\r\nHost: a\r\nX-V: 1\r\nX-V: 2\r\n\r\n")
        eventually(lambda: a.requests, "the request arrives")
        client.close()
        found = logged(path)
        assert (found["DownstreamStatus"], found["RequestPath"], found["request_X-V"]) == (499, "/gone", "1,2")
        assert not any(key.startswith("origin_") for key in found)


def ask_strangely(lb: Edge) -> None:
    lb.ask(
        b"GET /\xc3\xa9//x/../y?q=\xe2\x80\xae HTTP/1.1\r\nHost: a\r\n"
        b"User-Agent: \xc3\xa9 \xff \xc2\x85 \xe2\x80\xae \"\r\n"
        b"Referer: http://one/\r\nReferer: http://two/\r\nX-U: \xc3\xa9t\xc3\xa9 \xed\xa0\x80\xe2\x82\r\n\r\n"
    )


def test_utf_8_stays_and_what_is_none_becomes_the_replacement_character(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with serving() as server, edge(config_for(server.url), static=as_json(path)) as lb:
        ask_strangely(lb)
        found = logged(path)
        assert found["request_X-U"] == "été " + "\ufffd" * 5  # each byte for itself, as in Go
        assert found["request_User-Agent"] == 'é \ufffd \x85 \u202e "'
        assert found["request_Referer"] == "http://one/,http://two/"
        assert found["RequestPath"].startswith("/%C3%A9/y?q=")
        assert "été".encode() in path.read_bytes()


@pytest.mark.parametrize("form", ["common", "genericCLF"])
def test_what_a_terminal_does_not_show_is_escaped(tmp_path: Path, form: str) -> None:
    path = tmp_path / "log"
    with serving() as server:
        settings = {"accessLog": {"filePath": str(path), "format": form, **ALL}}
        with edge(config_for(server.url), static=settings) as lb:
            ask_strangely(lb)
            line = lines_of(path, 1)[0]
            assert '"http://one/,http://two/" "é \\xff \\u0085 \\u202e \\""' in line
            assert line.isprintable()


@pytest.mark.parametrize(
    ("dropped", "expected"),
    [
        ("ClientHost", r'- - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("StartUTC", r'127.+ - - \[-\] "GET / HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("RequestMethod", r'127.+ - - \[.+\] "- / HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("requestpath", r'127.+ - - \[.+\] "GET - HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("RequestProtocol", r'127.+ - - \[.+\] "GET / -" 200 \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("DownstreamStatus", r'127.+ - - \[.+\] "GET / HTTP/1\.1" - \d+ "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("DownstreamContentSize", r'127.+ - - \[.+\] "GET / HTTP/1\.1" 200 - "r" "-" 1 "all@file" "http.+" \d+ms'),
        ("RequestCount", r'127.+ - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "r" "-" - "all@file" "http.+" \d+ms'),
        ("RouterName", r'127.+ - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "r" "-" 1 "-" "http.+" \d+ms'),
        ("ServiceURL", r'127.+ - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "-" \d+ms'),
        ("Duration", r'127.+ - - \[.+\] "GET / HTTP/1\.1" 200 \d+ "r" "-" 1 "all@file" "http.+" 0ms'),
    ],
)
def test_every_field_of_the_common_format_can_be_dropped(tmp_path: Path, dropped: str, expected: str) -> None:
    path = tmp_path / "log"
    fields = {"names": {dropped: "drop"}, "headers": {"names": {"Referer": "keep"}}}
    with serving() as server:
        with edge(config_for(server.url), static={"accessLog": {"filePath": str(path), "fields": fields}}) as lb:
            lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nReferer: r\r\n\r\n")
            assert re.fullmatch(expected, lines_of(path, 1)[0])


def test_lines_of_two_workers_are_numbered_and_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    backend = Backend("a")
    try:
        with running(tmp_path, dynamic_for(backend), static={"accessLog": {"filePath": str(path)}}) as instance:
            instance.runs(1)
            for number in range(60):
                assert instance.get(f"/{number}")[0] == 200
            lines = lines_of(path, 60)
        assert [int(re.findall(r'"GET /(\d+) ', line)[0]) for line in lines] == list(range(60))
        assert [int(re.findall(r'" (\d+) "all@file"', line)[0]) for line in lines] == list(range(1, 61))
    finally:
        backend.close()


def test_lines_that_cannot_be_written_are_in_log_metrics_and_state(tmp_path: Path) -> None:
    backend = Backend("a")
    dynamic = dynamic_for(backend)
    dynamic["http"]["routers"]["all"]["entryPoints"] = ["web"]
    points = {name: {"address": "127.0.0.1:0"} for name in ("web", "traefik")}
    static = {"accessLog": {"filePath": "/dev/full"}, "api": {"insecure": True}, "metrics": {"prometheus": {}},
              "entryPoints": points}  # fmt: skip
    try:
        with running(tmp_path, dynamic, static=static) as instance:
            instance.runs(1)
            for _ in range(5):
                assert instance.get()[0] == 200
            instance.logged(r"ERR access log /dev/full: \d lines? lost: No space left on device")
            port = instance.logged(r"entry point traefik listens on \S+:(\d+)")[1]

            def ask(path: str) -> str:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                    return str(answer.read().decode())

            eventually(lambda: "lbcore_access_log_lines_lost_total 5.0" in ask("/metrics"), "all are counted")
            assert json.loads(ask("/api/state"))["accessLogLinesLost"] == 5
            assert len(re.findall("lines? lost", instance.log)) == 1, "once a minute at most"
    finally:
        backend.close()
