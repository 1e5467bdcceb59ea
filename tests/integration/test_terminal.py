"""What an operator types, of all layers: as text that is never wrapped, as JSON, again and again, with exit codes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from lbcore.cli import main
from tests.support.instance import Backend, Instance, eventually, running
from tests.support.ports import free_port
from tests.support.recorder import recorders

TOKEN = "a token of some length"
STATIC: dict[str, Any] = {
    "api": {"insecure": True, "token": TOKEN},
    "accessLog": {"filePath": os.devnull},
    "entryPoints": {
        "web": {"address": "127.0.0.1:0"},
        "traefik": {"address": "127.0.0.1:0"},
        "db": {"address": "127.0.0.1:0"},
        "dns": {"address": "127.0.0.1:0/udp"},
    },
}
LONG = "long" * 60


def lbcore(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "60", "LBCORE_API_TOKEN": ""})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def configuration(one: str, two: str, tcp: int, **routers: Any) -> dict[str, Any]:
    every = {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"], "middlewares": ["named"]}
    return {
        "http": {
            "routers": {"all": every, **routers},
            "services": {
                "shop": {"weighted": {"services": [{"name": "v1", "weight": 3}, {"name": "v2", "weight": 1}]}},
                "v1": {"loadBalancer": {"servers": [{"url": one}]}},
                "v2": {"loadBalancer": {"servers": [{"url": two}, {"url": f"{two}/{LONG}", "weight": 0}]}},
            },
            "middlewares": {"named": {"headers": {"customRequestHeaders": {"X-Named": "1"}}}},
        },
        "tcp": {
            "routers": {"db": {"rule": "HostSNI(`*`)", "service": "db", "entryPoints": ["db"]}},
            "services": {"db": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{tcp}"}]}}},
        },
        "udp": {
            "routers": {"dns": {"service": "dns", "entryPoints": ["dns"]}},
            "services": {"dns": {"loadBalancer": {"servers": [{"address": "127.0.0.1:9"}]}}},
        },
    }


class Site:
    """An instance, its API, and what it runs."""

    def __init__(self, lb: Instance, dynamic: dict[str, Any]) -> None:
        self.lb = lb
        self.dynamic = dynamic
        self.api = f"http://127.0.0.1:{lb.logged(r'entry point traefik listens on .*:([0-9]+)')[1]}"

    def ask(self, *arguments: str, token: bool = False) -> tuple[int, str]:
        more = ["--token", TOKEN] if token else []
        return lbcore(*arguments, "--api", self.api, *more)

    def json(self, *arguments: str) -> Any:
        code, text = self.ask(*arguments, "--json")
        assert code in (0, 2), text
        return json.loads(text)

    def connect(self, entry_point: str) -> bytes:
        """What a server of TCP says; nothing if there is none."""
        port = int(self.lb.logged(rf"entry point {entry_point} listens on .*:([0-9]+)")[1])
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(b"hello")
            return client.recv(100)
        return b""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    one, two = Backend("one"), Backend("two")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.sendall(client.recv(100))

        threading.Thread(target=serve, daemon=True).start()
        dynamic = configuration(one.url, two.url, listener.getsockname()[1])
        try:
            with running(folder, dynamic, static=STATIC) as lb:
                lb.runs(1)
                yield Site(lb, dynamic)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            one.close()
            two.close()


def test_status_has_all_layers_as_text_and_as_json(site: Site) -> None:
    code, text = site.ask("status")
    assert code == 0, text
    for part in ("shop@file", "db@file", "dns@file", f"/{LONG} weight 0"):
        assert part in text
    assert "HTTP: 1 router (0 disabled), 3 services (0 disabled), 1 middleware (0 disabled)\n" in text
    assert "TCP: 1 router (0 disabled), 1 service (0 disabled), 0 middlewares (0 disabled)\n" in text
    found = site.json("status")
    assert {root["layer"] for root in found["tree"]} == {"http", "tcp", "udp"}
    assert found["state"]["problems"] == []


def test_routes_of_all_layers_by_words(site: Site) -> None:
    code, text = site.ask("routes")
    assert code == 0
    rows = [line.split() for line in text.splitlines()]
    assert rows[0][:4] == ["layer", "router", "status", "priority"]
    assert [row[:3] for row in rows[1:]] == [
        ["http", "all@file", "enabled"],
        ["tcp", "db@file", "enabled"],
        ["udp", "dns@file", "enabled"],
    ]
    assert "named@file" in text and "PathPrefix(`/`)" in text
    assert [each["name"] for each in site.json("routes", "shop", "pathprefix")] == ["all@file"]
    assert [each["name"] for each in site.json("routes", "--layer", "udp")] == ["dns@file"]
    assert "api@internal" in {each["name"] for each in site.json("routes", "--all")}
    assert site.json("routes", "--disabled") == []
    assert site.ask("routes", "--disabled") == (0, "no router is disabled\n")
    assert site.ask("routes", "gone", "--layer", "tcp") == (0, "no TCP router has 'gone'\n")
    assert site.ask("cert", "list") == (0, "no certificates\n")


def test_what_is_wrong_with_a_router_has_a_column_of_its_own(site: Site) -> None:
    bad = {"rule": "Host(`bad.test`)", "service": "shop", "middlewares": ["gone"]}
    try:
        site.lb.write({**site.dynamic, "http": {**site.dynamic["http"], "routers": {"bad": bad}}})
        eventually(lambda: "bad@file" in site.ask("routes")[1], "the router is there")
        code, text = site.ask("routes", "--disabled")
        assert code == 2
        head, row = text.splitlines()
        service, problem = head.index("service"), head.index("problem")
        assert row[service:problem].strip() == "shop"
        assert row[problem:] == 'middleware "gone@file" does not exist'
        for columns in (100, 60):
            shown = plain(on_a_terminal("routes", "--disabled", "--api", site.api, columns=columns))
            assert any(line.startswith("  middleware") for line in shown), shown
            assert not any("shop" in line and "gone@file" in line for line in shown), shown
    finally:
        site.lb.write(site.dynamic)
        eventually(lambda: site.ask("status")[0] == 0, "all is well")
    assert "problem" not in site.ask("routes")[1]


def test_top_has_rates_errors_latency_and_shares_of_all_layers(site: Site) -> None:
    done = threading.Event()

    def traffic() -> None:
        while not done.is_set():
            site.lb.get("/slow/5")
            site.connect("db")

    worker = threading.Thread(target=traffic, daemon=True)
    worker.start()
    try:

        def rows() -> list[dict[str, Any]]:
            code, text = site.ask("top", "--json", "--interval", "0.5", "--count", "1", "--sort", "rate")
            assert code == 0
            return json.loads(text)["servers"]  # type: ignore[no-any-return]

        def is_busy() -> list[dict[str, Any]]:
            found = rows()
            busy = {row["service"] for row in found if row["rate"]}
            return found if {"v1@file", "v2@file", "db@file"} <= busy else []

        found = eventually(is_busy, "all have traffic")
    finally:
        done.set()
        worker.join()
    assert [row["rate"] for row in found] == sorted((row["rate"] for row in found), reverse=True)
    by_server = {(row["service"], row["server"]): row for row in found}
    assert {row["layer"] for row in found} == {"http", "tcp", "udp"}
    first, second = (row for (service, _), row in sorted(by_server.items()) if service == "v2@file")
    assert (first["share"], second["share"]) == (1.0, 0.0)
    assert first["latency"] >= 5 and first["errors"] == 0
    assert next(row for row in found if row["layer"] == "udp")["share"] is None


def test_maxima_of_all_layers_by_column_and_their_reset(site: Site) -> None:
    def busy() -> list[dict[str, Any]]:
        site.lb.get("/")
        site.connect("db")
        found: list[dict[str, Any]] = site.json("maxima", "--sort", "rate")["objects"]
        seen = {row["name"] for row in found if "rate" in row["maxima"]}
        return found if {"all@file", "v1@file", "v2@file", "shop@file", "db@file"} <= seen else []

    found = eventually(busy, "all have a rate")
    rates = [row["maxima"].get("rate", {"most": 0})["most"] for row in found]
    assert rates == sorted(rates, reverse=True)
    code, text = site.ask("maxima")
    assert code == 0
    since, head, *rows = text.splitlines()
    assert since.startswith("since ") and head.split()[:2] == ["kind", "name"] and "most per second" in head
    assert re.search(r"^tcp service +db@file .*\d+ at \d\d:\d\d:\d\d", text, re.MULTILINE)
    assert any(re.match(r"server +v2@file http://\S+ ", row) for row in rows)
    assert len(site.json("maxima", "--kind", "server", "--limit", "2")["objects"]) == 2
    assert {row["kind"] for row in site.json("maxima", "--kind", "server")["objects"]} == {"member"}
    code, text = site.ask("maxima", "--reset")
    assert code == 1 and "a token is missing" in text
    code, text = lbcore("maxima", "--reset", "--api", site.api, "--token", "another token of some length")
    assert (code, text) == (1, "error: wrong token\n")
    before = site.json("maxima")["since"]
    assert site.ask("maxima", "--reset", token=True) == (0, "the maxima are counted anew\n")
    site.lb.logged(r"INF the maxima are reset by 127\.0\.0\.1")

    def is_reset() -> bool:
        """Once the second in which the last requests came has ended."""
        since = json.loads(site.ask("maxima", "--reset", "--json", token=True)[1])["since"]
        found = site.json("maxima")
        assert before < since == found["since"]
        return not {"v1@file", "v2@file"} & {row["name"] for row in found["objects"]}

    eventually(is_reset, "nothing is left")


def test_top_limits_and_repeats_without_wrapping(site: Site) -> None:
    code, text = site.ask("top", "--interval", "0.1", "--count", "2", "--sort", "server", "--reverse")
    assert code == 0
    assert len(re.findall(rf"^http +v2@file +http://\S+/{LONG} +UP ", text, re.MULTILINE)) == 2
    code, text = site.ask("top", "--interval", "0.1", "--count", "1", "--limit", "1")
    assert "and 4 more" in text


def test_a_watch_prints_a_line_of_json_for_each_look(site: Site) -> None:
    code, text = site.ask("routes", "--json", "--watch", "--interval", "0.1", "--count", "3")
    assert code == 0
    assert len(text.splitlines()) == 3
    assert all(len(json.loads(line)) == 3 for line in text.splitlines())


def test_a_watch_goes_on_when_the_instance_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, {"http": {"services": {}}}, static=STATIC) as lb:
        lb.runs(1)
        port = int(lb.logged(r"entry point traefik listens on .*:([0-9]+)")[1])
        command = [sys.executable, "-m", "lbcore", "status", "--watch", "--interval", "0.1", "--json"]
        command += ["--api", f"http://127.0.0.1:{port}"]
        # As a terminal starts it: what runs the tests in the background may have it ignore the signal.
        watch = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
        try:
            assert watch.stdout is not None
            assert "version" in json.loads(watch.stdout.readline())
            lb.signal(signal.SIGTERM)
            lb.process.wait(30)
            while "error" not in (found := json.loads(watch.stdout.readline())):
                pass
            assert "no answer from" in found["error"]
            watch.send_signal(signal.SIGINT)
            assert watch.wait(30) == 1, "the code of the last look"
        finally:
            watch.kill()
            watch.wait()


def test_weights_are_shown_set_and_reset(site: Site) -> None:
    assert site.ask("weights") == (0, "no weight is overridden\n")
    rows = site.json("weights", "shop")
    assert [(row["member"], row["weight"], row["effectiveWeight"]) for row in rows] == [("v1", 3, 3), ("v2", 1, 1)]
    assert site.ask("weights", "shop", "v1=0", token=True)[0] == 0
    (row,) = site.json("weights")
    assert (row["service"], row["member"], row["overriddenWeight"]) == ("shop@file", "v1", 0)
    code, text = site.ask("weights", "shop@file")
    assert code == 0 and re.search(r"v1 +UP +0 +3 +\S+ +0 +overridden: 0", text)
    assert site.ask("weights", "shop", "v2=0", "--force", token=True)[0] == 0
    assert site.ask("weights", "shop")[0] == 2, "no member is left"
    rows = json.loads(site.ask("weights", "shop", "v1=5", "--json", token=True)[1])
    assert [(row["member"], row["effectiveWeight"]) for row in rows] == [("v1", 5), ("v2", 0)]
    assert rows[0].keys() == site.json("weights", "shop")[0].keys()
    code, text = site.ask("weights", "shop", "v1=6", "--watch", "--count", "2", "--interval", "0.1", token=True)
    assert (code, len(re.findall(r"v1 +UP +6 +3 ", text))) == (0, 2)
    assert site.ask("weights", "shop", "--reset", token=True) == (0, "v1: 3\nv2: 1\n")
    one = site.dynamic["http"]["services"]["v1"]["loadBalancer"]["servers"][0]["url"]
    port = one.rpartition(":")[2]
    assert site.ask("weights", "v1", f"{port}=2", token=True) == (0, f"{one}: 2 (overridden)\n")
    assert site.ask("weights", "v1", f"{port}=2", f"{one}=3", token=True)[1].endswith("gives a member two weights\n")
    assert site.ask("weights", "v1", "--reset", token=True)[0] == 0
    assert "--reset needs a service" in site.ask("weights", "--reset", token=True)[1]
    assert site.ask("weights", "db")[0] == 0
    assert site.ask("weights", "nothing")[0] == 1


def test_a_shell_completes_the_services_of_the_instance(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    complete = ShellComplete(main, {}, "lbcore", "_LBCORE_COMPLETE").get_completions
    assert [item.value for item in complete(["weights", "--api", site.api], "sh")] == ["shop@file"]
    monkeypatch.setenv("LBCORE_API", site.api)
    assert [item.value for item in complete(["drain"], "d")] == ["db@file", "dns@file"]
    assert complete(["drain", "--api", "http://127.0.0.1:1"], "d") == []


def test_members_are_drained_ejected_and_reset_at_all_layers(site: Site) -> None:
    one = site.dynamic["http"]["services"]["v1"]["loadBalancer"]["servers"][0]["url"]
    code, text = site.ask("drain", "shop", "v1", "--wait", token=True)
    assert (code, text) == (0, "v1 drains: it gets no new clients, and keeps its sessions\n")
    eventually(lambda: {site.lb.get()[1] for _ in range(4)} == {"two"}, "nothing new comes to it")
    (row,) = site.json("weights")
    assert (row["member"], row["overriddenWeight"]) == ("v1", 0)
    code, text = site.ask("drain", "shop", "v2", token=True)
    assert code == 1 and "without a member" in text and "add --force" in text
    watched = ("--watch", "--count", "2", "--interval", "0.1")
    code, text = site.ask("undrain", "shop", "v1", *watched, token=True)
    assert (code, len(re.findall(r"v1 +UP +3 +3 ", text))) == (0, 2)
    eventually(lambda: "one" in {site.lb.get()[1] for _ in range(8)}, "it has its weight again")
    # The only server of a service, by a part of its URL.
    part = one.rpartition(":")[2]
    assert site.ask("eject", "v1", part, token=True)[0] == 1
    assert site.ask("eject", "v1", part, "--force", token=True)[0] == 0
    eventually(lambda: {site.lb.get()[0] for _ in range(8)} == {200, 503}, "nothing comes to it")
    code, text = site.ask("status")
    assert code == 2 and "taken out by hand" in text
    answer = json.loads(site.ask("reset", "v1", part, "--json", token=True)[1])
    assert answer["id"] == f"http/members/v1@file|{one}"
    assert site.ask("status")[0] == 0
    assert site.ask("eject", "db", "127.0.0.1", "--force", token=True)[0] == 0
    eventually(lambda: site.connect("db") == b"", "no connection is passed on")
    assert site.ask("reset", "db", "127.0.0.1", token=True)[0] == 0
    eventually(lambda: site.connect("db") == b"hello", "connections are passed on again")
    assert site.ask("drain", "dns", "127.0.0.1:9", "--force", "--layer", "udp", token=True)[0] == 0
    assert site.ask("undrain", "dns", "127.0.0.1:9", token=True)[0] == 0
    for arguments, said in (
        (("drain", "shop", "v"), "v may be v1, v2"),
        (("drain", "shop", "v3"), "v3 is none of v1, v2"),
        (("drain", "none", "v1"), "no router leads to a service none"),
        (("weights", "db", "127.0.0.2:1=3"), "is none of"),
    ):
        code, text = site.ask(*arguments, token=True)
        assert code == 1 and said in text, text
    assert site.ask("drain", "shop", "v1")[1].startswith("error: a token is missing")
    assert site.ask("drain", "shop", "v1", "--token", "x" * 20) == (1, "error: wrong token\n")


def test_a_drain_is_watched_until_nothing_is_in_flight(tmp_path: Path) -> None:
    held = threading.Event()
    with recorders("a") as (a,):
        a.answer = lambda first, headers, body: (200, b"held" if held.wait(120) else b"")
        router = {"rule": "PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]}
        services = {"shop": {"loadBalancer": {"servers": [{"url": a.url}]}}}
        dynamic = {"http": {"routers": {"all": router}, "services": services}}
        with running(tmp_path, dynamic, static=STATIC) as lb:
            lb.runs(1)
            site = Site(lb, dynamic)
            waiting = threading.Thread(target=lb.get, args=("/", 120))
            waiting.start()
            try:
                eventually(lambda: a.requests, "a request is under way")
                drain = ("drain", "shop", a.url, "--force", "--wait")
                code, text = site.ask(*drain, "--timeout", "0", token=True)
                assert (code, text.splitlines()[-1]) == (2, "error: 1 in flight after 0 s")
                watch = ("--watch", "--interval", "0.1")
                code, text = site.ask(*drain, *watch, "--count", "2", token=True)
                assert (code, len(re.findall(r" UP +0 +1 +\S+ +1 +overridden: 0", text))) == (2, 2), text
                threading.Timer(0.5, held.set).start()
                code, text = site.ask(*drain, *watch, "--json", token=True)
                assert (code, json.loads(text.splitlines()[-1])[0]["inFlight"]) == (0, 0)
            finally:
                held.set()
                waiting.join()


def test_a_running_instance_explains_with_its_health_and_weights(site: Site) -> None:
    code, text = site.ask("explain", "GET http://any.test/x")
    assert code == 0, text
    assert "middleware named@file: headers: passes" in text
    assert "weight 3 of 4" in text and text.splitlines()[-1].startswith("server: http://127.0.0.1:")
    assert site.ask("weights", "shop", "v1=7", token=True)[0] == 0
    assert "weight 7 of 8 (configured 3)" in site.ask("explain", "GET http://any.test/x")[1]
    assert site.ask("weights", "shop", "--reset", token=True)[0] == 0
    watched = site.ask("explain", "GET http://any.test/x", "--watch", "--count", "2", "--interval", "0.1", "--json")[1]
    assert ["weight 3 of 4" in " ".join(json.loads(line)["lines"]) for line in watched.splitlines()] == [True, True]
    lines = site.json("explain", "tcp://")["lines"]
    assert "TCP router db@file (priority -1): HostSNI(`*`): matches" in lines
    assert "UDP router dns@file: takes all of the entry point" in site.ask("explain", "udp://")[1]
    assert site.ask("explain", "nonsense")[0] == 1


def test_a_reload_tells_what_it_has_changed_and_what_is_not_in_force(site: Site) -> None:
    assert site.ask("reload") == (1, "error: a token is missing: give the value of `api.token` in the static file as "
                                     "--token or in LBCORE_API_TOKEN\n")  # fmt: skip
    assert site.ask("reload", "--token", "x" * 20)[0] == 1
    code, text = site.ask("reload", "--wait", token=True)
    assert (code, "is in force: nothing has changed" in text) == (0, True), text
    one, two = (site.dynamic["http"]["services"][name]["loadBalancer"]["servers"][0]["url"] for name in ("v1", "v2"))
    tcp = int(site.dynamic["tcp"]["services"]["db"]["loadBalancer"]["servers"][0]["address"].rpartition(":")[2])
    try:
        qa = {"rule": "Host(`qa.test`)", "service": "v2", "entryPoints": ["web"]}
        site.lb.write(configuration(one, two, tcp, qa=qa))
        site.lb.logged(r"INF configuration \d+: router qa@file added\n")
        text = site.ask("reload", "--wait", token=True)[1]
        assert re.search(r"nothing has changed since configuration \d+ of [-0-9T:Z]+: router qa@file added", text), text
        site.lb.write(configuration(one, two, tcp, qa=qa | {"rule": "Hst(`qa`)"}))
        code, text = site.ask("reload", "--wait", token=True)
        assert code == 2, text
        assert "error: router qa@file runs in the version before" in text
        watched = ("--watch", "--count", "2", "--interval", "0.1")
        code, text = site.ask("reload", "--wait", *watched, token=True)
        assert (code, text.count("error: router qa@file runs in the version before")) == (2, 2), text
        code, text = site.ask("reload", "--json", *watched, token=True)
        assert code == 2 and [len(json.loads(line)["problems"]) for line in text.splitlines()] == [1, 1]
        found = site.json("reload", "--wait", "--pid", str(site.lb.process.pid))
        assert found["refused"] == [] and len(found["problems"]) == 1 and found["kept"]
        site.lb.write("http: {routers: [")
        for _ in range(2):  # the second time nothing is new, and lbcore has an answer
            code, text = site.ask("reload", "--wait", "--timeout", "20", token=True)
            assert code == 2 and "refused: configuration" in text
    finally:
        site.lb.write(site.dynamic)
        eventually(lambda: site.ask("status")[0] == 0, "all is well")
    site.lb.logged(r"INF configuration \d+: router qa@file removed\n")


def test_codes_say_that_nothing_could_be_asked() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    for arguments in (
        *(["status"], ["routes"], ["top", "--count", "1"], ["weights"], ["weights", "shop"], ["cert", "list"]),
        *(["explain", "GET http://a/"], ["reload", "--token", "t"], ["weights", "shop", "a=1", "--token", "t"]),
        *([name, "shop", "a", "--token", "t"] for name in ("drain", "undrain", "eject", "reset")),
    ):
        code, text = lbcore(*arguments, "--api", dead)
        assert code == 1 and text.startswith("error: no answer from "), (arguments, text)
        assert lbcore(arguments[0], "--no-such-option")[0] in (1, 2)
    for name in ("status", "top", "routes", "weights", "reload"):
        code, text = lbcore(name, "--config", "traefik.yml")
        assert code == 1 and f"{name} asks the running instance and reads no file: --api URL" in text
        assert "did you mean" not in text.lower()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_that_lacks_characters_gets_others(site: Site, encoding: str) -> None:
    environ = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "lbcore", "status", "--api", site.api]
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    assert b"? shop@file weighted" in done.stdout and done.stderr == b""


def test_a_full_disk_is_one_line(site: Site) -> None:
    for arguments in (["status"], ["routes", "--json"], ["status", "--watch", "--count", "2", "--interval", "0.1"]):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "lbcore", *arguments, "--api", site.api]
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        said = "error: standard output cannot be written: no space left on device\n"
        assert (done.returncode, done.stderr) == (1, said)


def on_a_terminal(*arguments: str, columns: int = 80, lines: int = 24) -> bytes:
    """What a command writes to a terminal of this size."""
    command = [sys.executable, "-m", "lbcore", *arguments]
    own = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
    terminal, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner, env=own | {"TERM": "xterm"}
    )
    os.close(inner)
    shown = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while select.select([terminal], [], [], 60)[0] and (part := os.read(terminal, 65536)):
            shown += part
    process.wait(30)
    os.close(terminal)
    return shown


def plain(shown: bytes) -> list[str]:
    """The lines of a terminal, without colours and commands for its cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "").split("\n")


