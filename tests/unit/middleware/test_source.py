"""What requests count as coming from: addresses of connections and of X-Forwarded-For, headers, hosts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.middlewares.source import SourceCriterion
from lbcore.http.request import Request
from lbcore.middleware.source import Source


def source_of(criterion: dict[str, Any] | None, *lines: str, host: str = "a.test", default: str = "address") -> str:
    request = Request()
    head = "".join(f"{line}\r\n" for line in (f"GET / HTTP/1.1\r\nHost: {host}", *lines, ""))
    assert request.parse_bytes(head.encode()) > 0
    request.come_from("192.0.2.1")
    config = None if criterion is None else SourceCriterion.model_validate(criterion)
    return Source(config, default).name_of(request).decode()


@pytest.mark.parametrize("criterion", [None, {}, {"ipStrategy": {}}, {"ipStrategy": {"ipv6Subnet": 64}}])
def test_the_address_of_the_connection(criterion: dict[str, Any] | None) -> None:
    assert source_of(criterion, "X-Forwarded-For: 10.0.0.1") == "192.0.2.1"


@pytest.mark.parametrize(
    ("depth", "lines", "found"),
    [
        (1, ["10.0.0.1, 10.0.0.2"], "10.0.0.2"),
        (2, ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (3, ["10.0.0.1, 10.0.0.2"], ""),
        (1, [], ""),
        (1, [""], ""),
        (1, ["10.0.0.1,"], ""),
        (2, ["10.0.0.1,"], "10.0.0.1"),
        (2, ["10.0.0.1", "10.0.0.2"], "10.0.0.1"),
        (3, ["10.0.0.1", "10.0.0.2, 10.0.0.3"], "10.0.0.1"),
        (1, ["10.0.0.1", " 2001:DB8::5 "], "2001:db8::5"),
        (1, ["10.0.0.1:4711"], "10.0.0.1"),
        (1, ["not an address"], "not an address"),
    ],
)
def test_so_many_from_the_right(depth: int, lines: list[str], found: str) -> None:
    assert source_of({"ipStrategy": {"depth": depth}}, *(f"X-Forwarded-For: {line}" for line in lines)) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("203.0.113.9, 10.0.0.1", "203.0.113.9"),
        ("203.0.113.9, 198.51.100.2, 10.0.0.1, 10.0.0.2", "198.51.100.2"),
        ("203.0.113.9,,10.0.0.1", "203.0.113.9"),
        ("10.0.0.1", ""),
        ("203.0.113.9, junk, 10.0.0.1", "junk"),
    ],
)
def test_the_first_that_is_not_excluded(line: str, found: str) -> None:
    assert source_of({"ipStrategy": {"excludedIPs": ["10.0.0.0/8"]}}, f"X-Forwarded-For: {line}") == found


@pytest.mark.parametrize(("bits", "found"), [(64, "2001:db8:1:2::"), (50, "2001:db8:1::"), (128, "2001:db8:1:2:3::4")])
def test_networks_of_ipv6(bits: int, found: str) -> None:
    strategy = {"ipStrategy": {"depth": 1, "ipv6Subnet": bits}}
    assert source_of(strategy, "X-Forwarded-For: 2001:db8:1:2:3::4") == found
    assert source_of(strategy, "X-Forwarded-For: 10.1.2.3") == "10.1.2.3"


def test_headers_and_hosts() -> None:
    assert source_of({"requestHeaderName": "X-Key"}, "x-key: one", "X-KEY: two") == "one"
    assert source_of({"requestHeaderName": "X-Key"}) == ""
    assert source_of({"requestHost": True}, host="Shop.Test:8080") == "shop.test"
    assert source_of(None, host="Shop.Test", default="host") == "shop.test"
    assert source_of({}, host="Shop.Test", default="host") == "shop.test"


@pytest.mark.parametrize(
    ("criterion", "text"),
    [
        ({"ipStrategy": {}, "requestHost": True}, "iPStrategy and RequestHost are mutually exclusive"),
        ({"ipStrategy": {}, "requestHeaderName": "A"}, "iPStrategy and RequestHeaderName are mutually exclusive"),
        ({"requestHost": True, "requestHeaderName": "A"}, "requestHost and RequestHeaderName are mutually exclusive"),
    ],
)
def test_one_criterion_at_most(criterion: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        source_of(criterion)


@pytest.mark.parametrize("bits", [0, -1, 129])
def test_bits_that_ipv6_does_not_have(bits: int) -> None:
    with pytest.raises(ValueError, match=f"invalid IPv6 subnet {bits}"):
        source_of({"ipStrategy": {"ipv6Subnet": bits}})


ENTRIES = st.sampled_from(
    ["10.0.0.1", "203.0.113.9", "2001:db8::5", "junk", "", " ", "10.0.0.2:80", "[2001:db8::6]:1", ":", "%", "\t"]
)


@given(st.lists(st.lists(ENTRIES, max_size=5).map(",".join), max_size=4), st.integers(1, 8))
def test_entries_over_lines_as_a_list_has_them(lines: list[str], depth: int) -> None:
    entries = [entry.strip(" \t") for line in lines for entry in line.split(",")]
    found = source_of({"ipStrategy": {"depth": depth}}, *(f"X-Forwarded-For: {line}" for line in lines))
    assert found == (address_of(entries[-depth]) if depth <= len(entries) else "")
    found = source_of({"ipStrategy": {"excludedIPs": ["10.0.0.0/8"]}}, *(f"X-Forwarded-For: {line}" for line in lines))
    left = [entry for entry in entries if entry and not address_of(entry).startswith("10.")]
    assert found == (address_of(left[-1]) if left else "")


def address_of(entry: str) -> str:
    """Without its port."""
    return {"10.0.0.2:80": "10.0.0.2", "[2001:db8::6]:1": "2001:db8::6"}.get(entry, entry)
