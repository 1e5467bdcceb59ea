"""Set-ups as people have them, in real Traefik and in `lbcore check`: both take the same, but for what is said."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.process.check import Report, check_file
from tests.differential.census import DYNAMIC, STATIC, SetUp
from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import TRAEFIK


@contextlib.contextmanager
def traefik(folder: Path, static: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(TRAEFIK), f"--configFile={static}"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def routers_of_traefik(folder: Path, file: Path) -> set[str]:
    """Names of the routers that run, once Traefik's log tells that the file was read."""
    api, web = free_ports(2)
    static = folder / "traefik.yml"
    static.write_text(
        f'entryPoints: {{traefik: {{address: "127.0.0.1:{api}"}}, web: {{address: "127.0.0.1:{web}"}}}}\n'
        "api: {insecure: true}\n"
        f"providers: {{providersThrottleDuration: 0s, file: {{filename: {file}, watch: false}}}}\n"
        f"log: {{filePath: {folder / 'traefik.log'}, level: DEBUG}}\n"
    )

    def raw() -> dict[str, dict[str, dict[str, str]]] | None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{api}/api/rawdata") as answer:
            found: dict[str, dict[str, dict[str, str]]] = json.loads(answer.read())
            log = (folder / "traefik.log").read_text()
            refused = "Cannot start the provider" in log or "Error while building configuration" in log
            if refused or "providerName=file" in log or "@file" in str(found):
                return found
        return None

    with traefik(folder, static):
        found = eventually(raw, "Traefik has read the file") or {}
    return {
        name.removesuffix("@file")
        for kind in ("routers", "tcpRouters")
        for name, router in found.get(kind, {}).items()
        if name.endswith("@file") and router.get("status") != "disabled"
    }


def starts_in_traefik(folder: Path, static: Path, port: int) -> bool:
    with traefik(folder, static) as process:

        def state() -> str:
            if process.poll() is not None:
                return "refused"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                return "started" if client.recv(1) else ""
            return ""

        return eventually(state, "Traefik starts, or does not") == "started"


def routers_of_lbcore(report: Report) -> set[str]:
    lines = [line.split("router ", 1)[1] for line in report.runs if "router " in line and " -> " in line]
    return {line.split(":", 1)[0] for line in lines}


def said(report: Report) -> str:
    return "\n".join([*report.runs, *report.warnings, *report.problems])


@pytest.mark.parametrize("set_up", DYNAMIC, ids=lambda set_up: set_up.name)
def test_dynamic(tmp_path: Path, set_up: SetUp) -> None:
    file = tmp_path / f"dynamic.{set_up.suffix}"
    file.write_text(set_up.text)
    (tmp_path / "lbcore.yml").write_text(
        f'entryPoints: {{web: {{address: "127.0.0.1:0"}}}}\napi: {{}}\nproviders: {{file: {{filename: {file}}}}}\n'
    )
    report = check_file(tmp_path / "lbcore.yml")
    theirs, ours = routers_of_traefik(tmp_path, file), routers_of_lbcore(report)
    for text in set_up.says:
        assert text in said(report)
    if set_up.outcome == "same":
        assert ours == theirs
    elif set_up.outcome == "missing":
        assert ours < theirs or (ours == theirs and report.problems)
        assert ours
    elif set_up.outcome == "broken":
        assert theirs <= ours, "what runs in Traefik runs in lbcore"
        assert "bad" not in theirs | ours
        assert report.problems
    else:
        assert report.problems
    assert bool(report.problems) == (set_up.outcome != "same")
    assert all(str(file) in problem for problem in report.problems)


@pytest.mark.parametrize("set_up", STATIC, ids=lambda set_up: set_up.name)
def test_static(tmp_path: Path, set_up: SetUp) -> None:
    ports = free_ports(2)
    text = set_up.text.replace("PORT1", str(ports[0])).replace("PORT2", str(ports[1])).replace("FOLDER", str(tmp_path))
    file = tmp_path / f"static.{set_up.suffix}"
    file.write_text(text)
    report = check_file(file)
    found = [problem for problem in report.problems if "{{ x }}" not in problem and ": not there" not in problem]
    for words in set_up.says:
        assert words in said(report)
    starts = any("entry point web on" in line for line in report.runs)
    assert starts_in_traefik(tmp_path, file, ports[0]) == (set_up.outcome in ("same", "missing", "strict"))
    assert starts == (set_up.outcome in ("same", "missing", "lenient"))
    if set_up.outcome == "same":
        assert found == []
    elif set_up.outcome != "lenient":
        assert found
