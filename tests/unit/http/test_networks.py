"""Sets of networks, beside Python's own reading of addresses, and addresses as proxies write them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.http.networks import Networks, packed_ip

V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
MAPPED = st.integers(0, (1 << 32) - 1).map(lambda number: ipaddress.IPv6Address((0xFFFF << 32) + number))
NEAR = st.sampled_from(
    ["10.0.0.0", "10.0.0.255", "10.0.1.0", "9.255.255.255", "::", "::1", "2001:db8::", "ffff::"]
).map(ipaddress.ip_address)
ADDRESSES = V4 | V6 | MAPPED | NEAR


@st.composite
def networks(draw: st.DrawFn) -> str:
    address = draw(ADDRESSES)
    return f"{address}/{draw(st.integers(0, address.max_prefixlen))}"


def plain(address: Any) -> Any:
    """IPv4 where an address is one in the form of IPv6."""
    return (address.ipv4_mapped or address) if address.version == 6 else address


def holds(texts: list[str], address: Any) -> bool:
    """The slow way. A network of IPv6 that is wider than all of IPv4 has nothing of it."""
    for network in (ipaddress.ip_network(text, strict=False) for text in texts):
        if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
            network = ipaddress.ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
        if plain(address) in network:
            return True
    return False


@given(st.lists(networks(), max_size=8), st.lists(ADDRESSES, min_size=1, max_size=20))
def test_a_set_has_what_its_networks_have(texts: list[str], addresses: list[Any]) -> None:
    found = Networks(texts)
    for address in addresses:
        assert (str(address) in found) == holds(texts, address), (texts, address)


@given(networks())
def test_the_ends_of_a_network_are_in_it_and_their_neighbours_are_not(text: str) -> None:
    network = ipaddress.ip_network(text, strict=False)
    first, last = network.network_address, network.broadcast_address
    for number in (int(first) - 1, int(first), int(last), int(last) + 1):
        if 0 <= number < 1 << network.max_prefixlen:
            address = type(first)(number)
            assert (str(address) in Networks([text])) == holds([text], address)


def test_networks_that_touch_or_overlap_are_one_range() -> None:
    assert len(Networks(["10.0.0.0/9", "10.128.0.0/9", "10.1.2.3", "10.0.0.0/8"])) == 1
    assert len(Networks([f"10.{i}.0.0/16" for i in range(256)])) == 1
    assert len(Networks([f"10.{i}.0.0/16" for i in range(0, 256, 2)])) == 128


def test_everybody_and_nobody() -> None:
    assert "192.0.2.1" in Networks([], True)
    assert "192.0.2.1" not in Networks([])
    assert "::1" not in Networks(["0.0.0.0/0"])
    assert "192.0.2.1" not in Networks(["::/0"])
    assert "::ffff:192.0.2.1" in Networks(["192.0.2.1"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("192.0.2.1:8080", "::ffff:192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%eth0]:80", "fe80::1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("[192.0.2.1]:80", "::ffff:192.0.2.1"),
    ],
)
def test_addresses_as_text(text: str, address: str) -> None:
    assert packed_ip(text.encode()) == ipaddress.IPv6Address(address).packed


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"1.2.3",
        b"1.2.3.4.5",
        b"1.2.3.256",
        b"01.2.3.4",
        b"1.2.3.4 ",
        b" 1.2.3.4",
        b"0x1.2.3.4",
        b"localhost",
        b":::",
        b"[::1]",
        b"[::1",
        b"::1]",
        b"[]:80",
        b"fe80::1%",
        b"1.2.3.4%eth0",
        b"1.2.3.4\0",
        b"\0",
        b"1.2.3.4/32",
        b"unknown",
        b"_x",
        b"%",
        b"\xff",
        b":",
        b"::1:" + b"0" * 100,
        b"%" * 5000,
        b"[" * 5000,
    ],
)
def test_what_is_no_address(text: bytes) -> None:
    assert packed_ip(text) is None


@given(st.binary(max_size=70))
def test_any_bytes_are_read_as_python_reads_them_or_not_at_all(text: bytes) -> None:
    found = packed_ip(text)
    if found is not None:
        assert any(byte in b"0123456789abcdefABCDEF" for byte in text)
    try:
        address = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        return
    if b"%" not in text:
        assert found is not None
        assert plain(ipaddress.IPv6Address(found)) == plain(address)
