"""The reasons of a route in a header of the answer: only with the secret, and on every kind of answer."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from lbcore.middleware_api import Request, Response
from tests.support.command import run_command
from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import config, mirrored, recorders
from tests.support.wire import Edge, edge

SECRET = "correct horse battery"
STATIC = {"explain": {"secret": SECRET}}
FAILING = "ResponseCodeRatio(500, 600, 0, 600) > 0.5"


def ask(lb: Edge, path: str = "/x", *headers: str, secret: str = SECRET) -> tuple[str, dict[str, str], Any]:
    """First line, headers, and the explanation (None: the answer has none)."""
    lines = [f"GET {path} HTTP/1.1", "Host: shop.test", *headers]
    if secret:
        lines.append(f"X-Lbcore-Explain: {secret}")
    first, found, _ = lb.ask("\r\n".join([*lines, "", ""]).encode())
    text = found.get("x-lbcore-explain")
    return first, found, None if text is None else json.loads(text)


def test_each_level_down_to_the_server() -> None:
    with recorders("one", "two") as (one, two):
        services: dict[str, Any] = {
            "all": {"weighted": {"services": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 0}]}},
        }
        dynamic = config(services, v1=one.url, v2=two.url)
        routers = dynamic["http"]["routers"]
        routers["all"]["middlewares"] = ["strip"]
        routers["qa"] = {"rule": "Host(`shop.test`) && Header(`X-QA`, `1`)", "service": "v2"}
        routers["other"] = {"rule": "Host(`other.test`) || PathPrefix(`/other`) && !Method(`GET`)", "service": "v2"}
        dynamic["http"]["middlewares"] = {"strip": {"stripPrefix": {"prefixes": ["/x"]}}}
        with edge(dynamic, static=STATIC) as lb:
            _, _, found = ask(lb)
            assert found == {
                "entryPoint": "web",
                "router": "all@file",
                "before": [
                    {"router": "other@file", "unmet": ["Host(`other.test`)", "PathPrefix(`/other`)", "!Method(`GET`)"]},
                    {"router": "qa@file", "unmet": ["Header(`X-QA`, `1`)"]},
                ],
                "middlewares": ["strip@file"],
                "steps": [{"middleware": "strip@file", "verdict": "passed"}],
                "services": [
                    {
                        "service": "all@file",
                        "kind": "weighted",
                        "up": True,
                        "chosen": "v1",
                        "members": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 0}],
                    },
                    {
                        "service": "v1@file",
                        "kind": "loadBalancer",
                        "up": True,
                        "chosen": one.url,
                        "members": [{"name": one.url, "weight": 1}],
                    },
                ],
                "server": one.url,
            }
            _, _, found = ask(lb, "/x", "X-QA: 1")
            assert found["router"] == "qa@file" and found["server"] == two.url
            assert [entry["router"] for entry in found["before"]] == ["other@file"]


@pytest.mark.parametrize("secret", ["", "wrong horse battery", SECRET + "x", SECRET[:-1], "\xe9" * 21])
def test_without_the_secret_nothing_is_said_and_no_server_sees_it(secret: str) -> None:
    with recorders("one") as (one,):
        dynamic = config({"all": {"weighted": {"services": [{"name": "v1"}]}}}, v1=one.url)
        with edge(dynamic, static=STATIC) as lb:
            lines = ["GET / HTTP/1.1", "Host: a", *([f"x-LBCORE-explain: {secret}"] * 2 if secret else []), "", ""]
            _, headers, _ = lb.ask("\r\n".join(lines).encode("latin-1"))
            assert "x-lbcore-explain" not in headers
            assert ask(lb)[2]["server"] == one.url
            assert len(one.requests) == 2
            assert not any("x-lbcore-explain" in request[1] for request in one.requests)
        with edge(dynamic) as lb:
            assert ask(lb)[2] is None
            assert one.requests[-1][1]["x-lbcore-explain"] == SECRET, "an ordinary header where it is not configured"


def test_answers_without_a_server_are_explained() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    services: dict[str, Any] = {
        "all": {"loadBalancer": {"servers": []}},
        "dead": {"loadBalancer": {"servers": [{"url": dead}]}},
        "fallen": {"failover": {"service": "down", "fallback": "down", "healthCheck": {}}},
        "down": {"loadBalancer": {"servers": [{"url": dead}], "healthCheck": {"path": "/", "startDown": True}}},
    }
    routers = {name: {"rule": f"PathPrefix(`/{name}`)", "service": name} for name in services}
    routers["away"] = {"rule": "PathPrefix(`/away`)", "service": "all", "middlewares": ["away"]}
    away = {"redirectScheme": {"scheme": "https"}}
    dynamic = {"http": {"routers": routers, "services": services, "middlewares": {"away": away}}}
    with edge(dynamic, static=STATIC) as lb:
        first, _, found = ask(lb, "/none")
        assert first.endswith("404 Not Found")
        assert "router" not in found and found["error"] == "no_router"
        assert sorted(entry["router"] for entry in found["before"]) == sorted(f"{name}@file" for name in routers)
        first, _, found = ask(lb, "/all")
        assert "503" in first and found["error"] == "no_server"
        assert found["services"] == [{"service": "all@file", "kind": "loadBalancer", "up": True, "members": []}]
        first, _, found = ask(lb, "/dead")
        assert "502" in first and found["server"] == dead and found["failed"] == [dead] and found["error"] == "refused"
        first, _, found = ask(lb, "/away")
        assert "302" in first or "301" in first
        assert found["middlewares"] == ["away@file"] and found["answeredBy"] == "away@file"
        first, _, found = eventually(
            lambda: answer if not (answer := ask(lb, "/fallen"))[2]["services"][0]["up"] else None, "it is down"
        )
        assert "503" in first
        assert found["services"][0]["members"] == [
            {"name": "down", "role": "main", "up": False},
            {"name": "down", "role": "fallback", "up": False},
        ]


def test_sessions_retries_fallbacks_and_mirrors_are_told() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("one", "two", "shadow") as (one, two, shadow):
        one.answer = lambda first, headers, body: (500, b"no")
        sticky = {"sticky": {"cookie": {"name": "s"}}}
        services: dict[str, Any] = {
            "all": {"weighted": {"services": [{"name": "safe"}]}},
            "safe": {"failover": {"service": "bad", "fallback": "good", "errors": {"status": ["500"]}}},
            "good": {"loadBalancer": {"servers": [{"url": dead}, {"url": two.url}], **sticky}},
        }
        dynamic = config(services | mirrored(("shadow", 100)), bad=one.url, shadow=shadow.url)
        dynamic["http"]["services"]["all"] = {"weighted": {"services": [{"name": "safe"}]}}
        dynamic["http"]["services"]["copied"] = mirrored(("shadow", 100))["all"]
        dynamic["http"]["services"]["copied"]["mirroring"]["service"] = "all"
        dynamic["http"]["routers"]["all"]["service"] = "copied"
        with edge(dynamic, static=STATIC) as lb:
            first, headers, found = ask(lb)
            assert first.startswith("HTTP/1.1 200")
            assert [(entry["service"], entry["chosen"]) for entry in found["services"]] == [
                ("copied@file", "all"),
                ("all@file", "safe"),
                ("safe@file", "good"),
                ("good@file", two.url),
            ]
            assert found["mirrors"] == ["shadow"]
            assert found["server"] == two.url
            assert found["failed"] == [dead] and found["retries"] == 1
            assert found["services"][-1]["session"] == "begun"
            cookie = headers["set-cookie"].partition(";")[0]
            _, _, found = ask(lb, "/x", f"Cookie: {cookie}")
            assert found["services"][-1]["session"] == "kept" and "retries" not in found
            eventually(lambda: len(shadow.requests) == 2, "copies have come")
            assert not any("x-lbcore-explain" in request[1] for request in shadow.requests)


def test_weights_that_are_overridden_and_members_that_are_down_are_marked() -> None:
    with recorders("one", "two") as (one, two):
        servers = [{"url": one.url, "weight": 3}, {"url": two.url, "weight": 1}]
        dynamic = config({"all": {"loadBalancer": {"servers": servers}}})
        with edge(dynamic, static=STATIC) as lb:
            slots = lb.proxy._publication.current.snapshot.slots.servers  # type: ignore[union-attr]
            lb.proxy._region.set_weight(slots[f"all@file|{two.url}"], 7)
            lb.proxy._region.set_up(slots[f"all@file|{one.url}"], False)
            _, _, found = ask(lb)
            assert found["services"][0]["members"] == [
                {"name": one.url, "weight": 0, "configured": 3, "up": False},
                {"name": two.url, "weight": 7, "configured": 1},
            ]


def test_a_long_story_is_cut_and_a_reload_is_followed() -> None:
    with recorders("one") as (one,):
        servers = [{"url": one.url}, *({"url": f"{one.url}/{'x' * 200}{n}", "weight": 0} for n in range(40))]
        dynamic = config({"all": {"loadBalancer": {"servers": servers}}})
        routers = dynamic["http"]["routers"]
        for number in range(50):
            routers[f"r{number}"] = {"rule": f"Host(`h{number}.{'y' * 60}.test`)", "service": "all"}
        with edge(dynamic, static=STATIC) as lb:
            first, headers, found = ask(lb)
            assert first.startswith("HTTP/1.1 200")
            assert len(headers["x-lbcore-explain"]) <= 4096
            assert found["shortened"] and found["server"] == one.url and found["router"] == "all@file"
            assert found["beforeUnnamed"] == 42
            lb.apply(config({"all": {"loadBalancer": {"servers": servers[:1]}}}))
            assert "before" not in ask(lb)[2]


def test_another_header_and_what_is_refused_in_the_configuration(tmp_path: Path) -> None:
    with recorders("one") as (one,):
        with edge(config({}, all=one.url), static={"explain": {"header": "X-Why", "secret": SECRET}}) as lb:
            _, headers, _ = lb.ask(f"GET / HTTP/1.1\r\nHost: a\r\nX-Why: {SECRET}\r\n\r\n".encode())
            assert json.loads(headers["x-why"])["server"] == one.url
    for wrong in ({}, {"secret": "short"}, {"secret": SECRET, "header": "Host"}, {"secret": "a" * 20 + "\n"},
                  {"secret": SECRET, "header": "X-Forwarded-For"}, {"secret": SECRET, "header": "X-A b"}):  # fmt: skip
        with pytest.raises(ValueError, match="explain"), edge({}, static={"explain": wrong}):
            pass
    file = tmp_path / "static.yml"
    file.write_text(f"entryPoints: {{web: {{address: ':0'}}}}\nlbcore: {{explain: {{secret: {SECRET}}}}}\n")
    done = run_command("check", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_connection_goes_on_without_a_story() -> None:
    with recorders("one") as (one,), edge(config({}, all=one.url), static=STATIC) as lb:
        with contextlib.closing(lb.client()) as client:
            for asked in (True, False, True, False):
                line = f"X-Lbcore-Explain: {SECRET}\r\n" if asked else ""
                headers = client.ask(f"GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n".encode())[1]
                assert ("x-lbcore-explain" in headers) == asked


@pytest.mark.parametrize(
    ("middleware", "status", "because"),
    [
        ({"inFlightReq": {"amount": 0}}, "429", "'shop.test' has 0 requests under way"),
        ({"basicAuth": {"users": ["a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="]}}, "401", "the request has no credentials"),
        ({"digestAuth": {"users": ["a:traefik:0"]}}, "401", "the request has no credentials"),
        ({"apiKey": {"keys": ["a:0123456789"]}}, "401", "the request has no credentials"),
        ({"jwtAuth": {"secret": "0123456789abcdef" * 4}}, "401", "there is no token"),
        ({"forwardAuth": {"address": "http://127.0.0.1:1/a?secret"}}, "500", "the answer of http://127.0.0.1:1/a, or"),
        ({"ipAllowList": {"sourceRange": ["::1"], "ipStrategy": {"depth": 1}}}, "403", "there is no address"),
    ],
)
@pytest.mark.parametrize("owner", ["routers", "services"])
def test_why_a_middleware_has_refused(middleware: dict[str, Any], status: str, because: str, owner: str) -> None:
    with recorders("one") as (one,):
        dynamic = config({}, all=one.url)
        dynamic["http"]["middlewares"] = {"guard": middleware}
        dynamic["http"][owner]["all"]["middlewares"] = ["guard"]
        with edge(dynamic, static=STATIC) as lb:
            first, _, found = ask(lb)
            assert first.split()[1] == status
            assert found["answeredBy"] == "guard@file"
            assert found["because"].startswith(because)


class Replacing:
    """Gives another answer on the way back, if the server's is of 404."""

    def on_response(self, request: Request, response: Response) -> Response | None:
        return Response(200, "found") if response.status == 404 else None


