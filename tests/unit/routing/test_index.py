"""The route index gives exactly what trying every router in order gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lbcore.config.rule import And, Matcher, Not, Or, Rule, parse_rule
from lbcore.routing.index import RouteIndex
from lbcore.routing.matcher import Program

HOSTS = ["a.test", "b.test", "x.a.test", "*.a.test", "*", "A.Test."]
PATHS = ["/", "/a", "/a/b", "/ab", "/b", "/a/b/c"]

leaves = st.one_of(
    st.sampled_from(HOSTS).map(lambda host: Matcher("Host", (host,))),
    st.sampled_from(PATHS).map(lambda path: Matcher("Path", (path,))),
    st.sampled_from(PATHS).map(lambda path: Matcher("PathPrefix", (path,))),
    st.sampled_from(["GET", "post"]).map(lambda method: Matcher("Method", (method,))),
    st.just(Matcher("Header", ("X-A", "1"))),
    st.just(Matcher("PathRegexp", ("b$",))),
)
rules: st.SearchStrategy[Rule] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(Not),
        st.tuples(inner, inner).map(lambda two: And(*two)),
        st.tuples(inner, inner).map(lambda two: Or(*two)),
    ),
    max_leaves=6,
)
heads = st.builds(
    lambda method, path, host, header: f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n".encode(),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([*PATHS, "/abc", "/c"]),
    st.sampled_from(["a.test", "b.test:80", "x.a.test", "y.x.a.test", "A.TEST.", "other"]),
    st.sampled_from(["", "X-A: 1\r\n", "x-a: 2\r\n"]),
)


@settings(max_examples=400)
@given(st.lists(rules, max_size=8), st.lists(heads, min_size=1, max_size=5))
def test_index_equals_trying_every_router_in_order(some: list[Rule], requests: list[bytes]) -> None:
    index = RouteIndex([(rule, number) for number, rule in enumerate(some)])
    programs = [Program(rule) for rule in some]
    for head in requests:
        expected = next((number for number, program in enumerate(programs) if program.matches(head)), None)
        assert index.route(head) == expected


def test_index_with_many_routers_finds_each() -> None:
    routes = [(parse_rule(f"Host(`h{n % 100}.test`) && PathPrefix(`/p{n}/`)"), n) for n in range(5000)]
    index = RouteIndex(routes)
    for n in (0, 1, 99, 100, 4999):
        assert index.route(f"GET /p{n}/x HTTP/1.1\r\nHost: h{n % 100}.test\r\n\r\n".encode()) == n
        assert index.route(f"GET /p{n}/x HTTP/1.1\r\nHost: h{(n + 1) % 100}.test\r\n\r\n".encode()) is None


def test_index_with_more_prefix_lengths_than_it_looks_up_finds_each() -> None:
    index = RouteIndex([(parse_rule(f"PathPrefix(`/{'x' * n}/`)"), n) for n in range(1, 200)])
    for n in (1, 63, 64, 65, 199):
        assert index.route(f"GET /{'x' * n}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode()) == n


def test_index_without_routers_finds_none() -> None:
    assert RouteIndex([]).route(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") is None
