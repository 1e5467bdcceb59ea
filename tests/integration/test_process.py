"""Supervisor and workers as real processes: start, death of a worker, death of the supervisor, failures at boot."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.support.instance import Backend, dynamic_for, eventually, is_alive, running


def test_process_started_serves_on_all_workers_and_stops_clean(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        assert lb.get() == (200, "one")
        workers = lb.workers
        assert len(workers) == 2
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert not any(map(is_alive, workers))
        assert "ERR" not in lb.log


def test_process_worker_has_no_thread_but_its_own_while_it_serves(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        (worker,) = lb.workers
        for generation in (2, 3):
            eventually(lambda: len(list(Path(f"/proc/{worker}/task").iterdir())) == 1, "one thread is left")
            assert lb.get() == (200, "one")
            lb.write(dynamic_for(*[backend] * generation))
            lb.runs(generation)


def test_process_worker_killed_is_replaced_and_no_connection_is_refused(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        served: list[int] = []
        refused: list[str] = []
        stop = threading.Event()

        def connect_all_the_time() -> None:
            while not stop.is_set():
                try:
                    served.append(lb.get()[0])
                except ConnectionRefusedError as error:
                    refused.append(str(error))
                except (OSError, http.client.HTTPException):
                    pass  # it was under way on the worker that was killed

        clients = [threading.Thread(target=connect_all_the_time) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            for killed in range(1, 3):
                enough = len(served) + 50
                eventually(lambda enough=enough: len(served) > enough, "requests served")
                victim = lb.workers[0]
                os.kill(victim, signal.SIGKILL)
                lb.logged(r"worker \d ended: signal 9 \(SIGKILL\)", times=killed)
                lb.logged(r"2 workers run configuration 1", times=killed + 1)
                assert victim not in lb.workers
                assert len(lb.workers) == 2
            enough = len(served) + 50
            eventually(lambda: len(served) > enough, "requests served")
        finally:
            stop.set()
            for client in clients:
                client.join()
        assert refused == []
        assert set(served) == {200}


def test_process_connections_to_a_dead_worker_wait_for_its_replacement(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        os.kill(lb.workers[0], signal.SIGKILL)
        assert lb.get() == (200, "one")


def test_process_supervisor_killed_leaves_no_worker(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        workers, port = lb.workers, lb.port
        with socket.create_connection(("127.0.0.1", port)):
            lb.process.kill()
            lb.process.wait()
            eventually(lambda: not any(map(is_alive, workers)), "workers gone")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_process_supervisor_killed_lets_requests_under_way_finish(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        answers: list[tuple[int, str]] = []
        client = threading.Thread(target=lambda: answers.append(lb.get("/slow/500")))
        client.start()
        assert backend.slow_requests.acquire(timeout=5)
        workers = lb.workers
        lb.process.kill()
        lb.process.wait()
        client.join()
        assert answers == [(200, "one")]
        eventually(lambda: not any(map(is_alive, workers)), "workers gone")


def test_process_workers_that_cannot_start_end_the_supervisor(tmp_path: Path) -> None:
    with running(tmp_path, None, failing=True) as lb:
        assert lb.process.wait(timeout=60) == 3
        assert "told to fail" in lb.log
        assert lb.log.count("\n") == len([line for line in lb.log.splitlines() if line.startswith("20")])
        assert "failed 3 times to start" in lb.log


def test_process_address_in_use_ends_the_supervisor(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with running(tmp_path, None, entry_point={"address": address}) as lb:
            assert lb.process.wait(timeout=60) == 1
            assert f"entryPoints.web.address: cannot listen on {address}: address already in use" in lb.log


def test_process_worker_that_always_dies_is_restarted_with_growing_waits(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        for times in range(1, 4):
            pid = eventually(lambda: lb.workers, "a worker")[0]
            os.kill(pid, signal.SIGKILL)
            lb.logged(r"worker 0 ended", times=times)
            lb.logged(r"1 workers? runs? configuration 1", times=times + 1)
        waits = [line.partition("starting another")[2] for line in lb.log.splitlines() if "worker 0 ended" in line]
        assert waits == ["", " in 0.1 s", " in 0.2 s"]
        assert lb.get() == (200, "one")


def test_process_unix_socket_entry_point_serves_and_is_removed(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "lb.sock"
    with running(tmp_path, dynamic_for(backend), entry_point={"address": f"unix:{path}"}) as lb:
        lb.runs(1)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert not path.exists()


def test_process_under_a_service_manager_uses_its_socket_and_reports_states(tmp_path: Path, backend: Backend) -> None:
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        passed = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        shell = 'export LISTEN_PID=$$; exec "$@" 3<&"$PASSED"'
        lb = stack.enter_context(
            running(
                tmp_path,
                dynamic_for(backend),
                entry_point={"address": ":1"},
                environ={
                    "NOTIFY_SOCKET": str(tmp_path / "notify"),
                    "WATCHDOG_USEC": "300000",
                    "LISTEN_FDS": "1",
                    "LISTEN_FDNAMES": "web",
                    "PASSED": str(passed.fileno()),
                },
                pass_fds=(passed.fileno(),),
                prefix=("bash", "-c", shell, "--"),
            )
        )
        states: list[str] = []

        def state(prefix: str) -> str:
            while True:
                states.append(manager.recv(4096).decode())
                if states[-1].startswith(prefix):
                    return states[-1]

        assert state("READY=1") == "READY=1\nSTATUS=2 workers run configuration 1"
        assert lb.port == passed.getsockname()[1]
        assert lb.get() == (200, "one")
        state("WATCHDOG=1")
        lb.signal(signal.SIGHUP)
        state("RELOADING=1\nMONOTONIC_USEC=")
        state("READY=1\nSTATUS=2 workers run configuration 2")
        lb.signal(signal.SIGTERM)
        state("STOPPING=1")
        assert lb.process.wait(timeout=60) == 0


def test_process_log_moved_away_is_opened_again_on_sigusr1(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        lb.log_file.rename(tmp_path / "old.log")
        lb.signal(signal.SIGUSR1)
        lb.signal(signal.SIGHUP)
        lb.runs(2)
        assert "configuration 2" not in (tmp_path / "old.log").read_text()


def test_process_start_is_prompt(tmp_path: Path) -> None:
    started = time.monotonic()
    with running(tmp_path, None, workers=1) as lb:
        lb.runs(1)
        assert lb.get()[0] == 404
        assert time.monotonic() - started < 10