def test_a_terminal_is_cleared_and_a_pipe_is_not(site: Site) -> None:
    arguments = ("routes", "--watch", "--interval", "0.1", "--count", "2", "--api", site.api)
    shown = on_a_terminal(*arguments)
    assert b"\x1b[?1049h" in shown and b"\x1b[32menabled" in shown, shown
    assert "\x1b" not in lbcore(*arguments)[1]


def test_a_narrow_terminal_has_names_above_their_numbers(site: Site) -> None:
    one = site.dynamic["http"]["services"]["v1"]["loadBalancer"]["servers"][0]["url"]
    for columns, numbers in ((60, 7), (40, 4)):
        top = ("top", "--count", "1", "--interval", "0.1", "--sort", "server", "--api", site.api)
        lines = plain(on_a_terminal(*top, columns=columns).rpartition(b"\x1b[?1049l")[2])
        assert max(map(len, lines)) <= columns
        titles = ["status", "weight", "share", "req/s", "err/s", "ms", "flight", "requests"]
        assert lines[0].split() == titles[: numbers + 1]
        below = lines[lines.index(f"v1@file {one}") + 1]
        assert re.match(r"UP +1 ", below) and len(below.split()) == numbers + 1
    lines = plain(on_a_terminal("routes", "--api", site.api, columns=60))
    assert lines[lines.index("all@file enabled web → shop") + 1] == "  PathPrefix(`/`)"
    lines = plain(on_a_terminal("routes", "--api", site.api, columns=100))
    assert re.match(r"all@file +enabled +web +shop", lines[1]) and lines[2].strip() == "PathPrefix(`/`)"


