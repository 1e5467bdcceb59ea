"""Watching a real instance with several workers: all layers, a reload, a worker that dies, a restart, an end."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from lbcore.api.live import MOST_WATCHERS
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running
from tests.support.ports import free_port
from tests.support.stream import Stream

TOKEN = "a token of some length"
POINTS = {"web": {"address": "127.0.0.1:0"}, "tcp": {"address": "127.0.0.1:0"}, "udp": {"address": "127.0.0.1:0/udp"}}
STATIC = {
    "entryPoints": {**POINTS, "traefik": {"address": "127.0.0.1:0"}},
    "api": {"insecure": True, "token": TOKEN},
}


def port_of(lb: Instance, point: str) -> int:
    return int(lb.logged(rf"entry point {point} listens on \S+:(\d+)")[1])


def ask(lb: Instance, path: str) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(lb, "traefik"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def all_layers(backend: Backend, echo: int) -> dict[str, Any]:
    dynamic = dynamic_for(backend)
    dynamic["http"]["routers"]["all"]["entryPoints"] = ["web"]
    address = backend.url.removeprefix("http://")
    dynamic["tcp"] = {
        "routers": {"raw": {"rule": "HostSNI(`*`)", "service": "raw", "entryPoints": ["tcp"]}},
        "services": {"raw": {"loadBalancer": {"servers": [{"address": address}]}}},
    }
    dynamic["udp"] = {
        "routers": {"dns": {"service": "dns", "entryPoints": ["udp"]}},
        "services": {"dns": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{echo}"}]}}},
    }
    return dynamic


def test_an_instance_is_watched_in_all_layers_through_reloads_and_the_death_of_a_worker(
    tmp_path: Path, backend: Backend
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
        echo.bind(("127.0.0.1", 0))
        dynamic = all_layers(backend, echo.getsockname()[1])
        with running(tmp_path, dynamic, static=STATIC) as lb:
            lb.runs(1)
            stream = Stream(port_of(lb, "traefik"))
            hello = stream.event("hello")

            def work() -> None:
                lb.get()
                with socket.create_connection(("127.0.0.1", port_of(lb, "tcp"))) as raw:
                    raw.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    assert raw.recv(100).startswith(b"HTTP/1.")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(b"question", ("127.0.0.1", port_of(lb, "udp")))
                    echo.recvfrom(100)

            wanted = {
                f"{layer}/routers/{name}@file" for layer, name in (("http", "all"), ("tcp", "raw"), ("udp", "dns"))
            }
            wanted |= {f"entrypoints/{point}" for point in POINTS}
            wanted |= {f"{layer}/services/{name}@file" for layer, name in (("tcp", "raw"), ("udp", "dns"))}
            seen: set[str] = set()

            def all_seen() -> bool:
                work()
                seen.update(id for id, view in stream.nodes.items() if view.get("rate"))
                return wanted <= seen

            stream.until(all_seen, f"traffic of {wanted}")
            assert ask(lb, "/api/search?kind=member&layer=tcp")["items"][0]["live"]["requests"] > 0

            dynamic["http"]["routers"]["more"] = {
                "rule": "Path(`/more`)",
                "service": "backends",
                "entryPoints": ["web"],
            }
            dynamic["http"]["routers"]["bad"] = {"rule": "Hst(`x`)", "service": "backends", "entryPoints": ["web"]}
            lb.write(dynamic)
            version = stream.event("structure")["version"]
            structure = ask(lb, "/api/structure")
            assert structure["version"] == version != hello["structure"]
            assert "http/routers/more@file" in {node["id"] for node in structure["nodes"]}
            info = ask(lb, "/api/info")
            assert info["reload"]["last"]["counts"] == {"added": 2, "removed": 0, "changed": 0}
            problem = next(each for each in info["problems"] if each.get("id") == "http/routers/bad@file")
            text = lb.dynamic_file.read_text().splitlines()
            assert problem["file"] == str(lb.dynamic_file)
            assert "Hst" in text[problem["line"] - 1] or "bad:" in text[problem["line"] - 1]
            assert {each["name"] for each in info["providers"]} == {"file"}
            stream.until(lambda: stream.nodes.get("http/routers/bad@file", {}).get("states"), "it is disabled")
            assert stream.nodes["http/routers/bad@file"]["states"] == ["disabled"]

            # The dead worker's part of what was under way is given back, and the stream goes on through the other one.
            victim = lb.workers[0]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: victim not in lb.workers and len(lb.workers) == 2, "another worker")
            other = Stream(port_of(lb, "traefik"))
            assert other.event("hello")["instance"] == hello["instance"]
            other.until(
                lambda: not other.nodes.get("http/routers/all@file", {}).get("inFlight"), "nothing is under way"
            )
            other.close()
            stream.close()


def test_a_restart_is_another_instance_and_an_end_waits_for_no_watcher(tmp_path: Path, backend: Backend) -> None:
    points = STATIC["entryPoints"] | {
        "traefik": {"address": "127.0.0.1:0", "transport": {"lifeCycle": {"graceTimeOut": "60s"}}}
    }
    instances = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running(folder, dynamic_for(backend), workers=1, static={**STATIC, "entryPoints": points}) as lb:
            lb.runs(1)
            stream = Stream(port_of(lb, "traefik"))
            instances.append(stream.event("hello")["instance"])
            stream.event("state")
            lb.signal(signal.SIGTERM)
            while stream.next() is not None:
                pass
            assert lb.process.wait(50) == 0
            stream.close()
    assert instances[0] != instances[1]


def test_five_watchers_get_the_same_from_one_read(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        streams = [Stream(port_of(lb, "traefik")) for _ in range(5)]
        for stream in streams:
            assert stream.event("hello")["watchersMax"] == MOST_WATCHERS
            stream.event("state")
        events = [[json.dumps(stream.event("change")) for _ in range(6)] for stream in streams]
        # The same texts, with the same times, for all: those of the last events that all have seen.
        common = set(events[0]).intersection(*events[1:])
        assert len(common) >= 2
        for stream in streams:
            stream.close()


def test_what_is_lost_is_told_by_all_that_leads_to_it_without_traffic_too(tmp_path: Path) -> None:
    port, gone = free_port(), free_port()
    url, idle = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{gone}"
    services: dict[str, Any] = {
        "away": {"loadBalancer": {"servers": [{"url": url}]}},
        "above": {"weighted": {"services": [{"name": "away", "weight": 1}]}},
        "idle": {"loadBalancer": {"servers": [{"url": idle}]}},
        "none": {"loadBalancer": {"servers": []}},
        "unasked": {"loadBalancer": {"servers": []}},
    }
    routers: dict[str, Any] = {
        name: {"rule": f"Path(`/{name}`)", "service": name, "entryPoints": ["web"]} for name in services
    }
    routers["unasked"]["middlewares"] = ["moved"]
    moved = {"moved": {"redirectScheme": {"scheme": "https"}}}
    dynamic = {"http": {"routers": routers, "services": services, "middlewares": moved}}
    with running(tmp_path, dynamic, static=STATIC) as lb:
        lb.runs(1)
        stream = Stream(port_of(lb, "traefik"))
        stream.event("state")
        for kind in ("routers", "services"):
            view = stream.nodes[f"http/{kind}/none@file"]
            assert (view["states"], view["down"], view["cause"]) == (["down"], True, "it has no servers")
            assert f"http/{kind}/unasked@file" not in stream.nodes, "no request comes that far"
        assert lb.get("/away")[0] == 502
        server = f"http/members/away@file|{url}"

        def states(id: str) -> list[str]:
            found: list[str] = stream.nodes.get(id, {}).get("states", [])
            return found

        ids = [f"http/{kind}/{name}@file" for name in ("away", "above") for kind in ("services", "routers")]
        stream.until(
            lambda: states(server) == ["unreached"] and all(states(id) == ["down"] for id in ids), "all of it is lost"
        )
        view = stream.nodes[server]
        assert view["cause"] == "it cannot be reached, and no health check watches"
        assert "down" not in view, "it is still picked"
        assert "cannot be reached" in stream.nodes[ids[0]]["cause"]
        assert {stream.nodes[id]["since"] for id in ids} == {view["since"]}
        found = ask(lb, "/api/search?kind=member&state=unreached")["items"]
        assert [item["node"]["id"] for item in found] == [server]
        info = ask(lb, "/api/info")
        assert (info["features"]["accessLog"], info["features"]["metrics"]) == (False, [])
        assert (info["fleet"], [each["readable"] for each in info["providers"]]) == (None, [True])
        # Who begins to watch now is told the same.
        other = Stream(port_of(lb, "traefik"))
        other.event("state")
        assert other.nodes[server]["states"] == ["unreached"] and other.nodes[ids[3]]["states"] == ["down"]
        other.close()
        back = Backend("a", port=port)
        try:
            assert lb.get("/away") == (200, "a")
            stream.until(lambda: not any(states(id) for id in (server, *ids)), "all of it is well")
        finally:
            back.close()
        # A weight that was set by hand is told of a service without traffic, too.
        connection = http.client.HTTPConnection("127.0.0.1", port_of(lb, "traefik"), timeout=30)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            connection.request("PUT", "/api/http/services/idle@file/weights", json.dumps({idle: 7}), headers)
            assert connection.getresponse().status == 200
        stream.until(lambda: states(f"http/members/idle@file|{idle}") == ["overridden"], "it is overridden")
        stream.close()


def test_requests_of_all_workers_are_shown_also_of_one_that_is_new(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        stream = Stream(port_of(lb, "traefik"), "/api/tap?rate=100&path=/of-")
        stream.event("hello")
        stream.event("counts")

        def all_are_shown(name: str) -> None:
            """Of connections that the kernel gives to both workers."""
            paths = {f"/of-{name}-{number}" for number in range(32)}
            for path in paths:
                assert lb.get(path)[0] == 200
            shown: set[str] = set()

            def read() -> bool:
                shown.update(data["path"] for event, data in stream.events if event == "request")
                return paths <= shown

            stream.until(read, f"{paths} are shown")

        all_are_shown("first")
        own = next(each for each in ask(lb, "/api/sessions?entrypoint=traefik")["sessions"] if is_stream(each, stream))
        workers = {str(each["index"]): each["pid"] for each in ask(lb, "/api/info")["workers"]}
        del workers[own["id"].partition("-")[0]]  # through it the stream comes
        (victim,) = workers.values()
        os.kill(victim, signal.SIGKILL)
        lb.logged("2 workers run configuration 1", 2)
        all_are_shown("second")
        stream.close()


def is_stream(session: dict[str, Any], stream: Stream) -> bool:
    return bool(session["client"] == f"127.0.0.1:{stream.port}")


def test_sessions_of_all_workers_are_listed_and_a_new_one_has_its_own_ids(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb, contextlib.ExitStack() as stack:
        lb.runs(1)

        def of_web() -> dict[str, Any]:
            found = ask(lb, "/api/sessions?entrypoint=web")
            assert isinstance(found, dict)
            return found

        def opened() -> set[str]:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", lb.port), 30))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000)
            return {each["id"].partition(".")[0] for each in of_web()["sessions"]}

        runs = set()

        def both() -> bool:
            runs.update(opened())
            return len(runs) == 2

        eventually(both, "both workers have a connection")
        found = of_web()
        assert found["silent"] == []
        ages = [each["ageMs"] for each in found["sessions"]]
        assert ages == sorted(ages) and len({each["id"] for each in found["sessions"]}) == found["found"]
        victim = lb.workers[0]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in lb.workers and len(lb.workers) == 2, "another worker")

        def other_runs() -> bool:
            return len(runs | opened()) == 3

        eventually(other_runs, "the new worker has ids of its own")
