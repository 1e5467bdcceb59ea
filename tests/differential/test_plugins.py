"""Plugins of Traefik, which neither it without its catalogue nor lbcore can run: the same routers are disabled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lbcore.process.check import check_file
from tests.support.instance import eventually
from tests.support.ports import free_ports
from tests.support.traefik import TRAEFIK

DYNAMIC = """http:
  routers:
    guarded: {rule: "Host(`a`)", service: noop@internal, middlewares: [crowdsec]}
    chained: {rule: "Host(`b`)", service: noop@internal, middlewares: [chain]}
    open: {rule: "Host(`c`)", service: noop@internal}
    both: {rule: "Host(`d`)", service: noop@internal, middlewares: [two]}
    local: {rule: "Host(`e`)", service: noop@internal, middlewares: [home]}
  middlewares:
    crowdsec:
      plugin:
        bouncer:
          enabled: true
          crowdsecLapiKey: very-secret
          clientTrustedIPs: [10.0.0.0/8, 192.168.0.0/16]
          deep: {a: [{b: c}]}
    chain: {chain: {middlewares: [crowdsec]}}
    two: {plugin: {bouncer: {enabled: true}, other: {}}}
    home: {plugin: {house: {}}}
"""
STATIC = """entryPoints:
  web: {{address: "127.0.0.1:{0}"}}
  traefik: {{address: "127.0.0.1:{1}"}}
api: {{insecure: true}}
providers: {{file: {{filename: dynamic.yml, watch: false}}}}
experimental:
  plugins:
    bouncer:
      moduleName: github.com/maxlerebourg/crowdsec-bouncer-traefik-plugin
      version: v1.4.2
      settings: {{envs: [KEY], mounts: [/etc]}}
  localPlugins:
    house: {{moduleName: example.com/house}}
"""
BYPASS = "lbcore: {plugins: {bouncer: {onMissing: bypass}, house: {onMissing: BYPASS}}}\n"


def set_up(folder: Path, more: str = "") -> tuple[Path, int]:
    web, api = free_ports(2)
    (folder / "dynamic.yml").write_text(DYNAMIC)
    file = folder / "static.yml"
    file.write_text(STATIC.format(web, api) + more)
    return file, api


def routers_of(command: list[str], folder: Path, port: int) -> dict[str, str]:
    # No catalogue of plugins is asked.
    environment = {**os.environ, "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:

        def found() -> dict[str, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/http/routers?per_page=1000") as answer:
                    routers = json.loads(answer.read())
            except OSError:
                return {}
            return {router["name"]: router["status"] for router in routers if router["provider"] == "file"}

        return eventually(found, "its API has routers")
    finally:
        process.terminate()
        process.wait(10)


def test_without_a_word_routers_with_plugins_are_disabled(tmp_path: Path) -> None:
    file, port = set_up(tmp_path)
    ours = routers_of([sys.executable, "-m", "lbcore", "run", "--config", str(file)], tmp_path, port)
    assert ours == routers_of([str(TRAEFIK), f"--configFile={file}"], tmp_path, port)
    assert ours == {
        "guarded@file": "disabled", "chained@file": "disabled", "open@file": "enabled", "both@file": "disabled",
        "local@file": "disabled",
    }  # fmt: skip


def test_each_plugin_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, _ = set_up(tmp_path)
    report = check_file(file)
    about = [line for line in report.problems if "bouncer" in line]
    places = [line.split(": ")[0].rpartition("/")[2] for line in about]
    assert places == ["static.yml:8", "dynamic.yml:11", "dynamic.yml:17"]
    assert "lbcore: {plugins: {bouncer: {onMissing: bypass}}}" in about[0]
    assert "the plugin bouncer does not run in lbcore: lbcore: {plugins: {bouncer: {onMissing: bypass}}}" in about[1]
    assert "a middleware has one plugin: bouncer, other" in about[2]
    assert "very-secret" not in str(report)


def test_a_plugin_that_is_bypassed_lets_requests_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, port = set_up(tmp_path, BYPASS)
    report = check_file(file)
    assert [line.split(": ")[1] for line in report.problems] == ["http.middlewares.two.plugin"]
    passes = [line for line in report.warnings if "requests pass without" in line]
    assert len(passes) == 4  # two plugins that are declared, and two middlewares that use them
    ours = routers_of([sys.executable, "-m", "lbcore", "run", "--config", str(file)], tmp_path, port)
    assert [name for name, status in ours.items() if status != "enabled"] == ["both@file"]


def test_a_bypass_is_said_in_flags_too(tmp_path: Path) -> None:
    _, port = set_up(tmp_path)
    flags = [
        "--entryPoints.web.address=127.0.0.1:0",
        f"--entryPoints.traefik.address=127.0.0.1:{port}",
        "--api.insecure",
        "--providers.file.filename=dynamic.yml",
        "--experimental.plugins.bouncer.moduleName=a",
        "--experimental.plugins.bouncer.version=v1",
        "--lbcore.plugins.bouncer.onMissing=bypass",
    ]
    ours = routers_of([sys.executable, "-m", "lbcore", "run", *flags], tmp_path, port)
    assert (ours["guarded@file"], ours["local@file"]) == ("enabled", "disabled")