def test_a_look_that_has_no_room_in_the_window_says_so(site: Site) -> None:
    watch = ("status", "--watch", "--count", "1", "--api", site.api)
    short, _, rest = on_a_terminal(*watch, columns=200, lines=5).partition(b"\x1b[?1049l")
    lines = plain(short)
    assert lines[-1].startswith("… ") and lines[-1].rstrip().endswith("lines more than this window has room for")
    assert len(lines) == 5
    assert "db@file" not in "".join(lines) and b"db@file" in rest, "what it has seen last is printed whole"
    assert "…" not in "".join(plain(on_a_terminal(*watch, columns=200, lines=50)))


def test_ping_tells_containers_how_it_is(tmp_path: Path) -> None:
    port = free_port()
    flags = [f"--entryPoints.web.address=127.0.0.1:{port}", "--ping.entryPoint=web"]
    assert lbcore("healthcheck", flags[0]) == (
        1,
        "Error calling healthcheck: please enable `ping` to use health check\n",
    )
    code, text = lbcore("healthcheck", *flags)
    assert code == 1 and text.startswith("Error calling healthcheck: ")
    code, text = lbcore("healthcheck", *flags, "--json", "--watch", "--interval", "0.1", "--count", "2")
    assert code == 1 and [json.loads(line)["healthy"] for line in text.splitlines()] == [False, False]
    points: dict[str, Any] = {
        "web": {"address": f"127.0.0.1:{port}"},
        "unix": {"address": f"unix:{tmp_path}/ping.sock"},
        "tls": {"address": f"127.0.0.1:{free_port()}", "http": {"tls": {}}},
    }
    router = {"rule": "Path(`/ping`)", "service": "ping@internal", "entryPoints": ["unix", "tls"]}
    static = {"ping": {"entryPoint": "web"}, "entryPoints": points}
    with running(tmp_path, {"http": {"routers": {"ping": router}}}, static=static) as lb:
        lb.runs(1)
        assert lbcore("healthcheck", *flags) == (0, f"OK: http://127.0.0.1:{port}/ping\n")
        assert lbcore("healthcheck", "--config", str(tmp_path / "static.yml"))[0] == 0
        url = f"http://127.0.0.1:{port}/ping"
        code, text = lbcore("healthcheck", *flags, "--json")
        assert (code, json.loads(text)) == (0, {"healthy": True, "status": 200, "message": f"OK: {url}"})
        watched = lbcore("healthcheck", *flags, "--watch", "--interval", "0.1", "--count", "2")
        assert watched == (0, f"OK: {url}\nOK: {url}\n")
        urls = {"unix": f"unix:{tmp_path}/ping.sock/ping", "tls": f"https://{points['tls']['address']}/ping"}
        for name, url in urls.items():
            (tmp_path / "other.yml").write_text(json.dumps({**static, "ping": {"entryPoint": name}}))
            assert lbcore("healthcheck", "--config", str(tmp_path / "other.yml")) == (0, f"OK: {url}\n")
        (tmp_path / "other.yml").write_text(json.dumps({**static, "ping": {"entryPoint": "none"}}))
        code, text = lbcore("healthcheck", "--config", str(tmp_path / "other.yml"))
        assert code == 1 and "missing none entry point" in text


