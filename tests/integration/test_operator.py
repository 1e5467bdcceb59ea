"""What an operator types: status, top, weights, explain. Against real processes with two workers."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbcore.cli import static
from tests.support.command import run_command
from tests.support.instance import Backend, Instance, dynamic_for, eventually, running

TOKEN = "a token of some length"


def command(*arguments: str, **environ: str) -> tuple[int, str]:
    result = run_command(*arguments, env={**os.environ, "COLUMNS": "200", **environ})
    return result.returncode, result.stdout + result.stderr


def canary(backends: list[Backend], **more: Any) -> dict[str, Any]:
    services: dict[str, Any] = {
        "shop": {"weighted": {"services": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}]}},
        "v1": {"loadBalancer": {"servers": [{"url": backends[0].url}], **more}},
        "v2": {"loadBalancer": {"servers": [{"url": backends[1].url}], **more}},
    }
    routers = {
        "shop": {"rule": "Host(`shop.test`) || PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]},
        "qa": {
            "rule": "Header(`X-QA`, `1`) && PathPrefix(`/cart`)",
            "service": "v2",
            "entryPoints": ["web"],
            "priority": 99,
        },
    }
    return {"http": {"routers": routers, "services": services}}


STATIC: dict[str, Any] = {
    "api": {"insecure": True, "token": TOKEN},
    "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}},
}


def api_of(lb: Instance) -> str:
    return f"http://127.0.0.1:{lb.logged(r'entry point traefik listens on .*:([0-9]+)')[1]}"


def test_status_weights_and_top(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, canary(backends), static=STATIC) as lb:
        lb.runs(1)
        api = api_of(lb)
        for _ in range(20):
            lb.get()
        code, text = command("status", "--api", api)
        assert code == 0
        assert "shop@file" in text
        assert "18 requests" in text
        assert command("weights", "shop", "v2=10", "--api", api)[0] == 1
        code, text = command("weights", "shop", "v1=1", "v2=3", "--api", api, "--token", TOKEN)
        assert (code, text) == (0, "v1: 1 (overridden)\nv2: 3 (overridden)\n")
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 5, "two": 15}
        lb.write(canary(backends, passHostHeader=False))
        lb.runs(2)
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 5, "two": 15}
        assert "overridden: 3" in command("status", "--api", api)[1]
        code, text = command("weights", "shop", "--reset", "--api", api, "--token", TOKEN)
        assert (code, text) == (0, "v1: 9\nv2: 1\n")
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 18, "two": 2}
        code, text = command("top", "--api", api, "--interval", "0.1", "--count", "2")
        assert code == 0
        assert backends[0].url in text


def test_status_gives_the_reason_for_a_down_server_and_an_exit_code(tmp_path: Path, backends: list[Backend]) -> None:
    check = {"healthCheck": {"path": "/slow/500", "timeout": "50ms", "interval": "100ms"}}
    with running(tmp_path, canary(backends, **check), static=STATIC) as lb:
        lb.runs(1)

        def is_down() -> bool:
            _, text = command("status", "--api", api_of(lb))
            return "no answer within 0.05 s" in text

        eventually(is_down, "the cause is told")
        assert lb.get()[0] == 503


def test_status_without_a_running_instance_is_an_error() -> None:
    code, text = command("status", "--api", "http://127.0.0.1:1")
    assert code == 1
    assert "no answer from http://127.0.0.1:1" in text


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        (
            "GET http://shop.test/cart",
            ["-H", "X-QA: 1"],
            [
                "router qa@file (priority 99): Header(`X-QA`, `1`) && PathPrefix(`/cart`): matches",
                "would match, but qa@file is tried before it: priority 99 is higher",
                "v2",
            ],
        ),
        ("GET http://shop.test/cart", [], ["does not match: Header(`X-QA`, `1`)", "weight 9 of 10", "server: "]),
        ("http://shop.test/", [], ["does not match: Header(`X-QA`, `1`), PathPrefix(`/cart`)"]),
    ],
)
def test_explain_says_why(tmp_path: Path, backends: list[Backend], request_line: str, headers: list[str],
                          expected: list[str]) -> None:  # fmt: skip
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(canary(backends)))
    static = {
        "entryPoints": {"web": {"address": ":80"}},
        "providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}},
    }
    (tmp_path / "static.yml").write_text(yaml.safe_dump(static))
    code, text = command("explain", "--config", str(tmp_path / "static.yml"), request_line, *headers)
    assert code == 0
    for part in expected:
        assert part in text


def test_explain_of_the_story_runs_as_its_page_says() -> None:
    root = Path(__file__).resolve().parents[2]
    page = (root / "docs" / "stories" / "qa-by-header.md").read_text()
    (line,) = re.findall(r"^    \.venv/bin/lbcore (explain .*)$", page, re.MULTILINE)
    arguments = [str(root / part) if part.endswith(".yml") else part for part in shlex.split(line)]
    code, text = command(*arguments)
    assert code == 0, text
    assert re.search(r"router testers@file .*: matches", text)
    assert "router everybody@file (priority 15): PathPrefix(`/`): would match, but testers@file" in text
    assert text.endswith("server: http://127.0.0.1:8102\n")


def test_explain_names_what_would_not_match_behind_the_first_match_either(tmp_path: Path) -> None:
    routers = {
        "a": {"rule": "PathPrefix(`/`)", "service": "s", "priority": 5},
        "b": {"rule": "PathPrefix(`/`)", "service": "s", "priority": 5},
        "c": {"rule": "PathPrefix(`/c`)", "service": "s", "priority": 1},
    }
    services = {"s": {"loadBalancer": {"servers": [{"url": "http://s"}]}}}
    (tmp_path / "d.yml").write_text(yaml.safe_dump({"http": {"routers": routers, "services": services}}))
    code, text = command("explain", "--config", str(tmp_path / "d.yml"), "http://h/x")
    assert code == 0
    assert "router b@file (priority 5): PathPrefix(`/`): would match, but a@file is tried before it: the prio" in text
    assert "router c@file (priority 1): PathPrefix(`/c`): does not match: PathPrefix(`/c`)" in text


def test_mistyped_commands_and_options_say_what_was_meant() -> None:
    for arguments, code, said in (
        (["run", "--worker", "2"], 2, "did you mean --workers?"),
        (["run", "--confg", "x"], 2, "did you mean --config?"),
        (["run", "--entryPoint.web.address=:80"], 2, "did you mean --entryPoints?"),
        (["run", __file__], 2, f"did you mean --config {__file__}?"),
        (["stauts"], 2, "did you mean status?"),
        (["--configFile=x"], 1, "x: "),
        (["-configFile=x"], 1, "x: "),
        (["--confgFile=x"], 2, "no such option: --confgFile"),
        (["status", "-host=x"], 1, "No such option"),
        (["status", "--apii", "x"], 1, "--api"),
        (["weights", "shop", "v1=1"], 1, "LBCORE_API_TOKEN"),
        (["weights", "shop", "v1=1", "--reset"], 1, "give weights like v1=90 v2=10, or --reset"),
        (["run", "--from", ":80"], 2, "--from needs --to"),
        (["run", "--to", "ftp://a"], 2, "there are http, https, h2c, tcp, udp"),
        (["run", "--to", "tcp://a:1", "--to", "a:1"], 2, "all servers are of one kind"),
        (["run", "--to", ":1", "--config", "x"], 2, "--to and --config exclude each other"),
        (["weights", "shop", "v1=x", "--token", "t"], 1, "'v1=x' is no weight: write name=number"),
    ):
        result = command(*arguments)
        assert result[0] == code, (arguments, result)
        assert said in result[1], (arguments, result)


def test_flags_with_one_dash_are_flags(tmp_path: Path) -> None:
    for flag in ("-providers.file.filname=x", "-entryPoints.web.adress=:80", "-h.x=1"):
        code, text = command("run", flag)
        assert code != 0 and "Usage: lbcore run [OPTIONS]\n\n" not in text, text
    for flag in ("-configfile", "--CONFIGFILE", "-configFile", "--configFile"):
        code, text = command("run", f"{flag}={tmp_path}/none.yml")
        assert code == 1 and "none.yml" in text, text


def test_status_of_lost_traffic_is_2_and_not_cut_into_lines(tmp_path: Path, backends: list[Backend]) -> None:
    dynamic = canary(backends)
    dynamic["http"]["services"]["v1"]["loadBalancer"]["servers"].append({"url": f"http://127.0.0.1:1/{'long' * 60}"})
    dynamic["http"]["routers"]["typo"] = {"rule": "Host(`typo.test`)", "service": "shopp", "entryPoints": ["web"]}
    with running(tmp_path, dynamic, static=STATIC) as lb:
        lb.runs(1)
        code, text = command("status", "--api", api_of(lb), COLUMNS="60")
        assert code == 2
        reason = 'the service "shopp@file" does not exist'
        place = rf"{re.escape(str(lb.dynamic_file))}:\d+"
        assert re.search(rf"LOST router typo@file is disabled: {place}: {reason}\n  Host\(`typo\.test`\)\n", text), text
        assert f"http://127.0.0.1:1/{'long' * 60} weight 1" in text
        code, text = command("top", "--api", api_of(lb), "--count", "1", "--interval", "0.1", COLUMNS="60")
        assert code == 0
        assert f"http://127.0.0.1:1/{'long' * 60} " in text
        code, text = command("weights", "shop", "v1=0", "v2=0", "--api", api_of(lb), "--token", TOKEN)
        assert code == 1
        assert "would be left without a member" in text and "add --force" in text
        assert command("weights", "shop", "v1=0", "v2=0", "--force", "--api", api_of(lb), "--token", TOKEN)[0] == 0
        text = command("status", "--api", api_of(lb))[1]
        assert "LOST service shop@file loses all requests: the weights of all" in text


def test_status_reports_configuration_that_is_not_in_force(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, canary(backends), static=STATIC) as lb:
        lb.runs(1)
        api = api_of(lb)
        assert command("status", "--api", api)[0] == 0

        def says(text: str) -> Callable[[], bool]:
            return lambda: (found := command("status", "--api", api))[0] == 2 and text in found[1]

        lb.write("http: {routers: [}")
        eventually(says("DEGRADED a configuration was refused, the one before is in force: "), "it is refused")
        dynamic = canary(backends)
        dynamic["http"]["routers"]["qa"]["rule"] = "Hst(`x`)"
        lb.write(dynamic)
        eventually(says("DEGRADED router qa@file runs in the version before: "), "it is kept")
        place = rf"{re.escape(str(lb.dynamic_file))}:\d+"
        text = command("status", "--api", api)[1]
        assert re.search(rf"runs in the version before: {place}: error while parsing rule", text)
        lb.write(canary(backends))
        eventually(lambda: command("status", "--api", api)[0] == 0, "all is well")
        lb.logged(r"INF router qa@file runs as it is written again\n")
        lb.write("http: {routers: [}")
        lb.logged("ERR configuration refused", times=2)
        lb.write(canary(backends))
        lb.logged(r"INF \S+dynamic\.yml is in order again\n", times=2)


def test_status_reports_a_worker_that_hangs(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, canary(backends), static=STATIC) as lb:
        lb.runs(1)
        api, pid = api_of(lb), lb.workers[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            said = re.compile(rf"DEGRADED worker \d \(pid {pid}\) is hanging")
            eventually(lambda: said.search(command("status", "--api", api)[1]), "it is said")
            assert command("status", "--api", api)[0] == 2
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: command("status", "--api", api)[0] == 0, "all is well")


def test_explain_refuses_what_is_no_request(tmp_path: Path, backends: list[Backend]) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(canary(backends)))
    (tmp_path / "static.yml").write_text(
        yaml.safe_dump({"providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}}})
    )
    code, text = command("explain", "--config", str(tmp_path / "static.yml"), "GET /x")
    assert code == 1
    assert "names no host" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--api", "http://[::1"], "is not the URL of an API"),
        (["status", "--api", "http://a:b"], "is not the URL of an API"),
        (["status", "--api", "http://" + "a" * 70], "no answer from"),
        (["weights", "s", "a=\N{SUPERSCRIPT TWO}", "--token", "x"], "is no weight"),
        (["weights", "s", "a=1", "a=2", "--token", "x"], "a is given two weights"),
        (["weights", "s", "a=1", "--token", "a\r\nX: y"], "control characters"),
        (["weights", "s", "a=1", "--token", "\N{KEY}", "--api", "http://127.0.0.1:1"], "no answer from"),
        (["check", "a" * 300 + ".yml"], "File name too long"),
        (["explain", "--config", "DYNAMIC", "GET http://[::1/x"], "is no URL"),
        (["explain", "--config", "DYNAMIC", "GET http://a/x", "-H", "x"], "write 'Name: value'"),
        (["explain", "--config", "DYNAMIC", "GET http://a/x", "--client", "x"], "is no IP address"),
    ],
)
def test_an_invalid_argument_is_reported_in_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(dynamic_for()))
    code, text = command(*(str(tmp_path / "dynamic.yml") if each == "DYNAMIC" else each for each in arguments))
    assert code == 1
    assert said in text
    assert "Traceback" not in text


def test_a_name_that_no_file_can_have_is_no_option() -> None:
    code, text = command("run", "a" * 300)
    assert code == 2
    assert "is no option" in text
    assert "Traceback" not in text


def test_a_user_without_a_home_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: {}[uid])  # as in a container with any user
    assert static.usual_file() in (None, *map(Path, static.USUAL_FILES))
