"""The files of examples/stories do what their pages say. Real processes, Tomcats and PostgreSQL servers."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.command import run_command
from tests.support.instance import Instance, eventually, processes_of, running
from tests.support.ports import free_port, replace_ports
from tests.support.recorder import Recorder
from tests.wire.test_health import Patient
from tests.wire.test_tcp import ask_postgres, postgres_server

STORIES = Path(__file__).resolve().parents[2] / "examples" / "stories"
STATIC = {
    "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}},
    "api": {"insecure": True, "token": "change-me-please-1234"},
    "metrics": {"prometheus": {}},
}


def story(name: str, *ports: int) -> str:
    """The file of a story, with these ports in place of 8101 and on."""
    text = (STORIES / f"{name}.yml").read_text()
    for number, port in enumerate(ports, 8101):
        text = text.replace(f"127.0.0.1:{number}", f"127.0.0.1:{port}")
    assert "127.0.0.1:81" not in re.sub(r"127\.0\.0\.1:(?!81\d\d\b)\d+", "", text)
    return text


@contextlib.contextmanager
def playing(folder: Path, text: str) -> Iterator[Instance]:
    with running(folder, yaml.safe_load(text), static=STATIC) as lb:
        lb.runs(1)
        yield lb


@contextlib.contextmanager
def patients(count: int) -> Iterator[list[Patient]]:
    found = [Patient(f"s{n}") for n in range(1, count + 1)]
    yield found
    for server in found:
        server.close()


def answers(lb: Instance, count: int, path: str = "/", **headers: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for _ in range(count):
        found[ask(lb, path, headers)[0]] += 1
    return found


def ask(lb: Instance, path: str = "/", headers: dict[str, str] | None = None) -> tuple[str, str]:
    """Body, or the status when it is not 200, and the cookies that are set."""
    connection = http.client.HTTPConnection("127.0.0.1", lb.port, timeout=20)
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        body = response.read().decode().strip()
        cookies = "; ".join(c.partition(";")[0] for c in response.headers.get_all("Set-Cookie") or [])
        return (body if response.status == 200 else str(response.status)), cookies


def admin(lb: Instance, path: str) -> str:
    port = int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def test_every_story_is_a_valid_file_and_has_a_page() -> None:
    for file in STORIES.glob("*.yml"):
        if file.stem != "traefik":
            assert run_command("check", file).returncode == 0
            assert (STORIES.parents[1] / "docs" / "stories" / f"{file.stem}.md").is_file()


def test_canary(tmp_path: Path) -> None:
    with patients(2) as (v1, v2), playing(tmp_path, story("canary", v1.port, v2.port)) as lb:
        assert answers(lb, 20) == {"s1": 18, "s2": 2}
        stop, failures = threading.Event(), Counter[str]()

        def load() -> None:
            while not stop.is_set():
                failures.update({ask(lb)[0]} - {"s1", "s2"})

        thread = threading.Thread(target=load)
        thread.start()
        text = story("canary", v1.port, v2.port)
        for generation, (old, new) in enumerate(((8, 2), (5, 5), (0, 10)), 2):
            lb.write(text.replace("weight: 9", f"weight: {old}").replace("weight: 1\n", f"weight: {new}\n"))
            lb.runs(generation)
        stop.set()
        thread.join()
        assert not failures
        assert answers(lb, 10) == {"s2": 10}


def test_blue_green(tmp_path: Path) -> None:
    with patients(2) as (blue, green):
        text = story("blue-green", blue.port, green.port)
        with playing(tmp_path, text) as lb:
            assert answers(lb, 5) == {"s1": 5}
            assert answers(lb, 2, Host="preview.shop.test") == {"s2": 2}
            lb.write(text.replace("service: blue", "service: green"))
            lb.runs(2)
            assert answers(lb, 5) == {"s2": 5}
            lb.write(text)
            lb.runs(3)
            assert answers(lb, 5) == {"s1": 5}


def test_qa_by_header(tmp_path: Path) -> None:
    with patients(2) as (v1, v2), playing(tmp_path, story("qa-by-header", v1.port, v2.port)) as lb:
        assert answers(lb, 5) == {"s1": 5}
        assert answers(lb, 5, **{"X-QA": "1"}) == {"s2": 5}
        assert answers(lb, 5, Cookie="a=b; qa=1") == {"s2": 5}
        assert answers(lb, 5, Cookie="xqa=1") == {"s1": 5}


def test_mirroring(tmp_path: Path) -> None:
    v1, v2 = Recorder("v1"), Recorder("v2")
    with playing(tmp_path, story("mirroring", v1.port, v2.port)) as lb:
        assert answers(lb, 20) == {"v1": 20}
        eventually(lambda: len(v2.requests) == 10, "every second request is copied")
        sent = 'lbcore_mirror_requests_total{mirror="v2",result="ok",service="shop@file"} 10.0'
        eventually(lambda: sent in admin(lb, "/metrics"), "the copies are counted")
    v1.close()
    v2.close()


def test_two_data_centres(tmp_path: Path) -> None:
    with patients(4) as (a, b, c, d):
        text = story("two-data-centres", a.port, b.port, c.port, d.port)
        with playing(tmp_path, text) as lb:
            counts = answers(lb, 16)
            assert counts["s1"] + counts["s2"] == 12
            a.status = 500
            eventually(lambda: answers(lb, 8) == {"s2": 6, "s3": 1, "s4": 1}, "the other machine takes over")
            b.status = 500
            eventually(lambda: set(answers(lb, 8)) == {"s3", "s4"}, "the other data centre takes over")
            assert "dc1@file is down because 2 of 2 servers are down since" in admin(lb, "/api/http/services/shop@file")
            a.status = b.status = 200
            eventually(lambda: len(answers(lb, 16)) == 4, "all are back")


def test_vms_to_kubernetes(tmp_path: Path) -> None:
    with patients(4) as (a, b, c, d):
        ports = (a.port, b.port, c.port, d.port)
        text = story("vms-to-kubernetes", *ports)
        with playing(tmp_path, text) as lb:
            assert len(answers(lb, 32)) == 4
            sessions = dict(ask(lb) for _ in range(32))
            machine = next(cookie for name, cookie in sessions.items() if name in ("s1", "s2"))
            lb.write(text.replace("weight: 3", "weight: 0"))
            lb.runs(2)
            assert set(answers(lb, 12)) == {"s3", "s4"}
            assert set(answers(lb, 6, Cookie=machine)) == {"s1", "s2"}
            c.status = 500
            eventually(lambda: set(answers(lb, 8)) == {"s4"}, "the other cluster takes over")


@pytest.fixture
def tomcats(tmp_path: Path) -> Iterator[list[tuple[int, subprocess.Popen[bytes]]]]:
    """Two Tomcats with a page that counts in the session: ports and processes."""
    home = Path("/usr/share/tomcat10")
    assert home.is_dir(), "Tomcat is not installed: make system"
    found = []
    for number in range(2):
        base, port = tmp_path / f"tomcat{number}", free_port()
        for folder in ("conf", "logs", "temp", "work", "webapps/ROOT"):
            (base / folder).mkdir(parents=True)
        shutil.copytree("/etc/tomcat10", base / "conf", dirs_exist_ok=True)
        server = (base / "conf" / "server.xml").read_text()
        server = server.replace('port="8005"', 'port="-1"').replace('port="8080"', f'port="{port}" address="127.0.0.1"')
        (base / "conf" / "server.xml").write_text(server)
        page = (STORIES.parents[1] / "docs" / "stories" / "sticky-tomcat.md").read_text()
        jsp = re.search(r"( {4}<%@ page.*?%>\n)\n", page, re.DOTALL)
        assert jsp is not None
        (base / "webapps" / "ROOT" / "session.jsp").write_text(re.sub(r"^ {4}", "", jsp[1], flags=re.MULTILINE).strip())
        environ = {**os.environ, "CATALINA_HOME": str(home), "CATALINA_BASE": str(base), "JAVA_OPTS": "-Xmx128m"}
        command = [str(home / "bin" / "catalina.sh"), "run"]
        found.append(
            (port, subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        )
    yield found
    for _, process in found:
        process.kill()
        process.wait()


def test_sticky_tomcat(tmp_path: Path, tomcats: list[tuple[int, subprocess.Popen[bytes]]]) -> None:
    folder = tmp_path / "lb"
    folder.mkdir()
    with playing(folder, story("sticky-tomcat", *(port for port, _ in tomcats))) as lb:

        def both_serve() -> bool:
            found = [ask(lb, "/session.jsp") for _ in range(4)]
            served = {re.sub(r"JSESSIONID=\w+", "", cookies) for body, cookies in found if len(body.split()) == 2}
            return len(served) == 2

        eventually(both_serve, "both Tomcats are up", 90)
        body, cookies = ask(lb, "/session.jsp")
        session = body.split()[0]
        for count in range(2, 7):
            assert ask(lb, "/session.jsp", {"Cookie": cookies}) == (f"{session} {count}", "")
        urls = {f"http://127.0.0.1:{port}": process for port, process in tomcats}
        import hashlib

        mine = next(url for url in urls if hashlib.sha256(url.encode()).hexdigest()[:16] in cookies)
        urls[mine].terminate()
        urls[mine].wait(20)

        def moved() -> tuple[str, str] | None:
            found = ask(lb, "/session.jsp", {"Cookie": cookies})
            return found if found[1] else None

        body, fresh = eventually(moved, "another Tomcat takes over", 10)
        assert body.split()[1] == "1"
        assert ask(lb, "/session.jsp", {"Cookie": fresh}) == (f"{body.split()[0]} 2", "")


def test_database_pool(tmp_path_factory: pytest.TempPathFactory) -> None:
    with postgres_server() as first, postgres_server() as second:
        ports = dict((first, second))
        with playing(tmp_path_factory.mktemp("lb"), story("database-pool", *ports)) as lb:
            query = "select inet_server_port()"
            assert Counter(ask_postgres(lb.port, query) for _ in range(4)) == {str(port): 2 for port in ports}
            process = first[1]
            process.terminate()
            process.wait(10)
            left = str(second[0])
            for _ in range(4):
                assert ask_postgres(lb.port, query) == left


def test_the_runner_plays_a_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    examples = tmp_path / "examples"
    shutil.copytree(STORIES.parent, examples, ignore=shutil.ignore_patterns("__pycache__"))
    ports = replace_ports(examples, "8000", "8080", "8101", "8102")
    command = [sys.executable, str(examples / "stories" / "run.py"), "canary"]
    environ = {**os.environ, "PYTHONPATH": str(STORIES.parents[1])}
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "dashboard" in line:
                break
        else:
            pytest.fail("the runner ended")
        connection = http.client.HTTPConnection("127.0.0.1", int(ports["8000"]), timeout=20)
        found: Any = Counter()
        for _ in range(10):
            connection.request("GET", "/")
            response = connection.getresponse()
            response.read()
            found[response.headers["X-Backend"]] += 1
        assert found == {f"server-{ports['8101']}": 9, f"server-{ports['8102']}": 1}
    finally:
        process.terminate()
        process.wait(20)
    assert processes_of(examples) == []
