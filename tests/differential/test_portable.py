"""`lbcore check --traefik` says what real Traefik does with a file."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lbcore.cli import main
from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import TRAEFIK

SERVER = "http://127.0.0.1:1"


def dynamic(**service: Any) -> dict[str, Any]:
    return {
        "http": {
            "routers": {"a": {"rule": "Host(`a.test`)", "service": "a"}},
            "services": {"a": service or {"loadBalancer": {"servers": [{"url": SERVER}]}}},
        }
    }


def balancer(**more: Any) -> dict[str, Any]:
    return dynamic(loadBalancer={"servers": [{"url": SERVER}], **more})


def with_middleware(**middleware: Any) -> dict[str, Any]:
    found = dynamic()
    found["http"]["middlewares"] = {"m": middleware}
    return found


REFUSED = {
    "maxConnections": balancer(maxConnections=3),
    "slowStart": balancer(slowStart={"duration": "3s"}),
    "rise": balancer(healthCheck={"path": "/", "rise": 2}),
    "timeout": dynamic(timeout="3s", loadBalancer={"servers": [{"url": SERVER}]}),
    "maxEjectionPercent": balancer(passiveHealthCheck={"maxEjectionPercent": 50}),
    "hashOn": dynamic(weighted={"hashOn": {"path": True}, "services": [{"name": "b"}]}),
    "requestID": with_middleware(requestID={}),
    "budget": with_middleware(retry={"attempts": 2, "budget": {"ratio": 0.1}}),
    "weight": dynamic()
    | {"tcp": {"services": {"t": {"loadBalancer": {"servers": [{"address": "a:1", "weight": 2}]}}}}},
}
DISABLED = {
    "strategy": balancer(strategy="leastconn"),
    "rule": {"http": {**dynamic()["http"], "routers": {"a": {"rule": "Cookie(`a`, `b`)", "service": "a"}}}},
}


def checked(folder: Path, content: dict[str, Any]) -> tuple[int, str]:
    (folder / "dynamic.yml").write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(main, ["check", "--traefik", str(folder / "dynamic.yml")])
    return result.exit_code, result.output


class Traefik:
    """Real Traefik with the file that `checked` writes."""

    def __init__(self, folder: Path) -> None:
        web, self.api = free_ports(2)
        self.log = folder / "traefik.log"
        static = {
            "entryPoints": {"web": {"address": f"127.0.0.1:{web}"}, "traefik": {"address": f"127.0.0.1:{self.api}"}},
            "api": {"insecure": True},
            "log": {"filePath": str(self.log)},
            "providers": {"file": {"filename": str(folder / "dynamic.yml"), "watch": False}},
        }
        (folder / "static.yml").write_text(yaml.safe_dump(static))
        self.process = subprocess.Popen([str(TRAEFIK), f"--configFile={folder}/static.yml"], stdout=subprocess.DEVNULL)

    def routers(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/api/rawdata", timeout=5) as answer:
                found: dict[str, Any] = json.load(answer)
        except OSError:
            return {}
        return found if "a@file" in found.get("routers", {}) else {}

    def logged(self, text: str) -> bool:
        return self.log.exists() and text in self.log.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("key", REFUSED)
def test_traefik_refuses_the_file_for_a_key_that_the_check_names(key: str, tmp_path: Path) -> None:
    code, text = checked(tmp_path, REFUSED[key])
    assert code == 1 and f"{key}: an extension: Traefik refuses the whole file" in text, text
    traefik = Traefik(tmp_path)
    try:
        eventually(lambda: traefik.logged(f"field not found, node: {key}"), "it is refused")
        assert not traefik.routers()
    finally:
        traefik.close()


@pytest.mark.parametrize("key", DISABLED)
def test_traefik_disables_what_the_check_names(key: str, tmp_path: Path) -> None:
    code, text = checked(tmp_path, DISABLED[key])
    assert code == 1 and "Traefik disables the " in text and key in text, text
    traefik = Traefik(tmp_path)
    try:
        found = eventually(traefik.routers, "it is loaded")
        assert any("error" in found[kind]["a@file"] for kind in ("routers", "services"))
    finally:
        traefik.close()


def test_traefik_loads_a_file_with_extensions_below_lbcore(tmp_path: Path) -> None:
    code, text = checked(tmp_path, dynamic() | {"lbcore": balancer(maxConnections=3)})
    assert code == 0 and "Traefik" not in text, text
    traefik = Traefik(tmp_path)
    try:
        found = eventually(traefik.routers, "it is loaded")
        assert found["routers"]["a@file"]["status"] == "enabled"
    finally:
        traefik.close()


def test_traefik_does_not_start_with_an_extension_in_its_static_file(tmp_path: Path) -> None:
    file = tmp_path / "static.yml"
    file.write_text(yaml.safe_dump({"api": {"token": "a" * 20}, "entryPoints": {"web": {"address": "127.0.0.1:0"}}}))
    text = CliRunner().invoke(main, ["check", "--traefik", str(file)]).output
    assert "api.token: an extension: Traefik does not start with it" in text
    command = [str(TRAEFIK), f"--configFile={file}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "field not found, node: token" in done.stdout + done.stderr
