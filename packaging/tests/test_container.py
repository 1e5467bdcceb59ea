"""The image of the Dockerfile, built and run by a real dockerd, with a root file system that is read-only."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import BUSYBOX, Docker, docker
from tests.support.instance import Backend, eventually
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BASE = "python-of-the-host:1"
LEFT_OUT = ("test", "tests", "site-packages", "__pycache__", "idlelib", "tkinter", "turtledemo", "lib2to3")


def libraries(*files: Path) -> set[Path]:
    """What these files are linked with, loader included."""
    found = set()
    for file in files:
        said = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
        found |= {Path(name) for name in re.findall(r"(/\S+) \(0x", said)}
    return found


def base_image(engine: Docker) -> None:
    """An image like `python:3`, of this machine's own files: this Python in /usr/local, its libraries, and busybox."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.executable).resolve()
    modules = list((stdlib / "lib-dynload").glob("*.so"))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:

        def add(source: Path, name: str) -> None:
            tar.add(source.resolve(), name, filter=lambda entry: None if Path(entry.name).name in LEFT_OUT else entry)

        def link(name: str, target: str) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)

        # Every folder by itself: those that are only implied could be entered by root alone.
        needed = libraries(python, *modules) | {stdlib, Path("/etc/ssl/certs/x"), Path("/var/empty/x")}
        implied = {str(parent).lstrip("/") for path in needed for parent in path.parents} - {""}
        implied |= {"bin", "opt", "usr/local", "usr/local/bin", "usr/local/lib", "usr/lib/x86_64-linux-gnu"}
        for folder in sorted(implied | {"tmp"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        add(Path(BUSYBOX), "bin/busybox")
        for tool in ("sh", "env", "cat", "ls", "id", "touch"):
            link(f"bin/{tool}", "busybox")
        add(python, f"usr/local/bin/{version}")
        link("usr/local/bin/python3", version)
        add(stdlib, f"usr/local/lib/{version}")
        # What wheels take from the system: all of glibc's, and the runtime of C++.
        named = ("gcc_s.so.1", "stdc++.so.6", "rt.so.1", "dl.so.2", "pthread.so.0", "util.so.1", "resolv.so.2")
        foreign = {Path(f"/usr/lib/x86_64-linux-gnu/lib{name}") for name in named}
        for library in libraries(python, *modules) | {path for path in foreign if path.exists()}:
            add(library, str(library).lstrip("/"))
        add(Path("/etc/ssl/certs/ca-certificates.crt"), "etc/ssl/certs/ca-certificates.crt")
    repository, _, tag = BASE.partition(":")
    query = {"fromSrc": "-", "repo": repository, "tag": tag, "changes": "ENV PATH=/usr/local/bin:/bin"}
    answer = engine.client.post("/images/create", params=query, content=archive.getvalue(), timeout=300)
    assert answer.status_code == 200, answer.text


def build(engine: Docker, wheels: Path) -> None:
    """The image `lbcore:test`, of the Dockerfile and a folder of wheels in place of an index."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(ROOT / "Dockerfile", "Dockerfile")
        tar.add(ROOT / "packaging/container", "packaging/container")
        tar.add(wheels, "dist")
    arguments = {"PYTHON": BASE, "PIP_NO_INDEX": "1"}
    query = {"t": "lbcore:test", "networkmode": "host", "buildargs": json.dumps(arguments)}
    headers = {"Content-Type": "application/x-tar"}
    answer = engine.client.post("/build", params=query, content=archive.getvalue(), headers=headers, timeout=600)
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert not [line["error"] for line in lines if "error" in line], answer.text[-3000:]


@pytest.fixture(scope="module")
def engine(wheels: Path) -> Iterator[Docker]:
    assert shutil.which("ldd")
    with docker(driver="") as found:
        base_image(found)
        build(found, wheels)
        yield found


def start(engine: Docker, name: str, environ: dict[str, str], *command: str, **host: Any) -> str:
    """A container as operators run one: no root, nothing to write to but a small /tmp, no capabilities."""
    body = {
        "Image": "lbcore:test",
        "Env": [f"{key}={value}" for key, value in environ.items()],
        "HostConfig": {
            "NetworkMode": "host",
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "size=16m"},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Ulimits": [{"Name": "nofile", "Soft": 1024, "Hard": 4096}],
            **host,
        },
        **({"Cmd": list(command)} if command else {}),
    }
    body["Healthcheck"] = {"Interval": 300_000_000, "Timeout": 10_000_000_000, "Retries": 1}
    identity = str(engine.ask("POST", "/containers/create", body, name=name)["Id"])
    engine.ask("POST", f"/containers/{identity}/start")
    return identity


def health(engine: Docker, name: str) -> str:
    return str(engine.ask("GET", f"/containers/{name}/json")["State"]["Health"]["Status"])


def log(engine: Docker, name: str) -> str:
    answer = engine.client.get(f"/containers/{name}/logs", params={"stdout": 1, "stderr": 1})
    return re.sub(r"[\x00-\x08\x0e-\x1f]", "", answer.text)


def test_requests_pass_without_root_and_the_container_is_healthy(engine: Docker, tmp_path: Path) -> None:
    port, inner = free_port(), free_port()
    backend = Backend("one")
    dynamic = f"""http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: one, entryPoints: [web]}}}}
  services: {{one: {{loadBalancer: {{servers: [{{url: "{backend.url}"}}]}}}}}}
