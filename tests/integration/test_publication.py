"""Publishing as a transaction: what the check accepts stops no worker, and what a reload breaks runs on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import Backend, Instance, dynamic_for, eventually, is_alive, running

POINT = {"address": "127.0.0.1:0"}
ADMIN = {"entryPoints": {"web": POINT, "traefik": POINT}, "api": {"insecure": True}, "metrics": {"prometheus": {}}}
GROUPS = "PathRegexp(`" + "(a)" * 40 + "`)"


def ask_admin(lb: Instance, path: str) -> str:
    port = int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return str(answer.read().decode())


def last_reload_succeeded(lb: Instance) -> bool:
    found = dict(re.findall(r"^lbcore_config_last_reload_(\w+) (\S+)$", ask_admin(lb, "/metrics"), re.MULTILINE))
    return float(found["success"]) > float(found["failure"])


def with_parts(dynamic: dict[str, Any], **http: Any) -> dict[str, Any]:
    """A configuration with more routers, services or middlewares."""
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(dynamic))
    for kind, objects in http.items():
        result["http"].setdefault(kind, {}).update(objects)
    return result


M_40 = {"replacePathRegex": {"regex": "(a)" * 40, "replacement": "b"}}
LONG = "Path(`/a`) && " * 3000 + "Path(`/a`)"
CHAINED = {"rule": "Path(`/a`)", "service": "backends", "middlewares": ["c0"]}
PREFIX = {"addPrefix": {"prefix": "/x"}}
NO_PATH = {"servers": [{"url": "http://127.0.0.1:9"}], "healthCheck": {"path": "//[x"}}


def chains(count: int, width: int) -> dict[str, Any]:
    """Chains of chains; each has the next one `width` times."""
    nested = {f"c{n}": {"chain": {"middlewares": [f"c{n + 1}"] * width}} for n in range(count)}
    return {"routers": {"odd": CHAINED}, "middlewares": {**nested, f"c{count}": PREFIX}}


ODD: list[Any] = [
    pytest.param({"middlewares": {"m": {"headers": {"frameDeny": False}}}}, id="defaults"),
    pytest.param({"middlewares": {"m": {"headers": {"accessControlAllowOriginListRegex": ["("]}}}}, id="regex"),
    pytest.param({"middlewares": {"m": M_40}}, id="groups"),
    pytest.param({"routers": {"odd": {"rule": GROUPS, "service": "backends"}}}, id="groups in a rule"),
    pytest.param({"routers": {"odd": {"rule": LONG, "service": "backends"}}}, id="long rule"),
    pytest.param({"services": {"odd": {"loadBalancer": NO_PATH}}}, id="path of a health check"),
    pytest.param(chains(60, 2), id="chains that double"),
    pytest.param(chains(3000, 1), id="deep chains"),
]


@pytest.mark.parametrize("parts", ODD)
def test_odd_object_stops_no_worker(tmp_path: Path, backends: list[Backend], parts: dict[str, Any]) -> None:
    with running(tmp_path, with_parts(dynamic_for(backends[0]), **parts)) as lb:
        lb.runs(1)
        assert lb.get() == (200, "one")
        assert "ended" not in lb.log
        assert "Traceback" not in lb.log


def test_entry_point_with_a_missing_middleware_disables_its_routers_alone(
    tmp_path: Path, backends: list[Backend]
) -> None:
    static = {"entryPoints": {"web": {**POINT, "http": {"middlewares": ["auth@file"]}}, "other": POINT}}
    with running(tmp_path, dynamic_for(backends[0]), static=static) as lb:
        lb.runs(1)
        assert lb.get()[0] == 404
        lb.logged(r'dynamic\.yml:\d+: router all is not on entry point web: middleware "auth@file" does not exist')
        port = int(lb.logged(r"entry point other listens on \S+:(\d+)")[1])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
            assert answer.read() == b"one"
        assert len(lb.workers) == 2


def test_an_accepted_reload_reaches_a_worker_that_starts_later(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        lb.write(with_parts(dynamic_for(backends[1]), routers={"odd": {"rule": GROUPS, "service": "backends"}}))
        lb.runs(2)
        os.kill(lb.workers[0], signal.SIGKILL)
        lb.logged(r"2 workers run configuration 2", times=2)
        assert lb.get() == (200, "two")
        assert "disabled" not in lb.log


def test_worker_that_is_stopped_loses_no_new_connection(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, dynamic_for(backends[0]), static=ADMIN) as lb:
        lb.runs(1)
        stopped = lb.workers[0]
        os.kill(stopped, signal.SIGSTOP)
        lb.logged(rf"\(pid {stopped}\) has not answered")
        assert [lb.get(timeout_s=5) for _ in range(40)] == [(200, "one")] * 40
        assert "hanging" in ask_admin(lb, "/api/state")
        lb.write(dynamic_for(backends[1]))
        eventually(lambda: lb.get() == (200, "two"), "a reload beside it")
        os.kill(stopped, signal.SIGCONT)
        lb.runs(2)
        assert [lb.get() for _ in range(40)] == [(200, "two")] * 40
        assert is_alive(stopped)


BROKEN: list[Any] = [
    pytest.param({"routers": {"all": {"rule": "Path(`", "service": "backends"}}}, "router", "all", id="rule"),
    pytest.param({"routers": {"all": {"rule": "Path(`/`)", "service": "nobody"}}}, "router", "all", id="service name"),
    pytest.param(
        {"services": {"backends": {"loadBalancer": {"servers": [{"url": "ftp://x"}]}}}}, "service", "backends", id="url"
    ),
    pytest.param({"middlewares": {"m": {"stripPrefixRegex": {"regex": ["("]}}}}, "middleware", "m", id="middleware"),
]


@pytest.mark.parametrize(("parts", "kind", "name"), BROKEN)
def test_reload_keeps_the_version_that_runs_of_what_it_breaks(
    tmp_path: Path, backends: list[Backend], parts: dict[str, Any], kind: str, name: str
) -> None:
    good = with_parts(
        dynamic_for(backends[0]),
        routers={"gone": {"rule": "Path(`/gone`)", "service": "backends"}},
        middlewares={"m": {"stripPrefixRegex": {"regex": ["^/x"]}}},
    )
    good["http"]["routers"]["all"]["middlewares"] = ["m"]
    with running(tmp_path, good, static=ADMIN) as lb:
        lb.runs(1)
        new = with_parts(good, **parts)
        del new["http"]["routers"]["gone"]
        new["http"]["routers"]["new"] = {"rule": "Path(`/new`", "service": "backends"}
        new["http"]["routers"]["fresh"] = {"rule": "Path(`/fresh`)", "service": "backends"}
        lb.write(new)
        lb.runs(2)
        lb.logged(rf"ERR {kind} {name}@file is broken, the version that runs stays: ")
        lb.logged(r"ERR router new@file is disabled: ")
        assert lb.get() == (200, "one")
        assert lb.get("/fresh") == (200, "one")
        names = {view["name"]: view["status"] for view in json.loads(ask_admin(lb, f"/api/http/{kind}s"))}
        assert names[f"{name}@file"] == "warning"
        routers = {view["name"]: view["status"] for view in json.loads(ask_admin(lb, "/api/http/routers"))}
        assert routers["new@file"] == "disabled"
        assert "gone@file" not in routers
        metrics = ask_admin(lb, "/metrics")
        assert "lbcore_config_reloads_failure_total 1.0" in metrics
        assert 'lbcore_config_broken_objects{runs="before"} 1.0' in metrics
        lb.write(good)
        lb.runs(3)
        names = {view["name"]: view["status"] for view in json.loads(ask_admin(lb, f"/api/http/{kind}s"))}
        assert names[f"{name}@file"] == "enabled"


def test_reload_in_traefiks_way_disables_what_it_breaks(tmp_path: Path, backends: list[Backend]) -> None:
    file = {"filename": str(tmp_path / "dynamic" / "dynamic.yml")}
    static = {"providers": {"providersThrottleDuration": "0s", "file": file, "keepRunning": False}}
    with running(tmp_path, dynamic_for(backends[0]), static=static) as lb:
        lb.runs(1)
        broken = dynamic_for(backends[0])
        broken["http"]["routers"]["all"]["rule"] = "Path(`"
        lb.write(broken)
        lb.runs(2)
        assert lb.get()[0] == 404


def test_file_that_is_a_pipe_stops_neither_the_others_nor_the_end(tmp_path: Path, backends: list[Backend]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe.yml")
    static = {"providers": {"providersThrottleDuration": "0s", "file": {"directory": str(folder)}}}
    (folder / "good.yml").write_text(yaml.safe_dump(dynamic_for(backends[0])))
    with running(tmp_path, None, static=static) as lb:
        lb.runs(1)
        (folder / "good.yml").write_text(yaml.safe_dump(dynamic_for(backends[1])))
        lb.runs(2)
        assert lb.get() == (200, "two")
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(20) == 0


@pytest.mark.parametrize("kind", ["basicAuth", "digestAuth"])
def test_users_in_a_pipe_stop_neither_reloads_nor_the_end(tmp_path: Path, backends: list[Backend], kind: str) -> None:
    os.mkfifo(tmp_path / "users")
    guarded = {"rule": "Path(`/guarded`)", "service": "backends", "middlewares": ["auth"]}
    auth = {"auth": {kind: {"usersFile": str(tmp_path / "users")}}}
    with running(tmp_path, dynamic_for(backends[0])) as lb:
        lb.runs(1)
        lb.write(with_parts(dynamic_for(backends[0]), routers={"guarded": guarded}, middlewares=auth))
        lb.logged(r"middleware auth@file is disabled: .*users: it is a pipe, a socket or a device")
        assert lb.get("/guarded")[0] == 404
        lb.write(dynamic_for(backends[1]))
        lb.runs(3)
        assert lb.get() == (200, "two")
        lb.signal(signal.SIGTERM)
        assert lb.process.wait(20) == 0


def test_tls_options_that_a_reload_breaks_or_deletes_stay(tmp_path: Path, backends: list[Backend]) -> None:
    good = with_parts(
        dynamic_for(backends[0]),
        routers={"own": {"rule": "Host(`a.test`)", "service": "backends", "tls": {"options": "strict"}}},
    )
    strict = {"minVersion": "VersionTLS13"}
    with running(tmp_path, {**good, "tls": {"options": {"strict": strict, "default": strict}}}, static=ADMIN) as lb:
        lb.runs(1)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def speaks(name: str) -> str | None:
            with (
                socket.create_connection(("127.0.0.1", lb.port), 10) as sock,
                context.wrap_socket(sock, server_hostname=name) as client,
            ):
                return client.version()

        assert (speaks("a.test"), speaks("b.test")) == ("TLSv1.3", "TLSv1.3")
        unknown = {"minVersion": "VersionTLS99"}
        broken = {"strict": {"minVersion": ["x"]}, "default": unknown}
        for generation, options in ((2, broken), (3, {"default": unknown})):
            lb.write({**good, "tls": {"options": options}})
            lb.runs(generation)
            assert (speaks("a.test"), speaks("b.test")) == ("TLSv1.3", "TLSv1.3")
            assert not last_reload_succeeded(lb)
        lb.logged(r"ERR TLS options strict@file are broken, the version that runs stays")
        lb.logged(r"ERR TLS options default are broken, the version that runs stays")
        lb.logged(r"ERR router own@file is broken, the version that runs stays: \S+: unknown TLS options: strict@file")
        lb.write({**good, "tls": {"options": {"strict": {}, "default": strict}}})
        lb.runs(4)
        assert last_reload_succeeded(lb)


def test_instance_without_a_provider_stays_up(tmp_path: Path) -> None:
    static = {"providers": {"providersThrottleDuration": "1s"}, "ping": {"entryPoint": "web"}}
    with running(tmp_path, None, static=static) as lb:
        lb.runs(1)
        assert lb.get("/ping") == (200, "OK")
        lb.logged("no provider is configured")


@pytest.mark.parametrize("log", ["accessLog", "log"])
def test_log_that_cannot_be_opened_is_one_line_and_exit_code_1(tmp_path: Path, log: str) -> None:
    (tmp_path / "file").write_text("")
    static = {"entryPoints": {"web": {"address": "127.0.0.1:0"}}, log: {"filePath": str(tmp_path / "file" / "x.log")}}
    (tmp_path / "static.yml").write_text(yaml.safe_dump(static))
    command = [sys.executable, "-m", "lbcore", "run", "--config", str(tmp_path / "static.yml"), "--workers", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if " INF " not in line]
    assert len(lines) == 1
    assert "cannot open" in lines[0]
    assert "x.log" in lines[0]


def test_log_in_a_new_folder_makes_the_folder(tmp_path: Path, backends: list[Backend]) -> None:
    path = tmp_path / "new" / "folder" / "access.log"
    with running(tmp_path, dynamic_for(backends[0]), static={"accessLog": {"filePath": str(path)}}) as lb:
        lb.runs(1)
        lb.get()
        eventually(lambda: path.exists() and path.read_text(), "a line")


def many(backend: Backend, count: int, path: str) -> str:
    """A configuration of many routers, and a service whose server is checked every 100 ms."""
    lines = ["http:", "  routers:", "    all: {rule: 'PathPrefix(`/`)', service: backends, priority: 1}"]
    lines += [
        f"    r{n}: {{rule: 'Host(`h{n}.test`) && PathPrefix(`{path}`)', service: s{n % 1000}}}" for n in range(count)
    ]
    lines += ["  services:", "    backends:", "      loadBalancer:"]
    lines += [f"        servers: [{{url: '{backend.url}'}}]"]
    lines += ["        healthCheck: {path: /health, interval: 100ms, timeout: 200ms}"]
    lines += [f"    s{n}: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:9'}}]}}}}" for n in range(1000)]
    return "\n".join(lines) + "\n"


def test_health_checks_stay_punctual_while_10000_routers_are_reloaded_and_read(
    tmp_path: Path, backends: list[Backend]
) -> None:
    with running(tmp_path, None, static=ADMIN) as lb:
        lb.runs(1)
        lb.write(many(backends[0], 10_000, "/a"))
        lb.runs(2)
        for generation, path in ((3, "/b"), (4, "/c")):
            lb.write(many(backends[0], 10_000, path))
            ask_admin(lb, "/metrics")
            ask_admin(lb, "/api/rawdata")
            lb.runs(generation)
        assert lb.get() == (200, "one")
        assert "Health check failed" not in lb.log
