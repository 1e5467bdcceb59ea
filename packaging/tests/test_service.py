"""The Debian package, whose service is run by a real systemd as it is: hardened, on port 80, and by socket activation.

systemd runs in a container of systemd-nspawn over the files of this machine, read-only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
CHECK_UNIT = """[Unit]
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 /check/check.py
TimeoutStartSec=240
"""
CHECK = '''
import http.client, json, re, subprocess, sys, time, traceback
from pathlib import Path

found = {}

def systemctl(*arguments):
    done = subprocess.run(["systemctl", "--no-ask-password", *arguments], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr.strip()

def status(path, port=80):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=80)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status

def show(name):
    return systemctl("show", "--value", "--property", name, "lbcore.service")

try:
    found["start"] = systemctl("start", "lbcore.service")
    found["state"], found["text"] = show("ActiveState"), show("StatusText")
    found["web"], found["ping"] = status("/"), status("/ping", 8080)
    lines = Path(f"/proc/{show('MainPID')}/status").read_text()
    for name in ("Uid", "CapEff", "Seccomp", "NoNewPrivs"):
        found[name] = re.search(rf"^{name}:\\s+(\\w+)", lines, re.MULTILINE)[1]
    Path("/etc/lbcore/dynamic/app.yml").write_text("http: {routers: {p: {rule: 'Path(`/p`)', service: ping@internal}}}")
    found["reload"] = systemctl("reload", "lbcore.service")
    end = time.monotonic() + 30
    while status("/p") != 200 and time.monotonic() < end:
        time.sleep(0.05)
    found["routed"] = status("/p")
    found["stop"] = systemctl("stop", "lbcore.service")
    found["stopped"], found["result"] = show("ActiveState"), show("Result")
    found["socket"] = systemctl("start", "lbcore.socket")
    found["idle"] = show("ActiveState")
    found["activated"] = status("/")
    end = time.monotonic() + 30
    # A worker may answer before systemd has read that the service is ready.
    while (state := show("ActiveState")) == "activating" and time.monotonic() < end:
        time.sleep(0.05)
    found["active"] = state
except BaseException:
    found["error"] = traceback.format_exc()
log = subprocess.run(["journalctl", "--unit=lbcore", "--no-pager", "-o", "cat"], capture_output=True, text=True)
found["log"] = log.stdout[-4000:]
Path("/check/found.json").write_text(json.dumps(found))
'''


@pytest.fixture(scope="module")
def package(wheels: Path) -> Path:
    environ = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    subprocess.run([sys.executable, str(ROOT / "ci/deb.py")], env=environ, check=True)
    return sorted(DIST.glob("lbcore_*.deb"))[-1]


@pytest.fixture(scope="module")
def found(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the service says and does, from inside."""
    folder = tmp_path_factory.mktemp("service")
    tree, check = folder / "tree", folder / "check"
    subprocess.run(["dpkg-deb", "--extract", str(package), str(tree)], check=True)
    check.mkdir()
    (check / "check.py").write_text(CHECK)
    (check / "check.service").write_text(CHECK_UNIT)
    units = tree / "usr/lib/systemd/system"
    command = ["systemd-nspawn", "--quiet", "--directory=/", "--volatile=yes", "--register=no", "--keep-unit"]
    command += ["--private-network", "--console=pipe", "--machine=lbcore-test", f"--bind={check}:/check"]
    command += [f"--bind-ro={tree}/opt/lbcore:/opt/lbcore", f"--bind={tree}/etc/lbcore:/etc/lbcore"]
    command += [f"--bind-ro={units / name}:/etc/systemd/system/{name}" for name in ("lbcore.service", "lbcore.socket")]
    command += [f"--bind-ro={check}/check.service:/etc/systemd/system/check.service"]
    # The network is there at once; nobody is to wait for it.
    command += ["--boot", "systemd.unit=check.service", "systemd.mask=systemd-networkd-wait-online.service"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    result = check / "found.json"
    assert result.exists(), done.stdout + done.stderr
    answers: dict[str, Any] = json.loads(result.read_text())
    assert "error" not in answers, answers
    return answers


def test_it_runs_on_port_80_without_root(found: dict[str, Any]) -> None:
    assert (found["start"], found["state"], found["web"], found["ping"]) == ("", "active", 404, 200), found
    assert "run configuration" in found["text"] or found["text"], found
    assert int(found["Uid"]) >= 61184  # a user of systemd's own, for as long as the service runs
    assert int(found["CapEff"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "1")


def test_it_follows_its_configuration(found: dict[str, Any]) -> None:
    assert (found["reload"], found["routed"]) == ("", 200), found


def test_it_stops_in_order(found: dict[str, Any]) -> None:
    assert (found["stop"], found["stopped"], found["result"]) == ("", "inactive", "success"), found


def test_the_first_connection_starts_it(found: dict[str, Any]) -> None:
    assert (found["socket"], found["idle"]) == ("", "inactive"), found
    assert (found["activated"], found["active"]) == (404, "active"), found
