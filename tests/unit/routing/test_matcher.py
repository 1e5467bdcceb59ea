"""Each matcher of the rule language, on request heads as they arrive."""

import subprocess
import sys
from pathlib import Path

import pytest

from lbcore.routing.matcher import compile_rule

SANITIZED = "libasan" in Path("/proc/self/maps").read_text()


def head(target: str = "/", host: str = "shop.test", *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("rule", "request_head", "matches"),
    [
        ("Host(`shop.test`)", head(host="SHOP.test:8080"), True),
        ("Host(`Shop.Test.`)", head(host="shop.test."), True),
        ("Host(`shop.test`)", head(host="www.shop.test"), False),
        ("Host(`*.test`)", head(host="shop.test"), True),
        ("Host(`*.test`)", head(host="a.shop.test"), False),
        ("Host(`*`)", head(host="any"), True),
        *(
            (f"Host(`{rule}`)", head(host=host), matches)
            for rule in ("2001:db8::1", "[2001:db8::1]", "2001:DB8::1")
            for host, matches in (
                ("[2001:db8::1]:8080", True),
                ("[2001:DB8::1]", True),
                ("[2001:db8::2]", False),
                ("2001", False),
            )
        ),
        ("HostRegexp(`^2001:db8::1$`)", head(host="[2001:db8::1]:80"), True),
        ("HostRegexp(`^s.op`)", head(host="SHOP.test:1"), True),
        ("HostRegexp(`^op`)", head(), False),
        ("Path(`/a`)", head("/a?x=1"), True),
        ("Path(`/a`)", head("/a/"), False),
        ("Path(`/x y`)", head("/x%20y"), True),
        ("Path(`/x%20y`)", head("/x%20y"), False),
        ("Path(`/café`)", head("/caf%C3%A9"), True),
        ("PathPrefix(`/foo`)", head("/foobar"), True),
        ("PathPrefix(`/foo`)", head("/a/../foo"), True),
        ("PathPrefix(`/admin`)", head("/%61dmin/x"), True),
        ("PathRegexp(`[0-9]+$`)", head("/item/42"), True),
        ("PathRegexp(`^[0-9]`)", head("/item/42"), False),
        ("Method(`get`)", head(), True),
        ("Method(`POST`)", head(), False),
        ("Header(`x-qa`, `1`)", head("/", "a", "X-QA: 1"), True),
        ("Header(`X-QA`, `1`)", head("/", "a", "X-QA: 2", "x-qa: 1"), True),
        ("Header(`X-QA`, `1`)", head("/", "a", "X-QA: 1, 2"), False),
        ("Header(`Host`, `a`)", head("/", "a"), False),
        ("HeaderRegexp(`host`, `.*`)", head("/", "a"), False),
        ("Header(`Transfer-Encoding`, `chunked`)", head("/", "a", "Transfer-Encoding: chunked"), False),
        ("Header(`Connection`, `close`)", head("/", "a", "Connection: close"), False),
        *(
            (rule, head("/", "a", f"Connection: {value}", "Upgrade: websocket"), True)
            for rule in ("Header(`Connection`, `Upgrade`)", "Header(`Upgrade`, `websocket`)")
            for value in ("Upgrade", "upgrade", "keep-alive, Upgrade")
        ),
        ("HeaderRegexp(`Cookie`, `canary=1`)", head("/", "a", "Cookie: a=b; canary=1"), True),
        ("Query(`v`, `2`)", head("/?v=1&v=2"), True),
        ("Query(`v`, `a b`)", head("/?v=a+b"), True),
        ("Query(`v`, `a b`)", head("/?%76=a%20b"), True),
        ("Query(`v`)", head("/?v"), True),
        ("Query(`v`)", head("/?v="), True),
        ("Query(`v`)", head("/?v=1"), False),
        ("Query(`v`, `1`)", head("/?v=%zz&v=1"), True),
        ("QueryRegexp(`v`, `^[0-9]+$`)", head("/?v=12"), True),
        ("QueryRegexp(`v`)", head("/?v=12"), False),
        ("!Host(`a`) && (Path(`/`) || Path(`/x`))", head(), True),
        ("Host(`a`) || Host(`b`) || Host(`shop.test`)", head(), True),
        ("!(Host(`a`) || Path(`/`))", head(), False),
    ],
)
def test_rule_on_a_request(rule: str, request_head: bytes, matches: bool) -> None:
    assert compile_rule(rule).matches(request_head) is matches