def view(lb: Edge, name: str) -> list[dict[str, Any]]:
    """What the API says of the state of a middleware."""
    request = f"GET /api/http/middlewares/{name}@file HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    with contextlib.closing(lb.client("traefik")) as client:
        found: list[dict[str, Any]] = json.loads(client.ask(request)[2]).get("state", [])
        return found


def test_each_middleware_has_its_verdict_and_its_state() -> None:
    limits = {
        "rate": {"rateLimit": {"average": 1, "period": "1h", "burst": 3}},
        "busy": {"inFlightReq": {"amount": 5}},
        "breaker": {"circuitBreaker": {"expression": FAILING, "checkPeriod": "1ms"}},
        "prefix": {"addPrefix": {"prefix": "/a"}},
        "all": {"chain": {"middlewares": ["rate", "busy", "one"]}},
    }
    static = {**STATIC, "api": {"insecure": True}}
    with recorders("one") as (one,):
        dynamic = config({}, all=one.url)
        dynamic["http"]["middlewares"] = limits
        dynamic["http"]["routers"]["all"]["middlewares"] = ["all"]
        dynamic["http"]["services"]["all"]["middlewares"] = ["breaker", "prefix"]
        with edge(dynamic, static=static, middlewares={"one": Replacing()}) as lb:
            assert view(lb, "rate") == [{"place": "all@file", "sources": 0, "empty": 0}]
            assert view(lb, "busy") == [{"place": "all@file", "inFlight": 0, "amount": 5, "sources": 0}]
            assert view(lb, "breaker") == [{"place": "all@file", "state": "standby"}]
            assert view(lb, "prefix") == []
            steps = ask(lb)[2]["steps"]
            assert steps[2]["state"].pop("slow") >= 0  # on a busy machine any call may be
            assert steps == [
                {
                    "middleware": "rate@file",
                    "verdict": "passed",
                    "state": {"left": 2.0, "burst": 3, "source": "127.0.0.1"},
                },
                {
                    "middleware": "busy@file",
                    "verdict": "passed",
                    "state": {"inFlight": 1, "amount": 5, "source": "shop.test"},
                },
                {
                    "middleware": "one@file",
                    "verdict": "passed",
                    "state": {"calls": 1, "waiting": 0, "failed": 0, "expired": 0},
                },
                {"middleware": "breaker@file", "verdict": "passed", "state": {"state": "standby"}},
                {"middleware": "prefix@file", "verdict": "passed"},
            ]
            one.answer = lambda *request: (404, b"")
            first, _, found = ask(lb)
            assert first.split()[1] == "200"
            assert [step["verdict"] for step in found["steps"]] == [
                "passed",
                "passed",
                "replaced the answer",
                "passed",
                "passed",
            ]
            one.answer = lambda *request: (500, b"")
            assert ask(lb)[0].split()[1] == "500"
            first, _, found = ask(lb)
            assert (first.split()[1], found["answeredBy"]) == ("429", "rate@file")
            assert [step["verdict"] for step in found["steps"]] == ["answered", "not reached", "not reached"]
            assert found["steps"][0]["state"]["left"] < 0.01
            assert view(lb, "rate") == [{"place": "all@file", "sources": 1, "empty": 0}]


