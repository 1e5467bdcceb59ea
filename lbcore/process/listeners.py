"""Listening sockets of the entry points, opened once by the supervisor and held as long as it accepts.

A TCP entry point has one socket per worker, in one SO_REUSEPORT group: the kernel distributes connections, and those
that arrive while a worker is being replaced wait in its socket. All workers share a Unix socket, and a socket that the
service manager has passed. An entry point of UDP has one socket per worker, too; one that was passed has one worker.

HTTP/3 has one UDP socket per worker, in one group: the kernel gives each packet to the worker whose number the
connection id in it begins with, also after the client's address has changed. So two processes cannot share that port:
the sockets of the one that comes later are bound when the other one has left it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import stat
import struct
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lbcore.errors import ConfigError, Problem

UDP_BUFFER_BYTES = 4 << 20  # of datagrams that wait to be read; the kernel lowers it to net.core.rmem_max
IP_PKTINFO = 8  # <linux/in.h>; the module `socket` does not name it
BACKLOG = 65535  # the kernel lowers it to net.core.somaxconn
KEEPALIVE_S = 180  # Go's listeners start probing an idle client after three minutes
QUIC_BUFFER_BYTES = 7 << 20  # what is asked for; the kernel gives as much as net.core.rmem_max and wmem_max allow
SO_ATTACH_REUSEPORT_CBPF = 51
_UNIX = re.compile(r"unix:(?://)?(?P<path>[^?]+)(?:\?mode=(?P<mode>[0-7]{3,4}))?")


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an entry point: `path` and file `mode` of a Unix socket, else `host` (empty = all) and `port`.
    `udp`: it is of UDP."""

    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    udp: bool = False

    @staticmethod
    def parse(text: str) -> Address:
        """Parse `[host]:port[/tcp|/udp]` or `unix:/path[?mode=0660]`. Raises ValueError with a text for users."""
        if unix := _UNIX.fullmatch(text):
            path = unix["path"]
            if not path.startswith("/"):
                raise ValueError(f"unix socket path {path!r} is not absolute")
            return Address(path=path, mode=int(unix["mode"] or "660", 8))
        if text.startswith("unix:"):
            raise ValueError("write unix:/path, or unix:/path?mode=0660 with an octal mode")
        rest, _, protocol = text.partition("/")
        if protocol not in ("", "tcp", "udp"):
            raise ValueError(f"protocol {protocol!r} is not supported")
        host, colon, port = rest.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
            raise ValueError(f"{text!r} has no port between 0 and 65535")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            raise ValueError(f"IPv6 address {host!r} must stand in brackets")
        return Address(host=host, port=int(port), udp=protocol == "udp")


@dataclass(slots=True)
class Listener:
    """The sockets of one entry point; worker `i` gets `sockets[i % len(sockets)]`, of UDP `sockets[i]` if any."""

    entry_point: str
    sockets: list[socket.socket]
    path: str = ""  # of the Unix socket file that lbcore has to remove
    passed: bool = False  # by the service manager
    identity: tuple[int, int] = (0, 0)  # device and inode of `path`
    quic: bool = False  # the UDP port of an entry point that also has TCP, for HTTP/3
    late: tuple[Any, ...] = ()  # of HTTP/3: the address that the sockets are still to be bound to

    def for_worker(self, index: int) -> socket.socket | None:
        """The socket that worker `index` accepts on; None: others receive the datagrams of this entry point."""
        if self.is_udp:
            return self.sockets[index] if index < len(self.sockets) else None
        return self.sockets[index % len(self.sockets)]

    @property
    def is_udp(self) -> bool:
        """Whether it receives datagrams."""
        return self.sockets[0].type == socket.SOCK_DGRAM

    @property
    def address(self) -> tuple[str, int] | str:
        """Host and port, or the path of a Unix socket, as bound."""
        name = self.late or self.sockets[0].getsockname()
        if isinstance(name, str):
            return name
        if isinstance(name, bytes):
            return name.decode(errors="backslashreplace")
        return name[0], name[1]

    @property
    def address_text(self) -> str:
        """`address` as text: `127.0.0.1:8000`, `[::]:8000`, `127.0.0.1:53/udp`, `unix:/run/lb.sock`."""
        address = self.address
        if isinstance(address, str):
            return f"unix:{address}"
        host, port = address
        text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return f"{text}/udp" if self.is_udp else text

    @property
    def url(self) -> str:
        """The URL of the entry point from this machine: `http://127.0.0.1:8000`, `unix:/run/lb.sock`."""
        address = self.address
        if isinstance(address, str):
            return f"unix:{address}"
        host = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(address[0], address[0])
        return f"http://[{host}]:{address[1]}" if ":" in host else f"http://{host}:{address[1]}"

    def bind_late(self) -> None:
        """Bind the sockets of HTTP/3, which workers may have already. Raises OSError, and may be called again then."""
        for sock in self.sockets:
            if sock.getsockname()[1] == 0:
                sock.bind(self.late)
            # As with TCP: the first one was bound without it, and finds whether the port is in use.
            for each in self.sockets:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if len(self.sockets) > 1:
            steer(self.sockets[0], len(self.sockets))
        self.late = ()

    def close(self) -> None:
        """Close the sockets of this process and remove the socket file, unless another process has replaced it."""
        for sock in self.sockets:
            sock.close()
        if self.path:
            with contextlib.suppress(OSError):
                if _file_identity(self.path) == self.identity:
                    os.unlink(self.path)