"""
    tmp_path.chmod(0o755)
    (tmp_path / "dynamic.yml").write_text(dynamic)
    (tmp_path / "dynamic.yml").chmod(0o644)
    static = f"""entryPoints:
  web: {{address: "127.0.0.1:{port}"}}
  traefik: {{address: "127.0.0.1:{inner}"}}
ping: {{}}
providers: {{file: {{directory: /etc/lbcore/dynamic}}}}
"""
    (tmp_path / "lbcore.yml").write_text(static)
    folder = tmp_path / "dynamic"
    folder.mkdir()
    (tmp_path / "dynamic.yml").rename(folder / "dynamic.yml")
    for path in (folder, tmp_path / "lbcore.yml"):
        path.chmod(0o755)
    binds = [f"{tmp_path}/lbcore.yml:/etc/lbcore/lbcore.yml:ro", f"{folder}:/etc/lbcore/dynamic:ro"]
    start(engine, "front", {"LBCORE_WORKERS": "1"}, Binds=binds)
    try:

        def answer() -> str:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/")
                return connection.getresponse().read().decode()
            except OSError:
                return ""

        eventually(lambda: answer() == "one", f"an answer: {log(engine, 'front')}")
        eventually(lambda: health(engine, "front") == "healthy", "health")
        found = engine.ask("GET", "/containers/front/json")
        status = Path(f"/proc/{found['State']['Pid']}/status").read_text()
        assert re.search(r"^Uid:\s+65532\s+65532", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        engine.ask("POST", "/containers/front/stop", t=20)
        assert engine.ask("GET", "/containers/front/json")["State"]["ExitCode"] == 0
    finally:
        backend.close()
        engine.remove("front")


def below(pid: int) -> list[int]:
    """A process, and all that it and its children have started: workers are children of the fork server."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(process for child in children for process in below(int(child)))]


def test_a_container_whose_check_fails_is_unhealthy(engine: Docker, tmp_path: Path) -> None:
    """All of its processes are stopped, as ones that hang: a worker alone would be replaced."""
    static = f"""entryPoints:
  web: {{address: "127.0.0.1:0"}}
  traefik: {{address: "127.0.0.1:{free_port()}"}}
ping: {{}}
"""
    (tmp_path / "lbcore.yml").write_text(static)
    for path in (tmp_path, tmp_path / "lbcore.yml"):
        path.chmod(0o755)
    start(engine, "hangs", {"LBCORE_WORKERS": "1"}, Binds=[f"{tmp_path}/lbcore.yml:/etc/lbcore/lbcore.yml:ro"])
    try:
        found = engine.ask("GET", "/containers/hangs/json")
        assert found["Config"]["Healthcheck"]["Test"] == ["CMD", "lbcore", "healthcheck"]
        eventually(lambda: health(engine, "hangs") == "healthy", f"health: {log(engine, 'hangs')}")
        pid = found["State"]["Pid"]
        for process in below(pid):
            os.kill(process, signal.SIGSTOP)
        eventually(lambda: health(engine, "hangs") == "unhealthy", "a failing check")
    finally:
        engine.remove("hangs")


def test_the_image_holds_no_tools_to_install_more(engine: Docker) -> None:
    start(engine, "tools", {}, "--version")
    try:
        eventually(lambda: not engine.ask("GET", "/containers/tools/json")["State"]["Running"], "its end")
        assert "lbcore, version" in log(engine, "tools")
    finally:
        engine.remove("tools")
    image = engine.ask("GET", "/images/lbcore:test/json")
    assert image["Config"]["User"] == "65532:65532"
    assert image["Size"] < os.stat(BUSYBOX).st_size + 450_000_000