def test_a_breaker_tells_that_it_is_open() -> None:
    breaker = {"expression": FAILING, "checkPeriod": "1ms", "fallbackDuration": "1h"}
    with recorders("one") as (one,):
        one.answer = lambda *request: (500, b"")
        dynamic = config({}, all=one.url)
        middlewares = {"breaker": {"circuitBreaker": breaker}, "after": {"addPrefix": {"prefix": "/a"}}}
        dynamic["http"]["middlewares"] = middlewares
        dynamic["http"]["services"]["all"]["middlewares"] = ["breaker", "after"]
        with edge(dynamic, static={**STATIC, "api": {"insecure": True}}) as lb:
            eventually(lambda: ask(lb)[0].split()[1] == "503", "it is open")
            step, after = ask(lb)[2]["steps"]
            assert (step["verdict"], step["state"]["state"], after["verdict"]) == ("answered", "tripped", "not reached")
            assert 3000 < step["state"]["seconds"] <= 3600
            (state,) = view(lb, "breaker")
            assert (state["place"], state["state"]) == ("all@file", "tripped")


def test_requests_under_way_are_told() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(*request: Any) -> tuple[int, bytes]:
        begun.set()
        go_on.wait(30)
        return 200, b""

    with recorders("one") as (one,):
        one.answer = answer
        dynamic = config({}, all=one.url)
        dynamic["http"]["middlewares"] = {"busy": {"inFlightReq": {"amount": 1}}}
        dynamic["http"]["routers"]["all"]["middlewares"] = ["busy"]
        with edge(dynamic, static={**STATIC, "api": {"insecure": True}}) as lb:
            client = lb.client()
            client.send(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
            assert begun.wait(30)
            assert view(lb, "busy") == [{"place": "all@file", "inFlight": 1, "amount": 1, "sources": 1}]
            (step,) = ask(lb)[2]["steps"]
            assert (step["verdict"], step["state"]["inFlight"]) == ("answered", 1)
            go_on.set()
            assert client.message()[0].startswith("HTTP/1.1 200")
            eventually(lambda: view(lb, "busy")[0]["inFlight"] == 0, "nothing is under way")
            with contextlib.closing(lb.client("traefik")) as other:
                # To count in front of thousands of routers takes seconds: lists, and the overview, do not.
                (listed,) = json.loads(other.ask(b"GET /api/http/middlewares HTTP/1.1\r\nHost: a\r\n\r\n")[2])
                assert listed["name"] == "busy@file" and "state" not in listed
