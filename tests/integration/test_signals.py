"""Signals of an operator: drain, stop now, reload; what a terminal sends to the whole group harms no worker."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.instance import Backend, Instance, dynamic_for, eventually, is_alive, running
from tests.support.ports import free_port


class SlowRequest:
    """A request under way on a thread. `outcome` is its status and body, or the error."""

    def __init__(self, lb: Instance, backend: Backend, ms: int) -> None:
        self.outcome: object = None
        self.ended_at = 0.0
        self._thread = threading.Thread(target=self._get, args=(lb, ms))
        self._thread.start()
        assert backend.slow_requests.acquire(timeout=5)

    def _get(self, lb: Instance, ms: int) -> None:
        try:
            self.outcome = lb.get(f"/slow/{ms}")
        except Exception as error:
            self.outcome = error
        self.ended_at = time.monotonic()

    def join(self) -> object:
        self._thread.join(timeout=15)
        return self.outcome


def life_cycle(**times: str) -> dict[str, object]:
    return {"address": "127.0.0.1:0", "transport": {"lifeCycle": times}}


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_stop_lets_a_slow_answer_finish(tmp_path: Path, backend: Backend, number: int) -> None:
    with running(tmp_path, dynamic_for(backend), entry_point=life_cycle(graceTimeOut="120s")) as lb:
        lb.runs(1)
        slow, port = SlowRequest(lb, backend, 700), lb.port
        lb.signal(number)
        eventually(lambda: is_refused(port), "no connection accepted any more")
        assert slow.join() == (200, "one")
        assert lb.process.wait(timeout=60) == 0
        assert time.monotonic() - slow.ended_at < 60, "no longer than needed"


def test_signal_to_stop_closes_idle_connections_at_once(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend)) as lb:
        lb.runs(1)
        with socket.create_connection(("127.0.0.1", lb.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            while not answer.endswith(b"one"):
                answer += client.recv(65536)
            client.settimeout(5)
            lb.signal(signal.SIGTERM)
            assert client.recv(1) == b""
        assert lb.process.wait(timeout=60) == 0


def test_signal_to_stop_goes_on_accepting_for_the_grace(tmp_path: Path, backend: Backend) -> None:
    with running(
        tmp_path, dynamic_for(backend), entry_point=life_cycle(requestAcceptGraceTimeout="800ms", graceTimeOut="5s")
    ) as lb:
        lb.runs(1)
        port, stopped_at = lb.port, time.monotonic()
        lb.signal(signal.SIGTERM)
        lb.logged("stopping: accepting for 0.8 s more, then draining for 5 s at most")
        assert lb.get() == (200, "one")
        eventually(lambda: is_refused(port), "no connection accepted any more")
        assert time.monotonic() - stopped_at > 0.8
        assert lb.process.wait(timeout=60) == 0


def test_each_entry_point_accepts_and_drains_for_its_own_times(tmp_path: Path, backend: Backend) -> None:
    points = {
        "web": life_cycle(graceTimeOut="300ms"),
        "late": life_cycle(requestAcceptGraceTimeout="4s", graceTimeOut="5s"),
    }
    with running(tmp_path, dynamic_for(backend), workers=2, static={"entryPoints": points}) as lb:
        lb.runs(1)
        late = int(lb.logged(r"entry point late listens on \S+:(\d+)")[1])
        slow, stopped_at = SlowRequest(lb, backend, 30000), time.monotonic()
        lb.signal(signal.SIGTERM)
        lb.logged("entry point web is closed")
        eventually(lambda: is_refused(lb.port), "no connection accepted on web")
        with urllib.request.urlopen(f"http://127.0.0.1:{late}/", timeout=5) as answer:
            assert answer.status == 200
        lb.logged("1 connections of entry point web cut after 0.3 s of draining")
        assert time.monotonic() - stopped_at < 4, "web was cut while late still accepts"
        assert isinstance(slow.join(), Exception)
        with urllib.request.urlopen(f"http://127.0.0.1:{late}/", timeout=5) as answer:
            assert answer.status == 200
        lb.logged("stopped")
        assert time.monotonic() - stopped_at > 4
        assert lb.process.wait(timeout=60) == 0


def test_signal_to_stop_cuts_what_takes_longer_than_the_grace(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), entry_point=life_cycle(graceTimeOut="300ms")) as lb:
        lb.runs(1)
        slow, stopped_at = SlowRequest(lb, backend, 30000), time.monotonic()
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert time.monotonic() - stopped_at > 0.3
        assert isinstance(slow.join(), Exception)
        assert "1 connections of entry point web cut after 0.3 s of draining worker=" in lb.log


def test_signal_to_stop_twice_stops_now(tmp_path: Path, backend: Backend) -> None:
    with running(
        tmp_path, dynamic_for(backend), entry_point=life_cycle(requestAcceptGraceTimeout="30s", graceTimeOut="30s")
    ) as lb:
        lb.runs(1)
        slow, workers, stopped_at = SlowRequest(lb, backend, 30000), lb.workers, time.monotonic()
        lb.signal(signal.SIGTERM)
        lb.logged("stopping")
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert time.monotonic() - stopped_at < 20
        assert isinstance(slow.join(), Exception)
        assert not any(map(is_alive, workers))


def test_signal_to_stop_twice_while_draining_stops_now(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), entry_point=life_cycle(graceTimeOut="30s")) as lb:
        lb.runs(1)
        port, slow = lb.port, SlowRequest(lb, backend, 30000)
        lb.signal(signal.SIGTERM)
        eventually(lambda: is_refused(port), "draining")
        stopped_at = time.monotonic()
        lb.signal(signal.SIGINT)
        assert lb.process.wait(timeout=60) == 0
        assert time.monotonic() - stopped_at < 20
        assert isinstance(slow.join(), Exception)


def test_signal_to_stop_ends_a_worker_that_hangs(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1, entry_point=life_cycle(graceTimeOut="200ms")) as lb:
        lb.runs(1)
        (worker,) = lb.workers
        os.kill(worker, signal.SIGSTOP)
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert not is_alive(worker)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signal_to_a_worker_is_left_to_the_supervisor(tmp_path: Path, backend: Backend, number: int) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        workers = lb.workers
        os.kill(workers[0], number)
        assert [lb.get() for _ in range(3)] == [(200, "one")] * 3
        assert lb.workers == workers


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_instance_leaves_neither_processes_nor_files(tmp_path: Path, backend: Backend, number: int) -> None:
    """Nor needs them: the API answers through a worker that has replaced one."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    static = {"api": {"insecure": True}, "accessLog": {"filePath": str(tmp_path / "access.log")}}
    static |= {"entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}}}
    environ = {"TMPDIR": str(temporary)}
    with running(tmp_path, dynamic_for(backend), workers=1, static=static, environ=environ) as lb:
        lb.runs(1)
        port = int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1])
        (first,) = lb.workers
        os.kill(first, signal.SIGKILL)
        eventually(lambda: lb.workers not in ([], [first]), "another worker")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=60) as answer:
            assert answer.status == 200
        assert list(temporary.iterdir()) == []
        (second,) = lb.workers
        lb.signal(number)
        assert lb.process.wait(timeout=60) == (0 if number != signal.SIGKILL else -number)
        eventually(lambda: not is_alive(second), "the end of the worker")
        assert list(temporary.iterdir()) == []