def open_listeners(
    addresses: Mapping[str, tuple[str, bool]],
    workers: int,
    passed: Mapping[str, list[socket.socket]],
    quic: Container[str] = (),
) -> list[Listener]:
    """Open all entry points, or none.

    addresses   by entry point: the address as configured, and whether other processes may share the port.
    passed      listening sockets of the service manager by name; each replaces the address of that entry point.
    quic        the entry points that also listen on the UDP port of the same number.

    Raises ConfigError with every entry point that cannot listen.
    """
    listeners: list[Listener] = []
    problems: list[Problem] = []
    for name, (text, shared) in addresses.items():
        try:
            is_passed = name in passed
            found = _adopt(name, text, passed[name]) if is_passed else _open(name, text, workers, shared)
            listeners.append(found)
            _refuse_twice(found, listeners[:-1])
        except (OSError, ValueError) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            problems.append(Problem(f"entryPoints.{name}.address", f"cannot listen on {text}: {reason}"))
            continue
        if name not in quic:
            continue
        try:
            found = _open_quic(listeners[-1], workers, shared)
            listeners.append(found)
            _refuse_twice(found, listeners[:-1])
        except (OSError, ValueError) as error:
            reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
            problems.append(Problem(f"entryPoints.{name}.http3", f"cannot listen on {text} for UDP: {reason}"))
    problems += [
        Problem(f"entryPoints.{name}", f"the service manager passed a socket named {name!r}, which is no entry point")
        for name in passed
        if name not in addresses
    ]
    if problems:
        for listener in listeners:
            listener.close()
        raise ConfigError(problems)
    return listeners


def _refuse_twice(found: Listener, others: Sequence[Listener]) -> None:
    """Raise ValueError if datagrams to a port would go to two entry points: `reusePort` keeps the kernel from that."""
    for other in others:
        if found.is_udp and other.is_udp and other.address == found.address:
            raise ValueError(f"entry point {other.entry_point} has this port of UDP{' for HTTP/3' * other.quic}")


def bound_addresses(listeners: Sequence[Listener]) -> dict[str, str]:
    """By name of an entry point: where it listens."""
    return {each.entry_point: each.address_text for each in listeners if not each.quic}


def _open(name: str, text: str, workers: int, shared: bool) -> Listener:
    address = Address.parse(text)
    if address.path:
        sock = _open_unix(address)
        return Listener(name, [sock], address.path, identity=_file_identity(address.path))
    return Listener(name, _open_group(address, workers, shared))


def _adopt(name: str, text: str, sockets: list[socket.socket]) -> Listener:
    if text.endswith("/udp"):
        for sock in sockets:
            if sock.type != socket.SOCK_DGRAM or sock.family not in (socket.AF_INET, socket.AF_INET6):
                raise ValueError("the socket that the service manager passed is not one of UDP")
            _set_udp_options(sock)
        return Listener(name, sockets, passed=True)
    for sock in sockets:
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ValueError("the socket that the service manager passed is not a listening stream socket")
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            _set_inherited_options(sock)
    return Listener(name, sockets, passed=True)


