"""HTTP/3 for the benchmark, by libcurl: `python -m bench.http3 PORT SECONDS CONNECTIONS STREAMS PATH` is its load.

The load generator costs more than a proxy, on a core of its own: requests per second say nothing about the proxy.
"""

from __future__ import annotations

import contextlib
import json
import select
import sys
import time

import pycurl

from bench.load import Load, LoadError, run

NAME = "bench.test"
HTTP_3_ONLY = 31
WAIT_S = 10


def request(port: int, path: str) -> pycurl.Curl:
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"https://{NAME}:{port}{path}")
    curl.setopt(pycurl.RESOLVE, [f"{NAME}:{port}:127.0.0.1"])
    curl.setopt(pycurl.HTTP_VERSION, HTTP_3_ONLY)
    curl.setopt(pycurl.SSL_VERIFYPEER, 0)
    curl.setopt(pycurl.SSL_VERIFYHOST, 0)
    curl.setopt(pycurl.PIPEWAIT, 1)
    curl.setopt(pycurl.TIMEOUT, WAIT_S)
    return curl


def answer(port: int) -> bytes:
    """The body of an answer with status 200; empty: there is none."""
    curl = request(port, "/")
    with contextlib.closing(curl), contextlib.suppress(pycurl.error):
        body = curl.perform_rb()
        if curl.getinfo(pycurl.RESPONSE_CODE) == 200:
            return body
    return b""


def ask(port: int, seconds: int, connections: int, streams: int, path: str = "/") -> Load:
    """As fast as it goes, with so many requests under way on each connection."""
    numbers = map(str, (port, seconds, connections, streams))
    found = json.loads(run(sys.executable, "-m", "bench.http3", *numbers, path))
    if found["failed"] or not found["answers"]:
        raise LoadError(f"HTTP/3: {found['answers']} answers, {found['failed'] or 'no request failed'}")
    return Load(found["answers"], found["answers"] / seconds, found["p50_ms"], found["p99_ms"])


def main(port: int, seconds: float, connections: int, streams: int, path: str) -> None:
    multis = []
    for _ in range(connections):
        multi = pycurl.CurlMulti()
        multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, 1)
        multis.append(multi)
    begun: dict[pycurl.Curl, float] = {}
    times, failed, ending = [], "", False
    end = time.monotonic() + seconds
    for multi in multis:
        for _ in range(streams):
            curl = request(port, path)
            curl.setopt(pycurl.WRITEFUNCTION, lambda data: None)
            begun[curl] = time.monotonic()
            multi.add_handle(curl)
    while begun and not failed:
        now = time.monotonic()
        ending = ending or now >= end
        for multi in multis:
            multi.perform()
            _, done, wrong = multi.info_read(streams)
            failed = failed or next((text for _, _, text in wrong), "")
            for curl in done:
                if curl.getinfo(pycurl.RESPONSE_CODE) != 200:
                    failed = failed or f"status {curl.getinfo(pycurl.RESPONSE_CODE)}"
                multi.remove_handle(curl)
                if ending:
                    del begun[curl]
                    continue
                times.append(now - begun[curl])
                begun[curl] = now
                multi.add_handle(curl)
        sets = [multi.fdset() for multi in multis]
        waits = [multi.timeout() for multi in multis]
        wait_ms = min((wait for wait in waits if wait >= 0), default=100)
        reads, writes = ([fd for each in sets for fd in each[part]] for part in (0, 1))
        if wait_ms:
            select.select(reads, writes, [], wait_ms / 1000)
    times.sort()
    p50_ms, p99_ms = (times[len(times) * part // 100] * 1000 if times else 0.0 for part in (50, 99))
    print(json.dumps({"answers": len(times), "failed": failed, "p50_ms": p50_ms, "p99_ms": p99_ms}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