def test_a_worker_that_hangs_alone_is_replaced_before_clients_give_up(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        (stuck,) = lb.workers
        os.kill(stuck, signal.SIGSTOP)
        with urllib.request.urlopen(f"http://127.0.0.1:{lb.port}/", timeout=60) as answer:
            assert answer.status == 200
        quiet, killed = (lb.logged(rf"(\S+)Z \w+ worker 0 .*{text}")[1] for text in ("has not answered", "killing it"))
        waited = datetime.fromisoformat(killed) - datetime.fromisoformat(quiet)
        assert waited.total_seconds() < 7, "as long as it is waited for with others in its place"
        lb.logged(rf"worker 0 \(pid {stuck}\) has not answered for \S+ s: no worker accepts in its place")
        assert not is_alive(stuck)
        assert lb.workers != [stuck]


def test_signal_hup_reloads_though_nothing_changed(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend)) as lb:
        lb.runs(1)
        workers = lb.workers
        lb.signal(signal.SIGHUP)
        lb.runs(2)
        assert lb.get() == (200, "one")
        assert lb.workers == workers


def test_each_entry_point_has_its_own_grace(tmp_path: Path) -> None:
    """One whose grace is short is cut while the other still drains."""
    points = {
        "web": {"address": "127.0.0.1:0", "transport": {"lifeCycle": {"graceTimeOut": "60s"}}},
        "short": {"address": "127.0.0.1:0", "transport": {"lifeCycle": {"graceTimeOut": "200ms"}}},
    }
    backend = Backend("a")
    with running(tmp_path, dynamic_for(backend), workers=1, static={"entryPoints": points}) as lb:
        lb.runs(1)
        request = b"GET /slow/%d HTTP/1.1\r\nHost: a\r\n\r\n"
        port = int(lb.logged(r"entry point short listens on \S+:(\d+)")[1])
        short = socket.create_connection(("127.0.0.1", port), timeout=30)
        short.sendall(request % 20_000)
        long = socket.create_connection(("127.0.0.1", lb.port), timeout=30)
        long.sendall(request % 2_000)
        for _ in range(2):
            assert backend.slow_requests.acquire(timeout=30)
        lb.signal(signal.SIGTERM)
        assert short.recv(65536) == b""
        assert long.recv(65536).startswith(b"HTTP/1.1 200 OK")
        lb.logged("1 connections of entry point short cut after 0.2 s of draining")
        assert lb.process.wait(30) == 0
        short.close()
        long.close()
    backend.close()


