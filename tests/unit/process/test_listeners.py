"""Listening sockets: one per worker in one group, exclusive unless asked, both families, Unix files, clear errors."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from lbcore.errors import ConfigError
from lbcore.process.listeners import Address, Listener, open_listeners
from tests.support.ports import free_port


def open_one(address: str, workers: int = 1, shared: bool = False) -> Listener:
    return open_listeners({"web": (address, shared)}, workers, {})[0]


def accepted(listener: Listener, worker: int) -> int:
    """Connections waiting in the socket of one worker, taken and closed."""
    count = 0
    while True:
        try:
            listener.for_worker(worker).accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8000", Address("", 8000)),
        (":8000/tcp", Address("", 8000)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:443", Address("::1", 443)),
        ("localhost:80", Address("localhost", 80)),
        ("unix:/run/lb.sock", Address(path="/run/lb.sock")),
        ("unix:///run/lb.sock?mode=0600", Address(path="/run/lb.sock", mode=0o600)),
    ],
)
def test_address_parse_reads_every_form(text: str, address: Address) -> None:
    assert Address.parse(text) == address


@pytest.mark.parametrize("text", ["", "8000", ":", ":70000", ":http", ":80/sctp", "::1:80", "unix:relative", "unix:"])
def test_address_parse_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        Address.parse(text)


@pytest.mark.parametrize("text", ["unix:/run/a?mode=0999", "unix:/run/a?mood=0600", "unix:/run/a?"])
def test_address_parse_says_how_a_unix_socket_is_written(text: str) -> None:
    with pytest.raises(ValueError, match=r"write unix:/path, or unix:/path\?mode=0660"):
        Address.parse(text)


def connected(address: Any) -> socket.socket:
    """A client that has sent its first byte: before that its connection may not be handed over."""
    client = socket.create_connection(address)
    client.sendall(b"x")
    return client


def test_listener_tcp_gives_each_worker_its_own_socket_on_one_port() -> None:
    listener = open_one("127.0.0.1:0", workers=4)
    try:
        assert len({listener.for_worker(i).fileno() for i in range(4)}) == 4
        assert len({sock.getsockname() for sock in listener.sockets}) == 1
        clients = [connected(listener.address) for _ in range(200)]
        shares = [accepted(listener, worker) for worker in range(4)]
        assert sum(shares) == 200
        assert min(shares) > 0
        for client in clients:
            client.close()
    finally:
        listener.close()


def test_listener_accepted_connection_has_the_options() -> None:
    listener = open_one("127.0.0.1:0")
    with connected(listener.address):
        connection, _ = listener.for_worker(0).accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 180
    listener.close()


def test_listener_without_host_takes_both_families() -> None:
    listener = open_one(":0", workers=2)
    port = listener.address[1]
    assert isinstance(port, int)
    for host in ("127.0.0.1", "::1"):
        socket.create_connection((host, port)).close()
    assert accepted(listener, 0) + accepted(listener, 1) == 2
    listener.close()


@pytest.mark.parametrize("ours_shared", [False, True])
def test_listener_port_of_another_listener_is_refused_unless_both_share(ours_shared: bool) -> None:
    first = open_one("127.0.0.1:0", workers=2, shared=True)
    host, port = first.address
    if ours_shared:
        second = open_one(f"{host}:{port}", workers=2, shared=True)
        second.close()
    else:
        with pytest.raises(ConfigError, match=rf"entryPoints\.web\.address: cannot listen on {host}:{port}: .*in use"):
            open_one(f"{host}:{port}", workers=2)
    first.close()


def test_listener_port_opened_exclusively_is_not_shared_later() -> None:
    first = open_one("127.0.0.1:0")
    _, port = first.address
    with pytest.raises(ConfigError, match="in use"):
        open_one(f":{port}")
    first.close()
    open_one(f"127.0.0.1:{port}").close()


def test_listeners_every_address_that_fails_is_named_and_none_stays_open() -> None:
    good = open_one("127.0.0.1:0")
    _, port = good.address
    good.close()
    addresses = {
        "web": (f"127.0.0.1:{port}", False),
        "far": ("192.0.2.1:80", False),
        "odd": ("nowhere", False),
        "udp": (":53/sctp", False),
    }
    with pytest.raises(ConfigError) as refused:
        open_listeners(addresses, 2, {})
    assert [problem.path for problem in refused.value.problems] == [
        "entryPoints.far.address",
        "entryPoints.odd.address",
        "entryPoints.udp.address",
    ]
    open_one(f"127.0.0.1:{port}").close()


def test_listener_unix_is_shared_has_its_mode_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    listener = open_one(f"unix:{path}?mode=0600", workers=3)
    assert listener.for_worker(0) is listener.for_worker(2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert listener.address == str(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert accepted(listener, 1) == 1
    listener.close()
    assert not path.exists()


def test_listener_unix_stale_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    open_one(f"unix:{path}").close()


def test_listener_unix_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    first = open_one(f"unix:{path}")
    with pytest.raises(ConfigError, match="in use"):
        open_one(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.close()


def test_listener_unix_ordinary_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="a file that is no socket stands there"):
        open_one(f"unix:{path}")
    assert path.read_text() == "precious"


def test_listener_close_leaves_the_file_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "lb.sock"
    first = open_one(f"unix:{path}")
    os.unlink(path)
    second = open_one(f"unix:{path}")
    first.close()
    assert path.exists()
    second.close()


def test_listener_passed_by_the_manager_replaces_the_address() -> None:
    passed = socket.create_server(("127.0.0.1", 0))
    (listener,) = open_listeners({"web": (":1", False)}, 3, {"web": [passed]})
    assert listener.passed
    assert listener.address == passed.getsockname()
    assert listener.for_worker(2) is passed
    listener.close()


def test_listener_passed_socket_of_no_entry_point_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed, pytest.raises(ConfigError, match="'wbe', which is no entry"):
        open_listeners({"web": ("127.0.0.1:0", False)}, 1, {"wbe": [passed]})


def test_listener_passed_datagram_socket_is_refused() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as passed,
        pytest.raises(ConfigError, match="not a listening"),
    ):
        open_listeners({"web": (":1", False)}, 1, {"web": [passed]})


def test_packets_of_quic_go_to_the_worker_that_their_connection_id_names() -> None:
    tcp, udp = open_listeners({"web": ("127.0.0.1:0", False)}, 3, {}, ["web"])
    try:
        assert udp.quic
        assert udp.address == tcp.address
        assert udp.address_text == f"{tcp.address_text}/udp"
        for number in range(60):
            ident = os.urandom(18)
            long = b"\xc0\0\0\0\1\x12" + ident + b"rest" if number % 2 else b"\x40" + ident + b"rest"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(long, udp.address)
            sock = udp.for_worker(int.from_bytes(ident[:2], "big") % 3)
            sock.settimeout(10)
            assert sock.recv(100) == long
    finally:
        tcp.close()
        udp.close()


def test_a_port_of_udp_that_is_in_use_is_said() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        with pytest.raises(ConfigError, match=r"web\.http3.*cannot listen on .* for UDP: address already in use"):
            open_listeners({"web": (f"127.0.0.1:{port}", False)}, 2, {}, ["web"])


def test_where_the_port_is_shared_one_of_udp_that_is_in_use_is_waited_for() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        port = free_port()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", port))
        tcp, udp = open_listeners({"web": (f"127.0.0.1:{port}", True)}, 2, {}, ["web"])
        try:
            assert udp.late
            assert udp.address_text == f"127.0.0.1:{port}/udp"
            with pytest.raises(OSError):
                udp.bind_late()
            taken.close()
            udp.bind_late()
            assert not udp.late
            assert {sock.getsockname()[1] for sock in udp.sockets} == {port}
        finally:
            tcp.close()
            udp.close()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("order", [("web", "udp"), ("udp", "web"), ("udp", "more")])
def test_two_entry_points_never_have_one_port_of_udp(order: tuple[str, str], shared: bool) -> None:
    """`reusePort` is for other processes: of two entry points, each would get a part of the datagrams, or none."""
    port = free_port()
    texts = {name: f"127.0.0.1:{port}{'' if name == 'web' else '/udp'}" for name in order}
    with pytest.raises(ConfigError) as refused:
        open_listeners({name: (text, shared) for name, text in texts.items()}, 2, {}, ["web"])
    for_http3 = " for HTTP/3" * (order[0] == "web")
    reason = f"entry point {order[0]} has this port of UDP{for_http3}" if shared else "address already in use"
    assert reason in str(refused.value)
    assert f"entryPoints.{order[1]}." in str(refused.value)
    # All that was opened has been closed.
    for listener in open_listeners({"web": (texts[order[0]].removesuffix("/udp"), False)}, 2, {}, ["web"]):
        listener.close()
    # The same number at another address is another port.
    texts[order[1]] = texts[order[1]].replace("127.0.0.1", "127.0.0.2")
    for listener in open_listeners({name: (text, shared) for name, text in texts.items()}, 2, {}, ["web"]):
        listener.close()
