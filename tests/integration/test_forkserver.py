"""Workers that are forked: what they have and have not, what happens without the fork server, and the end of all."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import threading
from pathlib import Path

from lbcore.process import forkserver
from lbcore.process.forkserver import FDS_PER_PACKET, NAME
from lbcore.process.starting import Program
from tests.support.instance import Backend, Instance, dynamic_for, eventually, is_alive, running


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def server_of(lb: Instance) -> int:
    (server,) = {parent(worker) for worker in lb.workers}
    assert parent(server) == lb.process.pid
    assert name(server) == NAME
    return server


def test_workers_are_forks_and_one_that_is_killed_is_replaced_by_a_fork(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        server, (first, second) = server_of(lb), lb.workers
        os.kill(first, signal.SIGKILL)
        lb.logged(r"worker \d ended: signal 9 \(SIGKILL\), starting another")
        lb.logged(r"2 workers run configuration 1\b", times=2)
        assert server_of(lb) == server
        assert second in lb.workers
        assert first not in lb.workers
        os.kill(second, signal.SIGSEGV)
        lb.logged(r"worker \d ended: signal 11 \(SIGSEGV\), starting another")
        lb.logged(r"2 workers run configuration 1\b", times=3)
        assert not Path(f"/proc/{second}").exists(), "the fork server has not taken note of its end"
        assert lb.get() == (200, "one")


def test_without_the_fork_server_workers_go_on_and_are_replaced_by_programs(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        server, workers = server_of(lb), lb.workers
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{server}").exists(), "the fork server is reaped")
        assert lb.get() == (200, "one")
        os.kill(workers[0], signal.SIGKILL)
        lb.logged(r"worker \d ended: .*, starting another")
        lb.logged(r"2 workers run configuration 1\b", times=2)
        (new,) = lb.workers
        assert parent(new) == lb.process.pid
        assert is_alive(workers[1])
        lb.write(dynamic_for(backend, backend))
        lb.runs(2)
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(timeout=60) == 0
        assert not is_alive(workers[1])
        assert "Traceback" not in lb.log


def test_a_fork_server_that_hangs_is_killed_and_a_program_started(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        server, (worker,) = server_of(lb), lb.workers
        os.kill(server, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        lb.logged(r"1 worker runs configuration 1\b", times=2)
        assert not is_alive(server)
        assert lb.get() == (200, "one")


def test_when_the_supervisor_is_killed_nothing_is_left(tmp_path: Path, backend: Backend) -> None:
    with running(tmp_path, dynamic_for(backend), workers=2) as lb:
        lb.runs(1)
        family = [server_of(lb), *lb.workers]
        lb.signal(signal.SIGKILL)
        lb.process.wait(timeout=60)
        eventually(lambda: not any(map(is_alive, family)), "fork server and workers have ended")


def test_a_forked_worker_has_the_descriptors_of_one_that_is_a_new_program(tmp_path: Path, backend: Backend) -> None:
    def kinds(pid: int) -> list[str]:
        names = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        return sorted(name.partition(":")[0] for name in names)

    with running(tmp_path, dynamic_for(backend), workers=1) as lb:
        lb.runs(1)
        server, (fork,) = server_of(lb), lb.workers
        forked = kinds(fork)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{server}").exists(), "the fork server is reaped")
        os.kill(fork, signal.SIGKILL)
        lb.logged(r"1 worker runs configuration 1\b", times=2)
        (program,) = lb.workers
        assert forked == kinds(program)


def test_a_worker_gets_more_sockets_than_a_packet_can_pass(tmp_path: Path, backend: Backend) -> None:
    count = FDS_PER_PACKET // 2 + 10  # each worker holds those of the other one as well
    points = {f"p{number}": {"address": "127.0.0.1:0"} for number in range(count)}
    with running(tmp_path, dynamic_for(backend), workers=2, static={"entryPoints": points}) as lb:
        lb.runs(1)
        server_of(lb)
        for number in (0, count // 2, count - 1):
            port = int(lb.logged(rf"entry point p{number} listens on \S+:(\d+)")[1])
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.settimeout(30)
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                assert client.recv(100).startswith(b"HTTP/1.1 200")


def test_a_fork_server_without_room_for_descriptors_says_so_and_is_asked_again(
    tmp_path: Path, backend: Backend
) -> None:
    points = {f"p{number}": {"address": "127.0.0.1:0"} for number in range(30)}
    with running(tmp_path, dynamic_for(backend), workers=1, static={"entryPoints": points}) as lb:
        lb.runs(1)
        server, (worker,) = server_of(lb), lb.workers
        before = resource.prlimit(server, resource.RLIMIT_NOFILE)
        resource.prlimit(server, resource.RLIMIT_NOFILE, (20, before[1]))
        os.kill(worker, signal.SIGKILL)
        lb.logged(r"worker 0 ended: cannot be started: \[Errno 24\] Too many open files")
        resource.prlimit(server, resource.RLIMIT_NOFILE, before)
        lb.logged(r"1 worker runs configuration 1\b", times=2)
        assert server_of(lb) == server
        assert len(list(Path(f"/proc/{server}/fd").iterdir())) == 5, "standard ones, the socket, the worker"


def test_a_process_with_two_threads_is_not_forked() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert isinstance(forkserver.start(), Program)
    finally:
        over.set()
        thread.join()


def test_a_worker_that_ends_at_once_has_an_exit_code() -> None:
    async def test() -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        stands_in = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        server = forkserver.ForkServer(ours, stands_in)
        try:
            with socket.socket() as control:
                starting = asyncio.create_task(server.start(control.fileno(), []))
                await asyncio.sleep(0)  # it has asked, and waits
                number = json.loads(theirs.recv(1000))["number"]
                pidfd = os.pidfd_open(os.getpid())
                # Both come before it has looked at the first.
                socket.send_fds(theirs, [json.dumps({"number": number, "pid": 7}).encode()], [pidfd])
                theirs.send(json.dumps({"pid": 7, "code": 3}).encode())
                os.close(pidfd)
                process = await starting
                os.close(process.pidfd)
                assert (process.pid, await process.code()) == (7, 3)
        finally:
            server.close()
            theirs.close()

    asyncio.run(asyncio.wait_for(test(), 30))