def test_names_and_rules_of_others_say_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Whoever starts a container chooses them."""
    clear = "\x1b[2J\x9b2J\u202e"
    routers = {
        f"a{clear}": {"rule": f"PathPrefix(`/{clear}`)", "service": f"b{clear}"},
        f"wrong{clear}": {"rule": f"Hst(`{clear}`)", "service": f"none{clear}"},
    }
    balancer = {"servers": [{"url": "http://127.0.0.1:1"}], "healthCheck": {"path": "/"}}
    services = {f"b{clear}": {"loadBalancer": balancer}}
    static = {
        "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}},
        "api": {"insecure": True, "token": TOKEN},
    }
    with running(tmp_path, {"http": {"routers": routers, "services": services}}, static=static, workers=1) as lb:
        lb.runs(1)
        api = f"http://127.0.0.1:{lb.logged(r'entry point traefik listens on .*:([0-9]+)')[1]}"
        shown = on_a_terminal("routes", "--api", api, columns=200).decode()
        for command in (
            ("routes",), ("status",), ("top", "--count", "1", "--interval", "0.1"), ("weights", f"b{clear}"),
            ("weights", f"none{clear}"), ("explain", f"GET http://x/{clear}"),
            ("eject", f"b{clear}", "http", "--force", "--token", TOKEN),
        ):  # fmt: skip
            shown += lbcore(*command, "--api", api)[1]
        (name,) = (each["name"] for each in json.loads(lbcore("routes", "PathPrefix", "--api", api, "--json")[1]))
        assert name == f"a{clear}@file", "programs get what it is"
    shown += lbcore("check", str(tmp_path / "dynamic" / "dynamic.yml"))[1]
    assert "a\\x1b[2J\\x9b2J\\u202e@file" in shown
    assert not [each for each in ("\x1b[2J", "\x9b", "\u202e") if each in shown], shown


def test_single_requests_are_shown_until_the_time_is_over(site: Site) -> None:
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.05):
            site.lb.get("/cart?token=secret")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        code, text = site.ask("tap", "--path", "/cart", "--for", "2s", "--rate", "5")
        assert code == 0, text
        *lines, last = text.splitlines()
        url = r"127\.0\.0\.1:\d+/cart\?token=secret"
        assert re.match(rf"\d\d:\d\d:\d\d\.\d{{3}} 127\.0\.0\.1 GET {url} 200 .* ms v[12]@file -> http://", lines[0])
        assert re.fullmatch(r"\d+ requests? shown(; \d+ more fitted: --rate is 5 a second)?", last)
        code, text = site.ask("tap", "--path", "/cart", "--for", "1s", "--json")
        found = json.loads(text.splitlines()[0])
        assert (code, found["status"], found["router"]) == (0, 200, "all@file")
        code, text = site.ask("tap", "--status", "5xx", "--for", "300ms")
        assert (code, text) == (0, "0 requests shown\n")
    finally:
        stop.set()
        asking.join()
    assert site.ask("tap", "--router", "al") == (1, "error: router not found: al\n")
    assert site.ask("tap", "--rate", "1000")[0] == 1
    code, text = lbcore("tap", "--api", f"http://127.0.0.1:{free_port()}")
    assert code == 1 and "no answer from" in text


def test_a_tap_ends_by_a_signal_and_with_the_instance(tmp_path: Path) -> None:
    with recorders("a") as (a,):
        dynamic = configuration(a.url, a.url, 9)
        with running(tmp_path, dynamic, static=STATIC, workers=1) as lb:
            lb.runs(1)
            own = Site(lb, dynamic)
            command = [sys.executable, "-m", "lbcore", "tap", "--api", own.api, "--json"]
            for end, code, said in (
                (lambda process: process.send_signal(signal.SIGINT), 0, "shown\n"),
                (lambda process: lb.signal(signal.SIGTERM), 1, "error: the instance has ended the stream\n"),
            ):
                with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                    assert process.stdout is not None and process.stderr is not None
                    reading = process.stdout
                    stop = threading.Event()

                    def ask(stop: threading.Event = stop) -> None:
                        while not stop.wait(0.02):
                            lb.get()

                    asking = threading.Thread(target=ask)
                    asking.start()
                    try:
                        assert json.loads(reading.readline())["status"] == 200
                    finally:
                        stop.set()
                        asking.join()
                    end(process)
                    assert process.wait(60) == code
                    assert process.stderr.read().decode().endswith(said)


def get(client: socket.socket) -> None:
    """A request, and all of its answer, which is the name of a server."""
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    while not answer.endswith((b"one", b"two")):
        piece = client.recv(1000)
        assert piece, answer
        answer += piece


def test_sessions_are_listed_and_closed_by_id_and_by_server(site: Site) -> None:
    port = int(site.lb.logged(r"entry point web listens on .*:([0-9]+)")[1])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(3)]
        for client in clients:
            get(client)
        found = site.json("sessions", "--entry-point", "web")
        assert found["found"] == len(found["sessions"]) >= 3
        ids = {each["client"]: each["id"] for each in found["sessions"]}
        first = ids[f"127.0.0.1:{clients[0].getsockname()[1]}"]
        code, text = site.ask("sessions", "--entry-point", "web", "--oldest")
        assert code == 0 and first in text and "kind" in text
        assert re.search(r"^\d+ sessions$", text.splitlines()[-1])
        code, text = site.ask("sessions", "--entry-point", "web", "--limit", "1")
        assert re.search(r"^\d+ sessions, \d+ not shown$", text.splitlines()[-1])
        assert site.ask("sessions", "close", first)[0] == 1, "a token is missing"
        assert site.ask("sessions", "close", first, token=True) == (0, f"1 session closed: {first}\n")
        assert clients[0].recv(100) == b""
        get(clients[1])
        code, text = site.ask("sessions", "close", "--client", "127.0.0.1", "--kind", "http1", token=True)
        assert code == 0 and re.fullmatch(r"\d+ sessions closed: kind http1, client 127\.0\.0\.1\n", text)
        assert clients[1].recv(100) == clients[2].recv(100) == b""
        assert site.ask("sessions", "close", first, "--client", "127.0.0.1", token=True)[0] == 1
        assert site.ask("sessions", "close", token=True)[0] == 1
        assert site.ask("sessions", "close", "0", token=True) == (1, "error: '0' is not the id of a session\n")
        assert site.ask("sessions", "--kind", "ftp")[0] == 1
        assert site.ask("sessions", "--nothing")[0] == 1
    code, text = site.ask("sessions", "--watch", "--count", "2", "--interval", "0.1", "--json", "--router", "none@file")
    assert [json.loads(line)["found"] for line in text.splitlines()] == [0, 0]
