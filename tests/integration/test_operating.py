"""What an operator changes of the instance itself: the level of its log, its ping, its end; what memory it uses.

Against real processes with two workers, by the API and by commands.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lbcore.cli import main
from lbcore.remote.client import ApiClient, ApiError
from tests.integration.test_operator import STATIC, TOKEN, api_of, command
from tests.integration.test_signals import SlowRequest, is_refused, life_cycle
from tests.support.instance import Backend, Instance, dynamic_for, eventually, is_alive, running
from tests.support.ports import free_port

PINGED = {**STATIC, "ping": {"entryPoint": "web"}}
PATIENT = {**STATIC, "entryPoints": {**STATIC["entryPoints"], "web": life_cycle(graceTimeOut="120s")}}


def ask(lb: Instance, method: str, path: str, body: Any = None, token: str | None = TOKEN) -> tuple[int, Any]:
    """Status and JSON of one request to the API, or the text of what is no JSON."""
    connection = http.client.HTTPConnection(api_of(lb).removeprefix("http://"), timeout=30)
    try:
        headers = {"X-Lbcore-Token": token} if token is not None else {}
        data = body if isinstance(body, bytes) else json.dumps(body) if body is not None else None
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    return answer.status, json.loads(text) if text.startswith("{") else text


def told(*arguments: str, lb: Instance, token: bool = True) -> tuple[int, str]:
    return command(*arguments, "--api", api_of(lb), *(["--token", TOKEN] if token else []))


@pytest.fixture
def half_dead(backend: Backend) -> dict[str, Any]:
    """A configuration with a path whose server is not there."""
    dynamic = dynamic_for(backend)
    dynamic["http"]["routers"]["all"]["entryPoints"] = ["web"]
    dynamic["http"]["routers"]["gone"] = {"rule": "PathPrefix(`/gone`)", "service": "gone", "entryPoints": ["web"]}
    dynamic["http"]["services"]["gone"] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{free_port()}"}]}}
    return dynamic


def tells_of(lb: Instance, path: str, worker: int) -> bool:
    """Ask for a path without a server, and look whether a worker has told of that at DEBUG."""
    assert lb.get(path)[0] == 502
    return bool(re.search(rf"DBG GET {path} was sent .* worker={worker}\n", lb.log))


def test_the_level_of_the_log_holds_for_all_workers_also_later_ones(tmp_path: Path, half_dead: dict[str, Any]) -> None:
    with running(tmp_path, half_dead, static=STATIC) as lb:
        lb.runs(1)
        assert told("log-level", lb=lb, token=False) == (0, "INFO, as configured\n")
        assert lb.get("/gone/before")[0] == 502
        code, text = told("log-level", "debug", "--for", "2h", lb=lb)
        assert (code, text) == (0, "the level of the log is DEBUG for 2h0m0s; the configured one is INFO\n")
        lb.logged(r"INF the level of the log is set to DEBUG by 127.0.0.1, for 2h0m0s; it was INFO")
        for worker in (0, 1):
            eventually(partial(tells_of, lb, "/gone/after", worker), f"worker {worker} logs at DEBUG")
        # What was sent before has been told, or has not, by now.
        assert "/gone/before" not in lb.log
        os.kill(lb.workers[0], signal.SIGKILL)
        lb.logged(r"worker \d ended")
        lb.logged(r"2 workers run configuration 1\b", times=2)
        half_dead["http"]["routers"]["more"] = {"rule": "Path(`/more`)", "service": "gone", "entryPoints": ["web"]}
        lb.write(half_dead)
        lb.runs(2)
        for worker in (0, 1):
            eventually(partial(tells_of, lb, "/gone/later", worker), f"worker {worker} logs at DEBUG")
        code, text = told("log-level", lb=lb, token=False)
        assert code == 0 and re.fullmatch(r"DEBUG until \S+Z; configured: INFO\n", text), text
        assert told("log-level", "--reset", "--json", lb=lb)[0] == 0
        _, found = ask(lb, "GET", "/api/log-level")
        assert found == {"level": "INFO", "configured": "INFO", "overridden": False, "until": None}
        assert lb.get("/gone/at-last")[0] == 502
        assert ask(lb, "PUT", "/api/log-level", {"level": "warning"})[1]["level"] == "WARN"
        lb.logged(r"INF the level of the log is set to WARN by 127.0.0.1, until it is reset; it was INFO")
        assert told("log-level", lb=lb, token=False) == (0, "WARN until it is reset; configured: INFO\n")
        half_dead["http"]["routers"].pop("more")
        lb.write(half_dead)  # at INFO there would be a line of it
        eventually(lambda: ask(lb, "GET", "/api/state")[1]["reload"]["generation"] == 3, "the reload")
        assert ask(lb, "GET", "/api/state")[1]["log"]["level"] == "WARN"
        assert "configuration 3" not in lb.log
        assert "/gone/at-last" not in lb.log


def test_the_configured_level_of_the_log_comes_back_when_its_time_is_over(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        status, found = ask(lb, "PUT", "/api/log-level", {"level": "ERROR", "for": "1s"})
        assert (status, found["level"], found["configured"]) == (200, "ERROR", "INFO")
        lb.logged(r"INF the level of the log is INFO again, as configured: the time of ERROR is over")
        assert ask(lb, "GET", "/api/log-level")[1]["overridden"] is False


def test_a_level_of_the_log_that_makes_no_sense_is_refused(tmp_path: Path, backend: Backend) -> None:
    path = "/api/log-level"
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        levels: tuple[Any, ...] = ("LOUD", "", "DEBUG\nERROR", 10, None, ["DEBUG"], {}, True, "x" * 100_000)
        for level in levels:
            status, found = ask(lb, "PUT", path, {"level": level})
            assert status == 400 and "TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC" in found["message"], level
            assert len(found["message"]) < 300
        wrong = ["10", "", "-5m", "0s", "1ns", "999ms", "721h", "9e99h", "300y", "9" * 500 + "h", "1m" * 50_000]
        spans: tuple[Any, ...] = (*wrong, 600, -1, [], {}, True)
        for span in spans:
            status, found = ask(lb, "PUT", path, {"level": "DEBUG", "for": span})
            assert status == 400 and found["message"].startswith("for: ") and len(found["message"]) < 300, span
        for body in (b"", b"[]", b"{", b'"DEBUG"', b'{"level": "DEBUG", "during": "10m"}', b"\xff" * 100):
            assert ask(lb, "PUT", path, body)[0] == 400, body
        assert ask(lb, "PUT", path, b'{"level": "' + b"x" * (2 << 20) + b'"}')[0] == 413
        assert ask(lb, "PUT", path, {"level": "DEBUG"}, token=None) == (403, {"message": "wrong token"})
        assert ask(lb, "DELETE", path, token="another token of some length")[0] == 403
        assert ask(lb, "POST", path, {"level": "DEBUG"})[0] == 405
        assert ask(lb, "GET", path)[1]["overridden"] is False
        assert told("log-level", "DEBUG", "--reset", lb=lb) == (1, "error: give a level, or --reset\n")
        assert told("log-level", "--for", "1h", lb=lb)[0] == 1
        assert told("log-level", "LOUD", lb=lb)[0] == 1
        code, text = told("log-level", "DEBUG", "--for", "600", lb=lb)
        assert code == 1
        assert text == "error: for: '600' is no duration of 1s to 720h with its unit: write 30s, 10m or 2h\n"
        assert told("log-level", "DEBUG", lb=lb, token=False)[1].startswith("error: a token is missing")


def test_of_those_who_set_the_level_of_the_log_at_once_the_last_one_decides(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        wrong: list[int] = []

        def set_often(level: str, span: str) -> None:
            for _ in range(20):
                status, _ = ask(lb, "PUT", "/api/log-level", {"level": level, "for": span})
                wrong.extend([status] if status != 200 else [])

        threads = [threading.Thread(target=set_often, args=each) for each in (("DEBUG", "1s"), ("ERROR", "1h"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        last = re.findall(r"the level of the log is set to (\w+) by", lb.log)[-1]
        if last == "ERROR":
            assert ask(lb, "GET", "/api/log-level")[1]["level"] == "ERROR"
        else:
            lb.logged("is INFO again, as configured: the time of DEBUG is over")


def statuses(lb: Instance, count: int = 40) -> set[int]:
    """What pings are answered, each over a new connection."""
    return {lb.get("/ping")[0] for _ in range(count)}


def test_a_ping_that_fails_by_hand_fails_at_all_workers_until_that_is_taken_back(
    tmp_path: Path, half_dead: dict[str, Any]
) -> None:
    static = {**PINGED, "ping": {"entryPoint": "web", "terminatingStatusCode": 429}}
    with running(tmp_path, half_dead, static=static) as lb:
        lb.runs(1)
        file = tmp_path / "static.yml"
        named = file.read_text().replace("web:\n    address: 127.0.0.1:0", f"web:\n    address: 127.0.0.1:{lb.port}")
        file.write_text(named)
        assert told("ping", lb=lb, token=False) == (0, "/ping answers 200\n")
        assert command("healthcheck", "--config", str(file))[0] == 0
        assert told("ping", "fail", lb=lb) == (0, "/ping answers 429 until that is taken back; requests are served\n")
        eventually(lambda: statuses(lb) == {429}, "both workers know it")
        assert lb.get() == (200, "one")
        code, text = command("healthcheck", "--config", str(file))
        assert code == 1 and "Bad healthcheck status: 429" in text
        lb.logged(r"INF /ping is made to fail by 127.0.0.1: it answers 429, and requests are served")
        code, text = told("ping", lb=lb, token=False)
        assert code == 2 and re.fullmatch(r"/ping answers 429: it fails by hand since \S+Z, set by 127.0.0.1\n", text)
        code, text = told("status", lb=lb, token=False)
        assert code == 2
        assert re.search(r"DEGRADED /ping fails by hand since \S+Z, set by 127.0.0.1: it answers 429", text), text
        assert told("status", "--lost", lb=lb, token=False)[0] == 0
        since = ask(lb, "GET", "/api/ping")[1]["failsSince"]
        half_dead["http"]["routers"].pop("gone")
        lb.write(half_dead)
        lb.runs(2)
        assert statuses(lb) == {429}
        for pid in lb.workers:
            os.kill(pid, signal.SIGKILL)
        lb.logged(r"2 workers run configuration 2\b", times=2)
        eventually(lambda: len(lb.workers) == 2, "both are there again")
        assert statuses(lb) == {429}
        assert told("ping", "fail", lb=lb)[0] == 0
        found = ask(lb, "GET", "/api/info")[1]["ping"]
        assert (found["status"], found["failingStatus"], found["failsSince"]) == (429, 429, since)
        assert told("ping", "ok", "--json", lb=lb)[0] == 0
        eventually(lambda: statuses(lb) == {200}, "both workers know it")
        assert told("ping", "ok", lb=lb) == (0, "/ping answers 200\n")
        assert told("status", lb=lb, token=False)[0] == 0


def test_a_ping_fails_by_hand_only_for_those_who_may_and_where_there_is_one(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=PINGED) as lb:
        lb.runs(1)
        assert ask(lb, "POST", "/api/ping", {"action": "fail"}, token=None)[0] == 403
        assert ask(lb, "POST", "/api/ping", {"action": "fail"}, token="another token of some length")[0] == 403
        wrong: tuple[Any, ...] = ("explode", None, ["fail"], {}, True, "x" * 100_000)
        for body in ([], {}, {"action": "fail", "for": "1m"}, *({"action": each} for each in wrong)):
            assert ask(lb, "POST", "/api/ping", body)[0] == 400, body
        assert ask(lb, "PUT", "/api/ping", {"action": "fail"})[0] == 405
        assert statuses(lb) == {200}
        assert told("ping", "explode", lb=lb)[0] == 1
    other = tmp_path / "other"
    other.mkdir()
    with running(other, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        code, text = told("ping", "fail", lb=lb)
        assert (code, text) == (1, "error: there is no /ping: `ping` is not configured in the static file\n")
        assert ask(lb, "GET", "/api/info")[1]["ping"] is None


def test_the_api_ends_the_process_as_a_signal_does(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=PATIENT) as lb:
        lb.runs(1)
        slow, port, url = SlowRequest(lb, backend, 700), lb.port, api_of(lb)
        assert ask(lb, "POST", "/api/stop", token=None) == (403, {"message": "wrong token"})
        assert ask(lb, "GET", "/api/stop")[0] == 405
        code, text = command("stop", "--api", url)
        assert code == 1 and "a token is missing" in text
        assert ask(lb, "GET", "/api/info")[1]["end"]["stopping"] is False
        assert lb.get() == (200, "one")
        code, text = command("stop", "--wait", "--api", url, "--token", TOKEN)
        plan = "it accepts connections no more, then has 120 s at most for requests and connections that are under way"
        assert (code, text) == (0, f"the instance stops: {plan}, and ends\n")
        assert not is_alive(lb.process.pid), "it has waited for the end of the process"
        assert slow.join() == (200, "one")
        assert is_refused(port)
        assert lb.process.wait(timeout=60) == 0
        lb.logged(r"INF the instance is stopped by 127.0.0.1: ")
        assert command("stop", "--api", url, "--token", TOKEN)[0] == 1


def test_the_answer_to_the_end_comes_also_where_nothing_is_waited_for(tmp_path: Path, backend: Backend) -> None:
    point = life_cycle(graceTimeOut="0s")
    points = {"web": point, "traefik": point}
    with running(tmp_path, dynamic_for(backend), static={**STATIC, "entryPoints": points}) as lb:
        lb.runs(1)
        status, found = ask(lb, "POST", "/api/stop")
        assert (status, found["stopping"], found["drainSeconds"]) == (200, True, 0)
        assert found["process"]["pid"] == lb.process.pid
        assert lb.process.wait(timeout=60) == 0


def test_who_waits_for_the_end_is_told_that_it_has_not_come(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), static=PATIENT) as lb:
        lb.runs(1)
        slow = SlowRequest(lb, backend, 60_000)
        code, text = told("stop", "--wait", "--timeout", "0", "--json", lb=lb)
        assert code == 2 and '"ended": false' in text and "error: it has not ended after 0 s" in text
        lb.signal(signal.SIGTERM)  # the second time: now
        assert isinstance(slow.join(), Exception)
        assert lb.process.wait(timeout=60) == 0


def test_who_waits_elsewhere_waits_until_the_api_is_away(
    tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the process cannot be seen."""
    monkeypatch.setattr(sys.modules["lbcore.cli.stop"], "_runs_here", lambda process: False)
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        url = api_of(lb)
        done = CliRunner().invoke(main, ["stop", "--wait", "--json", "--api", url, "--token", TOKEN])
        assert (done.exit_code, json.loads(done.output)["ended"]) == (0, True), done.output
        assert is_refused(int(url.rpartition(":")[2]))
        assert lb.process.wait(timeout=60) == 0