def test_what_was_sent_to_the_background_outlives_its_terminal(tmp_path: Path, backend: Backend) -> None:
    """By Ctrl-Z, `bg` and `disown`: a later SIGHUP reloads, and what is written to the terminal is lost."""
    port, log = free_port(), tmp_path / "log"
    dynamic = tmp_path / "dynamic.yml"
    dynamic.write_text(json.dumps(dynamic_for(backend)))
    static = {
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"providersThrottleDuration": "0s", "file": {"filename": str(dynamic)}},
        "accessLog": {},
        "log": {"filePath": str(log), "level": "INFO"},
    }
    (tmp_path / "static.yml").write_text(json.dumps(static))
    master, slave = os.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        cwd=tmp_path,
    )
    os.close(slave)
    pids: list[int] = []

    def logs(text: str, times: int = 1) -> None:
        eventually(lambda: log.exists() and log.read_text().count(text) >= times, text)

    def get() -> int:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            return answer.status

    def state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]

    try:
        run = f"exec {sys.executable} -m lbcore run --config static.yml --workers 1"
        os.write(master, f"sh -c 'echo $$ > pid; {run}'\n".encode())
        logs("1 worker runs configuration 1")
        pids.append(pid := int((tmp_path / "pid").read_text()))
        eventually(lambda: os.tcgetpgrp(master) == os.getpgid(pid), "it has the terminal")
        os.write(master, b"\x1a")
        eventually(lambda: state(pid) == "T", "it is stopped")
        os.write(master, b"bg; disown; echo > sent\n")
        eventually(lambda: (tmp_path / "sent").exists() and state(pid) != "T", "it runs on behind the shell")
        assert get() == 200
        os.close(master)
        shell.wait(timeout=60)
        assert get() == 200
        for configuration in (2, 3):
            os.kill(pid, signal.SIGHUP)
            logs("reload on SIGHUP", configuration - 1)
            logs(f"1 worker runs configuration {configuration}")
            assert [get() for _ in range(20)] == [200] * 20
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_alive(pid), "it ends")
        assert "the terminal was closed" not in log.read_text()
    finally:
        shell.kill()
        shell.wait()
        for each in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)


def test_a_terminal_that_is_closed_ends_what_runs_in_its_foreground(tmp_path: Path) -> None:
    pid_file, shown, port = tmp_path / "pid", tmp_path / "shown", free_port()
    run = f"{sys.executable} -m lbcore run --to :{free_port()} --from 127.0.0.1:{port} --workers 1"
    command = ["script", "--quiet", "--flush", "--command", f"echo $$ > {pid_file}; exec {run}", str(shown)]
    environ = {**os.environ, "SHELL": "/bin/sh"}
    terminal = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environ)
    try:
        eventually(lambda: shown.exists() and "dashboard" in shown.read_text(), "it runs")
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGHUP)
        eventually(lambda: "reload on SIGHUP" in shown.read_text(), "a signal of an operator is one to reload")
        assert not is_refused(port)
        terminal.kill()
        eventually(lambda: is_refused(port) and not is_alive(pid), "it has ended")
    finally:
        terminal.kill()
        terminal.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
