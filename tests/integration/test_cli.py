"""The command as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.command import run_command
from tests.support.instance import Backend, dynamic_for, eventually, running


def lbcore(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, cwd=folder)


def test_check_says_what_would_run(tmp_path: Path) -> None:
    (tmp_path / "dynamic.yml").write_text(
        "http: {routers: {r: {rule: Host(`a`), service: s}}, services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}}"
    )
    (tmp_path / "static.yml").write_text(
        "entryPoints: {web: {address: ':80'}}\nproviders: {file: {filename: dynamic.yml}}\n"
    )
    done = lbcore("check", "static.yml", folder=tmp_path)
    named = lbcore("check", "--config", "static.yml", folder=tmp_path)
    assert (named.returncode, named.stdout, named.stderr) == (done.returncode, done.stdout, done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert "entry point web on :80" in done.stdout
    assert "router r: Host(`a`) -> s" in done.stdout


def test_check_prints_every_problem(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("http:\n  routers:\n    r: {rul: x}\n    s: {priority: high}\n")
    (tmp_path / "odd.yml").write_text("http: {routers: {r: {rule: Hst(`a`), service: nowhere, middlewares: [m]}}}")
    done = lbcore("check", "bad.yml", "odd.yml", folder=tmp_path)
    assert done.returncode == 1
    assert "bad.yml:3: http.routers.r.rul: unknown key 'rul' (did you mean rule?)" in done.stderr
    assert "bad.yml:4: http.routers.s.priority" in done.stderr
    for problem in (
        "unsupported function: Hst",
        'the service "nowhere@file" does not exist',
        '"m@file" does not exist',
    ):
        assert problem in done.stderr
    assert "5 problems" in done.stderr


def test_check_prints_a_problem_once_with_its_places(tmp_path: Path) -> None:
    routers = "".join(f"    r{n}: {{rule: Host(`a{n}`), service: s, parentRefs: [z]}}\n" for n in range(5))
    (tmp_path / "dyn.yml").write_text(
        f"http:\n  routers:\n{routers}    x: {{rule: Host(`x`), service: dead}}\n"
        "    y: {rule: Host(`y`), service: s}\n"
        "  services:\n    s: {loadBalancer: {servers: [{url: 'http://a'}]}}\n"
        "    dead: {loadBalancer: {servers: [{url: 'http://a b'}]}}\n"
    )
    done = lbcore("check", "dyn.yml", folder=tmp_path)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == [
        'error: dyn.yml: parentRefs[] (routers r0:3, r1:4, r2:5 and 2 more): parent router "z@file" does not exist',
        "error: dyn.yml: parentRefs (routers r0:3, r1:4, r2:5 and 2 more): router is not reachable",
        "error: dyn.yml:12: http.services.dead.loadBalancer.servers[0].url: error parsing server URL http://a b: "
        "'a b' is no host",
    ]
    assert "router y: Host(`y`) -> s" in done.stdout
    assert "7 disabled (router x for what they refer to)" in done.stdout


def test_what_follows_from_tls_options_or_an_entry_point_is_named_and_not_listed(tmp_path: Path) -> None:
    (tmp_path / "static.yml").write_text(
        "entryPoints: {web: {address: ':0'}, closed: {address: ':0', http: {middlewares: [auth@file]}}}\n"
        "providers: {file: {filename: dyn.yml}}\n"
    )
    (tmp_path / "dyn.yml").write_text(
        "http:\n"
        "  routers:\n"
        "    a: {rule: Host(`a`), service: s, entryPoints: [web], tls: {options: mutual}}\n"
        "    b: {rule: Host(`b`), service: s, entryPoints: [closed]}\n"
        "    c: {rule: Host(`c`), service: s, entryPoints: [web], tls: {options: none}}\n"
        "  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}\n"
        "  middlewares: {auth: {plugin: {x: {}}}}\n"
        "tcp:\n"
        "  routers: {d: {rule: HostSNI(`d`), service: s, entryPoints: [web], tls: {options: mutual}}}\n"
        "  services: {s: {loadBalancer: {servers: [{address: 'a:1'}]}}}\n"
        "tls: {options: {mutual: {clientAuth: {caFiles: [none.pem], clientAuthType: RequireAndVerifyClientCert}}}}\n"
    )
    done = lbcore("check", "static.yml", folder=tmp_path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1:3] for line in errors] == [
        ["dyn.yml:11", "tls.options.mutual"],
        ["dyn.yml:5", "http.routers.c.tls.options"],
        ["dyn.yml:7", "http.middlewares.auth.plugin.x"],
    ]
    assert "(router a, router b, tcp router d for what they refer to)" in done.stdout


def test_the_summary_names_the_kinds_of_objects_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "dyn.yml").write_text(
        "http:\n"
        "  routers: {a: {rule: Host(`a`), service: a}}\n"
        "  services:\n"
        "    a: {weighted: {services: [{name: b}]}}\n"
        "    b: {loadBalancer: {servers: [{url: 'http://a b'}]}}\n"
        "tcp:\n"
        "  routers: {a: {rule: HostSNI(`*`), service: a, entryPoints: [tcp]}}\n"
        "  services:\n"
        "    a: {weighted: {services: [{name: b}]}}\n"
        "    b: {loadBalancer: {servers: [{address: 'no port'}]}}\n"
    )
    done = lbcore("check", "dyn.yml", folder=tmp_path)
    assert done.returncode == 1
    summary = done.stdout.splitlines()[-1]
    assert "6 disabled (router a, service a, tcp router a and 1 more for what they refer to)" in summary


def test_check_agrees_with_run_about_what_is_assumed_and_where_files_are(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "dyn.yml").write_text(
        "http: {routers: {a: {rule: Host(`a`), service: api@internal},"
        " p: {rule: Host(`p`), service: prometheus@internal}}}"
    )
    (tmp_path / "conf" / "static.yml").write_text(
        "entryPoints: {web: {address: ':80'}}\nproviders: {file: {filename: dyn.yml}}"
    )
    assert lbcore("check", "conf/dyn.yml", folder=tmp_path).returncode == 0
    done = lbcore("check", "conf/static.yml", folder=tmp_path)
    assert done.returncode == 1
    assert f"dyn.yml: not there (looked for {tmp_path}/dyn.yml; there is conf/dyn.yml" in done.stderr
    done = lbcore("check", "no/such.yml", folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"of that, {tmp_path} is there" in done.stderr
    (tmp_path / "empty.yml").write_text("# nothing\n")
    done = lbcore("run", "--config", "empty.yml", folder=tmp_path)
    assert (done.returncode, "no configuration in this file" in done.stderr) == (1, True)


def test_schema_is_json_schema(tmp_path: Path) -> None:
    for kind, key in (("static", "entryPoints"), ("dynamic", "http")):
        schema = json.loads(lbcore("schema", kind, folder=tmp_path).stdout)
        assert key in schema["properties"]


def test_version(tmp_path: Path) -> None:
    assert lbcore("--version", folder=tmp_path).stdout.startswith("lbcore, version ")


def test_run_without_configuration_says_what_to_do(tmp_path: Path) -> None:
    done = lbcore("run", folder=tmp_path)
    assert (done.returncode, "no static configuration" in done.stderr) == (1, True)


def test_ping_says_when_the_instance_is_about_to_stop(tmp_path: Path) -> None:
    backend = Backend("one")
    static = {"ping": {"entryPoint": "web", "terminatingStatusCode": 503}}
    grace = {"transport": {"lifeCycle": {"requestAcceptGraceTimeout": "5s"}}}
    try:
        with running(tmp_path, dynamic_for(backend), static=static, entry_point=grace) as lb:
            lb.runs(1)
            assert lb.get("/ping") == (200, "OK")
            lb.signal(signal.SIGTERM)
            eventually(lambda: lb.get("/ping")[0] == 503, "ping says so")
            assert lb.get("/") == (200, "one")
            lb.signal(signal.SIGTERM)
            assert lb.process.wait(10) == 0
    finally:
        backend.close()


def test_run_takes_flags(tmp_path: Path) -> None:
    backend = Backend("one")
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for(backend)))
    (tmp_path / "log").touch()
    flags = ["--entryPoints.web.address=127.0.0.1:0", "--providers.file.filename=dynamic.yml", "--log.level=INFO"]
    command = [sys.executable, "-m", "lbcore", "run", "--workers", "1", *flags, "--log.filePath=log"]
    process = subprocess.Popen(command, cwd=tmp_path)
    try:
        eventually(lambda: "1 worker runs configuration 1" in (tmp_path / "log").read_text(), "it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        backend.close()
