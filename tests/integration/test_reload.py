"""Hot reload of real processes: every way files are changed, what is refused, and that traffic never notices."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.support.instance import Backend, Instance, dynamic_for, eventually, running
from tests.support.wire import deaf


def answers(lb: Instance, body: str) -> None:
    """Wait until requests are answered by a backend."""
    eventually(lambda: lb.get() == (200, body), f"answers of {body}")


def test_reload_file_written_in_place_takes_effect(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        lb.write(dynamic_for(backends[1]))
        lb.runs(2)
        assert lb.get() == (200, "two")


def test_reload_file_renamed_over_takes_effect(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        for generation, backend in ((2, backends[1]), (3, backends[0])):
            fresh = lb.dynamic_file.with_name(".dynamic.yml.tmp")
            fresh.write_text(yaml.safe_dump(dynamic_for(backend)))
            os.replace(fresh, lb.dynamic_file)
            lb.runs(generation)
            assert lb.get() == (200, backend.name)


def test_reload_config_map_swapped_takes_effect(tmp_path: Path, backends: list[Backend]) -> None:
    folder = tmp_path / "dynamic"
    folder.mkdir()

    def project(version: str, backend: Backend) -> None:
        """What the kubelet does: a new dated directory, and `..data` renamed onto it."""
        dated = folder / version
        dated.mkdir()
        (dated / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
        (folder / "..data_tmp").symlink_to(version)
        os.replace(folder / "..data_tmp", folder / "..data")

    project("..2026_01_01", backends[0])
    (folder / "dynamic.yml").symlink_to("..data/dynamic.yml")
    with running(tmp_path, None) as lb:
        lb.runs(1)
        assert lb.get() == (200, "one")
        project("..2026_01_02", backends[1])
        lb.runs(2)
        assert lb.get() == (200, "two")


def test_reload_file_created_after_the_start_takes_effect(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, None) as lb:
        lb.runs(1)
        assert lb.get()[0] == 404
        lb.write(dynamic_for(backends[0]))
        lb.runs(2)
        assert lb.get() == (200, "one")


def test_reload_bad_file_is_refused_and_what_runs_stays(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        broken = dynamic_for(backends[1])
        broken["http"]["ruoters"] = broken["http"].pop("routers")
        lb.write(broken)
        lb.logged(r"dynamic\.yml: 1 problem, the running configuration stays")
        assert lb.log.count("configuration refused: ") == 1
        assert lb.get() == (200, "one")
        lb.write(dynamic_for(backends[1]))
        lb.runs(2)
        answers(lb, "two")


def test_reload_bad_router_keeps_the_one_that_runs(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        broken = dynamic_for(backends[0])
        broken["http"]["routers"]["all"]["serivce"] = "backends"
        lb.write(broken)
        lb.logged(r"router all@file is broken, the version that runs stays: .*dynamic\.yml:\d+: serivce: unknown key")
        assert lb.get() == (200, "one")


def test_reload_warnings_are_said_once_while_they_stay(tmp_path: Path, backends: list[Backend]) -> None:
    dynamic = dynamic_for(backends[0])
    dynamic["http"]["services"]["idle"] = {"loadBalancer": {"servers": [{"url": backends[1].url}]}}
    dynamic["http"]["routers"]["all"]["priority"] = 1
    dynamic["http"]["routers"]["bad"] = {"rule": "Hots(`x`)", "service": "backends"}
    with running(tmp_path, dynamic) as lb:
        lb.runs(1)
        for generation in (2, 3):
            dynamic["http"]["routers"]["all"]["priority"] = generation
            lb.write(dynamic)
            lb.runs(generation)
        said = [line for line in lb.log.splitlines() if "is not used by any router" in line or "bad@file" in line]
        assert len(said) == 2
        del dynamic["http"]["services"]["idle"]
        lb.write(dynamic)
        lb.runs(4)
        dynamic["http"]["services"]["idle"] = {"loadBalancer": {"servers": [{"url": backends[1].url}]}}
        lb.write(dynamic)
        lb.runs(5)
        lb.logged("service idle is not used by any router", times=2)


@pytest.mark.parametrize("content", ["", "# nothing\n", "http:\n"])
def test_reload_empty_file_does_not_wipe_what_runs(tmp_path: Path, backends: list[Backend], content: str) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        lb.write(content)
        lb.logged("is empty: the running configuration stays")
        lb.signal(signal.SIGHUP)
        lb.logged("is empty: the running configuration stays", times=2)
        assert lb.get() == (200, "one")


def test_reload_file_deleted_is_said_once_and_what_runs_stays(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        lb.dynamic_file.unlink()
        lb.logged("is not there: the running configuration stays")
        (lb.dynamic_file.parent / "dynamic.yml.note").write_text("an event beside it")
        lb.signal(signal.SIGHUP)
        lb.logged("reload on SIGHUP")
        assert lb.get() == (200, "one")
        lb.write(dynamic_for(backends[1]))
        answers(lb, "two")
        assert lb.log.count("is not there") == 1


def test_reload_half_written_file_waits_for_its_writer(tmp_path: Path, backends: list[Backend]) -> None:
    whole = yaml.safe_dump(dynamic_for(backends[1]))
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        with lb.dynamic_file.open("w") as writer:
            writer.write("http: {}\n")  # valid, and not what is meant
            writer.flush()
            unhurried = time.monotonic() + 0.5
            while time.monotonic() < unhurried:
                assert lb.get() == (200, "one")
            writer.seek(0)
            writer.truncate()
            writer.write(whole)
        lb.runs(2)
        assert lb.get() == (200, "two")
        assert "ERR" not in lb.log


def test_reload_disabled_router_is_reported_and_the_rest_runs(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        changed = dynamic_for(backends[1])
        changed["http"]["routers"]["odd"] = {"rule": "Path(`/odd`)", "service": "nowhere"}
        lb.write(changed)
        lb.logged("router odd@file is disabled: .*nowhere")
        lb.runs(2)
        assert lb.get() == (200, "two")


def test_reload_while_workers_die_reaches_the_replacement(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        os.kill(lb.workers[0], signal.SIGKILL)
        lb.write(dynamic_for(backends[1]))
        lb.runs(2)
        assert [lb.get() for _ in range(8)] == [(200, "two")] * 8


def test_reload_often_under_traffic_fails_no_request(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        wrong: list[object] = []
        served = 0
        stop = threading.Event()

        def request_all_the_time() -> None:
            nonlocal served
            while not stop.is_set():
                try:
                    status, _ = lb.get()
                    if status == 200:
                        served += 1
                    else:
                        wrong.append(status)
                except Exception as error:
                    wrong.append(error)

        clients = [threading.Thread(target=request_all_the_time) for _ in range(2)]
        for client in clients:
            client.start()
        for generation in range(2, 9):
            lb.write(dynamic_for(backends[(generation + 1) % 2]))
            lb.runs(generation)
        stop.set()
        for client in clients:
            client.join()
        assert wrong == []
        assert served > 20


def test_moved_name_is_followed_without_a_reload(tmp_path: Path) -> None:
    """The instance has a hosts file of its own, in a mount namespace, and the name in it moves."""
    here = Backend("here")
    port = int(here.url.rpartition(":")[2])
    moved = Backend("moved", "127.0.0.2", port)
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 app.test localhost\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    dynamic = dynamic_for()
    balancer = dynamic["http"]["services"]["backends"]["loadBalancer"]
    balancer |= {"servers": [{"url": f"http://app.test:{port}"}], "serversTransport": "one-shot"}
    dynamic["http"]["serversTransports"] = {"one-shot": {"maxIdleConnsPerHost": -1}}
    try:
        with running(tmp_path, dynamic, workers=1, prefix=prefix) as lb:
            lb.runs(1)
            assert lb.get() == (200, "here")
            hosts.write_text("127.0.0.2 app.test localhost\n")
            eventually(lambda: lb.get() == (200, "moved"), "requests go to the new address", 20)
    finally:
        here.close()
        moved.close()


def test_every_address_of_a_name_is_tried(tmp_path: Path) -> None:
    """As with localhost where the server listens on one family alone; and one says nothing. No request fails."""
    here = Backend("here")
    port = int(here.url.rpartition(":")[2])
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 both.test\n127.0.0.3 both.test\n127.0.0.1 both.test\n")
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh")
    dynamic = dynamic_for()
    servers = [{"url": f"http://both.test:{port}"}]
    dynamic["http"]["services"]["backends"]["loadBalancer"] |= {"servers": servers, "serversTransport": "one-shot"}
    timeouts = {"dialTimeout": "600ms"}
    dynamic["http"]["serversTransports"] = {"one-shot": {"maxIdleConnsPerHost": -1, "forwardingTimeouts": timeouts}}
    try:
        with deaf("127.0.0.3", port), running(tmp_path, dynamic, workers=1, prefix=prefix) as lb:
            lb.runs(1)
            for _ in range(4):
                assert lb.get() == (200, "here")
    finally:
        here.close()