@pytest.mark.parametrize("given", ["%FF", "%C3", "%C0%AF", "%ED%A0%80", "%F5", "%C3%A9%FF%E2%82"])
@pytest.mark.parametrize(
    "rule",
    [
        "PathRegexp(`^/api/.*$`)",
        "PathRegexp(`^/api/[^/]+$`)",
        "PathRegexp(`^/api/\\x{FFFD}|é`)",
        "QueryRegexp(`q`, `^.+$`)",
    ],
)
def test_bytes_that_are_no_text_pass_by_no_regular_expression(rule: str, given: str) -> None:
    request = head(f"/api/{given}?q={given}")
    assert compile_rule(rule).matches(request)
    assert not compile_rule(f"!{rule}").matches(request)


def test_bytes_of_a_header_that_are_no_text_pass_by_no_regular_expression() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: a\xffb\r\n\r\n"
    assert compile_rule("HeaderRegexp(`X-A`, `^a.b$`)").matches(request)
    assert not compile_rule("HeaderRegexp(`X-A`, `^a..b$`)").matches(request)


def test_a_surrogate_is_three_bytes_that_are_no_text() -> None:
    assert compile_rule("PathRegexp(`^/...$`)").matches(head("/%ED%A0%80"))
    assert not compile_rule("PathRegexp(`^/.$`)").matches(head("/%ED%A0%80"))


@pytest.mark.parametrize(
    ("rule", "client", "matches"),
    [
        ("ClientIP(`10.0.0.0/8`)", "10.1.2.3", True),
        ("ClientIP(`10.0.0.0/9`)", "10.200.2.3", False),
        ("ClientIP(`10.1.2.3`)", "10.1.2.3", True),
        ("ClientIP(`10.1.2.3`)", "::ffff:10.1.2.3", True),
        ("ClientIP(`2001:db8::/33`)", "2001:db8::1", True),
        ("ClientIP(`2001:db8::/33`)", "2001:db8:8000::1", False),
        ("ClientIP(`0.0.0.0/0`)", "2001:db8::1", False),
        ("ClientIP(`::/0`)", "10.1.2.3", False),
        ("ClientIP(`::/1`)", "::ffff:10.1.2.3", False),
        ("ClientIP(`::/0`)", "2001:db8::1", True),
        ("ClientIP(`::ffff:0:0/96`)", "10.1.2.3", True),
        ("ClientIP(`::ffff:10.1.2.3`)", "10.1.2.3", True),
    ],
)
def test_client_ip_of_a_connection(rule: str, client: str, matches: bool) -> None:
    assert compile_rule(rule).matches(head(), client) is matches


def test_a_long_chain_compiles_and_runs() -> None:
    rule = " || ".join(f"Host(`h{n}.test`)" for n in range(3000))
    assert compile_rule(rule).matches(head(host="h2999.test"))
    assert not compile_rule(rule).matches(head(host="h3000.test"))


STARVED = """
import resource
from lbcore.config.rule import parse_rule
from lbcore.regex.regex import Regex
from lbcore.routing.index import RouteIndex

origins = Regex("^https")
index = RouteIndex([(parse_rule("!HeaderRegexp(`X-A`, `^a.b$`)"), "guarded"), (parse_rule("PathPrefix(`/`)"), "all")])
head = b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\nX-A: " + b"\\xff" * 900_000 + b"\\r\\n\\r\\n"
small = b"GET / HTTP/1.1\\r\\nHost: a.test\\r\\nX-A: a\\xffb\\r\\n\\r\\n"
origin = b"\\xff" * 900_000
index.route(small)
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20),) * 2)
for ask, text in ((index.route, head), (origins.matches, origin)):
    try:
        print(ask(text))
    except MemoryError as error:
        print(error)
    print(index.route(small))
"""


def test_an_expression_that_cannot_be_tried_for_want_of_memory_is_an_error_where_it_was_to_be_tried() -> None:
    if SANITIZED:
        return  # the sanitizers need more of the address space
    done = subprocess.run([sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=60)
    failed = "no memory for the text that a regular expression is to match"
    assert done.stdout.splitlines() == [failed, "all"] * 2, done.stderr
