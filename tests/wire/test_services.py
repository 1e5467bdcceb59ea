"""Sessions, middlewares of services, weights that change. Real sockets at every end."""

from __future__ import annotations

import re
import threading
from collections import Counter
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.ports import free_port
from tests.support.recorder import (
    GET,
    config,
    recorders,
    value,
)
from tests.support.wire import Edge, edge


def test_a_session_starts_with_a_cookie_and_stays_while_its_server_lives() -> None:
    cookie = {"name": "my cookie", "secure": True, "httpOnly": True, "sameSite": "none", "maxAge": 42, "path": "/p",
              "domain": ".d.test"}  # fmt: skip
    with recorders("a", "b", "c") as servers:
        urls = {server.name.decode(): server.url for server in servers}
        balancer = {"servers": [{"url": url} for url in urls.values()], "sticky": {"cookie": cookie}}
        with edge(config({"all": {"loadBalancer": balancer}})) as lb:
            _, headers, body = lb.ask(GET)
            session, _, attributes = headers["set-cookie"].partition("; ")
            assert session == f"my_cookie={value(urls[body.decode()])}"
            assert attributes == "Path=/p; Domain=d.test; Max-Age=42; HttpOnly; Secure; SameSite=None"
            request = b"GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; %s\r\n\r\n" % session.encode()
            for _ in range(10):
                _, headers, again = lb.ask(request)
                assert again == body
                assert "set-cookie" not in headers


def test_a_session_whose_server_cannot_be_reached_goes_on_elsewhere_with_a_new_cookie() -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with recorders("a") as (a,):
        balancer = {"servers": [{"url": dead}, {"url": a.url}], "sticky": {"cookie": {"name": "lb"}}}
        with edge(config({"all": {"loadBalancer": balancer}})) as lb:
            _, headers, body = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: lb=%s\r\n\r\n" % value(dead).encode())
            assert (body, headers["set-cookie"]) == (b"a", f"lb={value(a.url)}; Path=/")


def test_sessions_at_two_levels_set_two_cookies_the_outer_one_first() -> None:
    with recorders("a") as (a,):
        services = {
            "inner": {"loadBalancer": {"servers": [{"url": a.url}], "sticky": {"cookie": {"name": "in"}}}},
            "all": {"weighted": {"services": [{"name": "inner"}], "sticky": {"cookie": {"name": "out"}}}},
        }
        with edge(config(services)) as lb:
            client = lb.client()
            client.send(GET)
            lines = client.until(b"\r\n\r\n").decode().split("\r\n")
            cookies = [line for line in lines if line.startswith("Set-Cookie")]
            assert cookies == [f"Set-Cookie: out={value('inner')}; Path=/", f"Set-Cookie: in={value(a.url)}; Path=/"]