PROGRAM = """
import logging, sys, lbcore
logging.basicConfig(level=logging.WARNING, filename=sys.argv[2], format="%(levelname)s %(name)s %(message)s")
code = lbcore.run(sys.argv[1], workers=1)
print(code, logging.getLogger().level, logging.getLogger("lbcore").level)
"""


def test_inside_of_a_program_that_has_its_own_log_the_level_is_that_of_lbcore_alone(
    tmp_path: Path, half_dead: dict[str, Any]
) -> None:
    port, web = free_port(), free_port()
    points = {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{port}"}}
    files = {"providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}}}
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(half_dead))
    (tmp_path / "static.yml").write_text(yaml.safe_dump({**STATIC, "entryPoints": points, **files}))
    log = tmp_path / "program.log"
    command_line = [sys.executable, "-c", PROGRAM, str(tmp_path / "static.yml"), str(log)]
    client = ApiClient(f"http://127.0.0.1:{port}", TOKEN)
    program = subprocess.Popen(command_line, stdout=subprocess.PIPE, text=True)
    try:

        def serves() -> bool:
            with contextlib.suppress(ApiError):
                return bool(client.ask("/api/state")["reload"]["generation"])
            return False

        eventually(serves, "it serves")
        found = client.ask("/api/log-level", "PUT", {"level": "debug", "for": "1h"})
        assert (found["level"], found["configured"]) == ("DEBUG", "WARN")

        def tells() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", web, timeout=10)
            connection.request("GET", "/gone/x")
            assert connection.getresponse().status == 502
            connection.close()
            return bool(re.search(r"DEBUG lbcore\S* GET /gone/x was sent to ", log.read_text()))

        eventually(tells, "the worker logs at DEBUG")
        assert client.ask("/api/stop", "POST")["stopping"]
        assert program.communicate(timeout=60)[0] == "0 30 0\n"
    finally:
        program.kill()
        program.wait()


@pytest.fixture
def stopping(tmp_path: Path, backend: Backend) -> Iterator[Instance]:
    """An instance that was told to stop by the API, and accepts on for two minutes."""
    accepting = life_cycle(requestAcceptGraceTimeout="120s")
    static = {**PINGED, "entryPoints": {"web": accepting, "traefik": accepting}}
    with running(tmp_path, dynamic_for(backend), static=static) as lb:
        lb.runs(1)
        assert told("stop", lb=lb)[0] == 0
        lb.logged("stopping: accepting for 120 s more")
        yield lb


def test_asking_for_the_end_twice_does_not_hurry_it(stopping: Instance) -> None:
    for _ in range(3):
        status, found = ask(stopping, "POST", "/api/stop")
        assert (status, found["message"]) == (200, "the instance is stopping already")
    assert stopping.get() == (200, "one")
    assert stopping.log.count("the instance is stopped by") == 1
    assert ask(stopping, "GET", "/api/info")[1]["end"]["stopping"] is True
    stopping.signal(signal.SIGTERM)  # a second signal does
    assert stopping.process.wait(timeout=60) == 0


def test_all_pings_fail_until_the_end_also_those_of_a_worker_that_starts_meanwhile(stopping: Instance) -> None:
    eventually(lambda: statuses(stopping) == {503}, "all pings fail")
    os.kill(stopping.workers[0], signal.SIGKILL)
    stopping.logged(r"worker \d ended")
    eventually(lambda: len(stopping.workers) == 2, "another one has started")
    running_all = lambda: {each["state"] for each in ask(stopping, "GET", "/api/state")[1]["workers"]} == {"running"}  # noqa: E731
    eventually(running_all, "it serves")
    assert statuses(stopping) == {503}
    status, found = ask(stopping, "POST", "/api/ping", {"action": "ok"})
    assert (status, found["message"]) == (409, "the instance is stopping: /ping fails until its end")
    code, text = told("ping", lb=stopping, token=False)
    assert (code, text) == (2, "/ping answers 503: the instance is stopping\n")


def test_the_memory_of_each_process_is_told(tmp_path: Path, half_dead: dict[str, Any]) -> None:
    half_dead["http"]["services"]["backends"]["loadBalancer"]["queue"] = {"maxRequests": 7}
    for server in half_dead["http"]["services"]["backends"]["loadBalancer"]["servers"]:
        server["maxConnections"] = 3
    with running(tmp_path, half_dead, static=STATIC) as lb:
        lb.runs(1)
        for _ in range(20):
            assert lb.get()[0] == 200
        status, found = ask(lb, "GET", "/api/memory", token=None)
        assert status == 200
        processes = {each["name"]: each for each in found["processes"]}
        assert processes.keys() >= {"supervisor", "worker 0", "worker 1"}
        assert processes["supervisor"]["pid"] == lb.process.pid
        assert {processes[f"worker {index}"]["pid"] for index in (0, 1)} == set(lb.workers)
        for each in found["processes"]:
            assert 0 < each["proportionalBytes"] <= each["residentBytes"] + each["swappedBytes"], each
            assert each["privateBytes"] <= each["residentBytes"], each
            assert "problem" not in each
        assert found["totalBytes"] == sum(each["proportionalBytes"] for each in found["processes"])
        workers = [processes["worker 0"], processes["worker 1"]]
        for worker in workers:
            assert worker["heap"] is None or worker["heap"]["allocatedBytes"] > 0
            assert worker["connections"]["mostClients"] > 0
            assert worker["kept"]["bufferBytes"] >= 0
        assert sum(worker["kept"]["exchanges"] for worker in workers) > 0, "those of the requests before"
        assert sum(worker["connections"]["pooled"] for worker in workers) > 0
        shared = found["shared"]
        assert 0 < shared["residentBytes"] < shared["mappedBytes"]
        assert 0 < shared["servers"]["used"] < shared["servers"]["most"]
        assert shared["bodies"]["usedBytes"] == 0 < shared["bodies"]["mostBytes"]
        assert found["configuration"]["routers"] == 2 and found["configuration"]["servers"] == 2
        assert found["queues"] == {"count": 1, "waiting": 0, "most": 7}
        code, text = told("memory", lb=lb, token=False)
        assert code == 0 and re.search(r"^worker 1 +\d+ +[\d.]+ MiB", text, re.MULTILINE), text
        assert "queues: 0 of 7 requests wait in 1\n" in text
        code, text = told("memory", "--json", lb=lb, token=False)
        assert code == 0 and json.loads(text)["totalBytes"] > 0
        assert ask(lb, "POST", "/api/memory")[0] == 405


def test_the_memory_is_told_while_workers_hang_and_die(tmp_path: Path, backend: Backend) -> None:
    """Whoever asks gets an answer, with what the kernel tells of a worker that says nothing."""
    with running(tmp_path, dynamic_for(backend), static=STATIC) as lb:
        lb.runs(1)
        [hanging, other] = lb.workers
        os.kill(hanging, signal.SIGSTOP)
        try:

            def seen() -> dict[str, Any] | None:
                found = ask(lb, "GET", "/api/memory")[1]["processes"]
                return next((each for each in found if each["pid"] == hanging and "problem" in each), None)

            lb.logged(r"worker \d \(pid \d+\) has not answered for 1 s: another worker accepts")
            view = eventually(seen, "it does not answer") or {}
            assert view["problem"] == "it does not answer" and view["residentBytes"] > 0
        finally:
            os.kill(hanging, signal.SIGCONT)
        stop = threading.Event()

        def kill_often() -> None:
            while not stop.wait(0.3):
                for pid in lb.workers[:1]:
                    os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill_often)
        thread.start()
        try:
            times: set[str] = set()

            def answers() -> bool:
                try:
                    status, found = ask(lb, "GET", "/api/memory")
                except (OSError, http.client.HTTPException):
                    return False  # the worker that had the request was killed
                assert status == 200 and found["processes"][0]["name"] == "supervisor"
                times.add(found["time"])
                return len(times) >= 3

            eventually(answers, "reports go on")
        finally:
            stop.set()
            thread.join()
        assert other
