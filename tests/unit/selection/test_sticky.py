"""Values that name servers."""

from __future__ import annotations

import pytest

from lbcore.selection import SmoothWRR, StickyCodec

SERVERS = [f"http://10.0.0.{number}:8080" for number in range(1, 9)]


def test_values_are_those_of_traefik() -> None:
    codec = StickyCodec(["http://127.0.0.1:8080", "app-v1"])
    assert codec.encode("http://127.0.0.1:8080") == "d30a576c03187167"
    for server in ("http://127.0.0.1:8080", "app-v1"):
        assert codec.decode(codec.encode(server)) == (server, False)
        assert codec.decode(codec.encode(server).encode()) == (server, False)
    assert codec.decode("app-v1") == ("app-v1", True)  # of former versions: the name itself, and two hashes of it
    assert codec.decode("24a85ff1c75ba83d")[0] in (None, "app-v1")
    for nothing in ("", "0" * 16, "d30a576c0318716", "ü", "x" * 10_000):
        assert codec.decode(nothing) == (None, True)


def test_signed_values_tell_nothing_and_cannot_be_made() -> None:
    codec = StickyCodec(SERVERS, keys=["secret"], context="session")
    values = {server: {codec.encode(server) for _ in range(20)} for server in SERVERS}
    plain = StickyCodec(SERVERS)
    for server, found in values.items():
        assert len(found) == 20
        assert all(codec.decode(value) == (server, False) for value in found)
        assert all(plain.encode(server) not in value for value in found)
        assert codec.decode(plain.encode(server)) == codec.decode(server) == (None, True)
    value = codec.encode(SERVERS[0])
    for place in range(len(value)):
        other = value[:place] + ("0" if value[place] != "0" else "1") + value[place + 1 :]
        assert codec.decode(other) == (None, True)
    assert StickyCodec(SERVERS, keys=["other"], context="session").decode(value) == (None, True)
    assert StickyCodec(SERVERS, keys=["secret"], context="other").decode(value) == (None, True)


def test_keys_change_one_after_the_other() -> None:
    old = StickyCodec(SERVERS, keys=["one"])
    both = StickyCodec(SERVERS, keys=["two", b"one"])
    new = StickyCodec(SERVERS, keys=["two"])
    value = old.encode(SERVERS[3])
    assert both.decode(value) == (SERVERS[3], True)
    assert new.decode(value) == (None, True)
    assert new.decode(both.encode(SERVERS[3])) == (SERVERS[3], False)


def test_servers_come_and_go() -> None:
    codec = StickyCodec(SmoothWRR({"a": 1, 7: 2, b"c": 3}))
    values = {server: codec.encode(server) for server in ("a", 7, b"c")}
    assert all(codec.decode(value) == (server, False) for server, value in values.items())
    codec.update([7, "d"])
    assert codec.decode(values[7]) == (7, False) and codec.decode(values["a"]) == (None, True)


def test_what_is_wrong_is_refused() -> None:
    for keys, error in (("secret", TypeError), ([""], ValueError)):
        with pytest.raises(error):
            StickyCodec(SERVERS, keys=keys)
    with pytest.raises(TypeError, match="__str__"):
        StickyCodec([object()])