def test_signed_sessions_cannot_be_made_up_and_survive_a_change_of_keys() -> None:
    old, new = "an old key of some length", "a new key of some length"

    def signed(*keys: str) -> dict[str, Any]:
        sticky = {"cookie": {"name": "lb", "signed": {"keys": list(keys)}}}
        return config({"all": {"loadBalancer": {"servers": [{"url": a.url}, {"url": b.url}], "sticky": sticky}}})

    def ask(lb: Edge, cookie: str) -> tuple[str, str]:
        _, headers, body = lb.ask(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n" % cookie.encode())
        return body.decode(), headers.get("set-cookie", "").partition(";")[0]

    with recorders("a", "b") as (a, b), edge(signed(old)) as lb:
        sessions = [ask(lb, "none=1") for _ in range(4)]
        assert len({cookie for _, cookie in sessions}) == 4  # the same server never looks the same
        for name, cookie in sessions:
            assert ask(lb, cookie) == (name, "")
        assert Counter(ask(lb, f"lb={value(a.url)}")[0] for _ in range(4)) == {"a": 2, "b": 2}
        name, cookie = sessions[0]
        forged = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
        assert ask(lb, forged)[1] != ""
        lb.apply(signed(new, old))
        again, fresh = ask(lb, cookie)
        assert again == name
        assert fresh not in ("", cookie)
        lb.apply(signed(new))
        assert ask(lb, fresh) == (name, "")


def test_middlewares_of_a_service_run_once_wherever_it_is_reached() -> None:
    with recorders("a") as (a,):
        services = {
            "inner": {"loadBalancer": {"servers": [{"url": a.url}]}, "middlewares": ["strip", "tag"]},
            "all": {"weighted": {"services": [{"name": "inner"}]}, "middlewares": ["outer"]},
        }
        dynamic = config(services)
        dynamic["http"]["middlewares"] = {
            "strip": {"stripPrefix": {"prefixes": ["/x"]}},
            "tag": {"headers": {"customResponseHeaders": {"X-Tag": "inner", "X-Inner": "1"}}},
            "outer": {"headers": {"customResponseHeaders": {"X-Tag": "outer"}}},
            "away": {"redirectScheme": {"scheme": "https"}},
        }
        with edge(dynamic) as lb:
            _, headers, _ = lb.ask(b"GET /x/y HTTP/1.1\r\nHost: a\r\n\r\n")
            assert a.requests[0][0] == "GET /y HTTP/1.1"
            assert (headers["x-tag"], headers["x-inner"]) == ("outer", "1")
            services["inner"]["middlewares"] = ["away"]
            dynamic["http"]["services"] = services
            lb.apply(dynamic)
            first, headers, _ = lb.ask(b"GET /x/y HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (first.split()[1], headers["location"], headers["x-tag"]) == ("302", "https://a/x/y", "outer")


def test_weights_change_while_traffic_flows_without_a_failed_request() -> None:
    with recorders("old", "new") as (old, new):

        def canary(share: int) -> dict[str, Any]:
            children = [{"name": "old", "weight": 100 - share}, {"name": "new", "weight": share}]
            return config({"all": {"weighted": {"services": children}}}, old=old.url, new=new.url)

        with edge(canary(0)) as lb:
            failures: list[str] = []
            stop = threading.Event()

            def ask() -> None:
                client = lb.client()
                while not stop.is_set():
                    first = client.ask(GET)[0]
                    if " 200 " not in first:
                        failures.append(first)

            threads = [threading.Thread(target=ask) for _ in range(4)]
            for thread in threads:
                thread.start()
            for share in (1, 5, 10, 25, 50, 75, 100):
                lb.apply(canary(share))
                before = len(old.requests) + len(new.requests)
                eventually(lambda: len(old.requests) + len(new.requests) > before + 20, "clients go on")  # noqa: B023
            stop.set()
            for thread in threads:
                thread.join()
            assert failures == []
            new.requests.clear()
            lb.apply(canary(25))
            client = lb.client()
            for _ in range(100):
                client.ask(GET)
            assert len(new.requests) == 25


@pytest.mark.parametrize(("place", "cookies"), [("out", set()), ("in", {"out"}), ("", {"out", "in"})])
def test_who_is_refused_in_front_of_a_service_has_no_session_there(place: str, cookies: set[str]) -> None:
    """Of the services in front of the middleware that refuses, the client has one, as in Traefik."""
    with recorders("a") as (a,):
        services: dict[str, Any] = {
            "in": {"loadBalancer": {"servers": [{"url": a.url}], "sticky": {"cookie": {"name": "in"}}}},
            "out": {"weighted": {"services": [{"name": "in"}], "sticky": {"cookie": {"name": "out"}}}},
        }
        dynamic = config(services)
        dynamic["http"]["routers"]["all"]["service"] = "out"
        dynamic["http"]["middlewares"] = {
            "tells": {"headers": {"customResponseHeaders": {"X-Told": "1"}}},
            "closed": {"ipAllowList": {"sourceRange": ["192.0.2.1"]}},
        }
        services["out"]["middlewares"] = ["tells", *(["closed"] if place == "out" else [])]
        services["in"]["middlewares"] = ["tells", *(["closed"] if place == "in" else [])]
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(GET)
            head = client.until(b"\r\n\r\n").decode()
            assert head.split()[1] == ("403" if place else "200")
            assert set(re.findall(r"(?m)^Set-Cookie: (\w+)=", head)) == cookies