def _open_unix(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        _remove_stale(address.path)
        # The file has the right mode from its creation: no client can connect while the mode is too wide.
        before = os.umask(0o777 & ~address.mode)
        try:
            sock.bind(address.path)
        finally:
            os.umask(before)
        os.chmod(address.path, address.mode)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that has gone; where a process listens, bind fails.

    Raises OSError, ValueError for what is no socket: it stays.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ValueError("a file that is no socket stands there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def _file_identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _open_group(address: Address, workers: int, shared: bool) -> list[socket.socket]:
    """One socket per worker, all bound to one port; those of TCP listen when all are bound."""
    sockets: list[socket.socket] = []
    try:
        first = _bind_first(address, shared)
        sockets.append(first)
        # The first socket was bound without SO_REUSEPORT, so that a port of another process is an error, never shared.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(workers - 1):
            sockets.append(_bind(first.family, first.getsockname(), reuse_port=True, udp=address.udp))
        for sock in sockets:
            if not address.udp:
                sock.listen(BACKLOG)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _open_quic(listener: Listener, workers: int, shared: bool) -> Listener:
    """The UDP sockets beside the TCP sockets of an entry point; `shared`: they may be late."""
    name = listener.sockets[0].getsockname()
    family = listener.sockets[0].family
    if family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError("it has no port")
    sockets: list[socket.socket] = []
    found = Listener(listener.entry_point, sockets, quic=True, late=name)
    try:
        for _ in range(workers):
            sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
            sockets.append(sock)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUIC_BUFFER_BYTES)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, QUIC_BUFFER_BYTES)
        try:
            found.bind_late()
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not shared:
                raise
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return found


def steer(sock: socket.socket, workers: int) -> None:
    """Have the kernel give each packet of QUIC to the socket of its worker: the first two bytes of the connection id,
    modulo the number of workers, are its position in the group of `sock`. The id of a client's first packets is random.
    """
    load_byte, load_half, jump_if_bits, jump, modulo, result = 0x30, 0x28, 0x45, 0x05, 0x94, 0x16
    instructions = [
        (load_byte, 0, 0, 0),
        (jump_if_bits, 0, 2, 0x80),  # a long header has the id behind version and length
        (load_half, 0, 0, 6),
        (jump, 0, 0, 1),
        (load_half, 0, 0, 1),
        (modulo, 0, 0, workers),
        (result, 0, 0, 0),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


def _bind_first(address: Address, shared: bool) -> socket.socket:
    if not address.host:
        try:
            # Both families, as Go listens on ":8000".
            return _bind(socket.AF_INET6, ("::", address.port), shared, address.udp)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
        return _bind(socket.AF_INET, ("0.0.0.0", address.port), shared, address.udp)  # no IPv6 on this machine
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    kind = socket.SOCK_DGRAM if address.udp else socket.SOCK_STREAM
    found = socket.getaddrinfo(address.host, address.port, type=kind, flags=flags)
    family, _, _, _, name = next((info for info in found if info[0] == socket.AF_INET), found[0])
    return _bind(family, name, shared, address.udp)


def _bind(family: int, name: tuple[Any, ...], reuse_port: bool, udp: bool) -> socket.socket:
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if not udp:  # two sockets of UDP with this option may have the same port, and one of them gets nothing
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if udp:
            _set_udp_options(sock, any_address=name[0] in ("::", "0.0.0.0"))
        else:
            _set_inherited_options(sock)
        sock.bind(name)
    except BaseException:
        sock.close()
        raise
    return sock


def _set_udp_options(sock: socket.socket, any_address: bool | None = None) -> None:
    """Ask for a large queue, and for the address to which each datagram was sent where the socket has several: answers
    leave from that one. `any_address`: whether it has; None = ask the socket."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
    if any_address if any_address is not None else sock.getsockname()[0] in ("::", "0.0.0.0"):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


def _set_inherited_options(sock: socket.socket) -> None:
    """Set the options of accepted connections on the listener, from which Linux copies them: that saves the calls."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # TCP_DEFER_ACCEPT: accept returns a connection with its first bytes, or after about a second (tcp(7)), which saves
    # one wake-up.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
