"""Routers below routers: requests wait on every level, answers pass all of them, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.instance import eventually
from tests.support.native import with_steps
from tests.support.recorder import GET, Recorder, config, recorders
from tests.support.wire import Edge, edge
from tests.wire.test_waiting import Steps, asks, held, idle, in_loop, sent


@pytest.fixture(name="known")
def known_steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    return with_steps(monkeypatch)


@pytest.fixture(name="server")
def one_server() -> Iterator[Recorder]:
    with recorders("a") as (a,):
        yield a


def tree(url: str, middlewares: dict[str, Any] | None = None, above: list[str] | None = None) -> dict[str, Any]:
    """`all` with the middleware `one`, `below` for /a with `two`, and `beside` for /b; nothing for other paths."""
    dynamic = config({}, all=url)
    routers = dynamic["http"]["routers"]
    service = routers["all"].pop("service")
    routers["all"]["middlewares"] = above or ["one"]
    routers["below"] = {
        "rule": "PathPrefix(`/a`)", "parentRefs": ["all"], "service": service, "middlewares": ["two"],
    }  # fmt: skip
    routers["beside"] = {"rule": "PathPrefix(`/b`)", "parentRefs": ["all"], "service": service}
    dynamic["http"]["middlewares"] = middlewares or {n: {"addPrefix": {"prefix": "/x"}} for n in ("one", "two")}
    return dynamic


def to(path: str, wish: str = "") -> bytes:
    method, _, rest = GET.split(b" ", 2)
    request = b" ".join((method, path.encode(), rest))
    return asks(wish, request) if wish else request


def test_a_request_waits_on_each_level(known: Steps, server: Recorder) -> None:
    with edge(tree(server.url)) as lb:
        client = sent(lb, to("/a", "one=wait, two=wait"))
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        held(lb, known["two"], 1)
        assert not server.requests
        in_loop(lb, known["two"].release)
        first, headers, text = client.message()
        assert (first.split()[1], text) == ("200", b"a")
        assert (headers["x-one"], headers["x-two"]) == ("2", "2")
        assert (server.requests[0][1]["x-one"], server.requests[0][1]["x-two"]) == ("passed", "passed")
        idle(lb, server)
        eventually(lambda: known["one"].statuses == known["two"].statuses == [200], "both are told the end")


def test_an_answer_may_wait_on_each_level(known: Steps, server: Recorder) -> None:
    with edge(tree(server.url)) as lb:
        client = sent(lb, to("/a", "one=back-wait, two=back-late-answer"))
        held(lb, known["two"], 1)
        in_loop(lb, known["two"].release)
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        first, headers, text = client.message()
        assert (first.split()[1], headers["x-one"], text) == ("418", "3", b"another")
        idle(lb, server)


def test_what_no_child_takes_is_answered_through_the_parent(known: Steps, server: Recorder) -> None:
    with edge(tree(server.url)) as lb:
        first, headers, text = lb.ask(to("/c"))
        assert (first.split()[1], headers["x-one"], text) == ("404", "1", b"404 page not found\n")
        assert "x-two" not in headers
        client = sent(lb, to("/c", "one=wait"))
        held(lb, known["one"], 1)
        in_loop(lb, known["one"].release)
        assert client.message()[0].split()[1] == "404"
        assert client.ask(to("/b"))[2] == b"a"
        eventually(lambda: known["one"].statuses == [404, 404, 200], "the parent is told the end")
        assert known["two"].statuses == []


def test_a_client_that_goes_away_ends_the_wait_below(known: Steps, server: Recorder) -> None:
    with edge(tree(server.url)) as lb:
        client = sent(lb, to("/a", "two=wait"))
        held(lb, known["two"], 1)
        client.close()
        eventually(lambda: known["two"].cancelled == 1, "the wait is ended")
        eventually(lambda: known["one"].statuses == known["two"].statuses == [499], "both are told the end")
        assert not server.requests
        assert lb.ask(to("/a"))[2] == b"a"


def test_a_request_follows_the_tree_it_came_by(known: Steps, server: Recorder) -> None:
    with recorders("b") as (b,), edge(tree(server.url)) as lb:
        client = sent(lb, to("/a", "one=wait"))
        held(lb, known["one"], 1)
        lb.apply(config({}, all=b.url))
        assert lb.ask(to("/a"))[2] == b"b"
        in_loop(lb, known["one"].release)
        assert client.message()[2] == b"a"
        assert client.ask(to("/a"))[2] == b"b"


def test_a_limit_of_the_parent_holds_over_its_children(known: Steps, server: Recorder) -> None:
    limited = {"limit": {"inFlightReq": {"amount": 1}}, "two": {"addPrefix": {"prefix": "/x"}}}
    with edge(tree(server.url, limited, ["limit"])) as lb:

        def limit() -> str:
            return lb.ask(to("/b"))[0].split()[1]

        client = sent(lb, to("/a", "two=wait"))
        held(lb, known["two"], 1)
        assert limit() == "429"
        in_loop(lb, known["two"].release)
        assert client.message()[2] == b"a"
        eventually(lambda: limit() == "200", "what was held is given back")


def paths_of(lb: Edge, path: str) -> str:
    return lb.ask(to(path))[0].split()[1]


def test_children_see_the_path_as_it_was_left(server: Recorder) -> None:
    middlewares = {
        "one": {"stripPrefix": {"prefixes": ["/s"]}},
        "two": {"addPrefix": {"prefix": "/p"}},
    }
    dynamic = tree(server.url, middlewares)
    routers = dynamic["http"]["routers"]
    routers["words"] = {"rule": "Path(`/two words`)", "parentRefs": ["all"], "service": "all"}
    routers["deeper"] = {"rule": "PathPrefix(`/d`)", "parentRefs": ["all"], "middlewares": ["three"]}
    routers["deepest"] = {"rule": "Path(`/q/d/é`)", "parentRefs": ["deeper"], "service": "all"}
    middlewares["three"] = {"addPrefix": {"prefix": "/q"}}
    with edge(dynamic) as lb:
        assert [paths_of(lb, path) for path in ("/s/a", "/a", "/s/two%20words", "/s", "/s/c")] == [
            "200", "200", "200", "404", "404",
        ]  # fmt: skip
        assert paths_of(lb, "/s/d/%C3%A9") == paths_of(lb, "/d/%C3%A9") == "200"
        assert paths_of(lb, "/q/d/%C3%A9") == "404"
        assert [first.split()[1] for first, _, _ in server.requests] == [
            "/p/a", "/p/a", "/two%20words", "/q/d/%C3%A9", "/q/d/%C3%A9",
        ]  # fmt: skip
