"""Asks the ping of an instance on this machine."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

from lbcore.process.listeners import Address
from lbcore.remote.unix import UnixConnection

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig

TIMEOUT_S = 5.0


class PingError(Exception):
    """The ping is not configured, or does not answer."""


def ask(static: StaticConfig) -> tuple[str, int, str]:
    """The URL of the ping, and what it answers: status and reason. Raises PingError. Waits for TIMEOUT_S at most."""
    if static.ping is None:
        raise PingError("please enable `ping` to use health check")
    point = static.entry_points.get(static.ping.entry_point)
    if point is None:
        raise PingError(f"ping: missing {static.ping.entry_point} entry point")
    try:
        address = Address.parse(point.address)
    except ValueError as error:
        raise PingError(str(error)) from error
    context = ssl._create_unverified_context() if point.http.tls is not None else None  # it asks itself
    connection: http.client.HTTPConnection
    if address.path:
        connection = UnixConnection(address.path, TIMEOUT_S)
        url = f"unix:{address.path}/ping"
    else:
        host = _reached_at(address)
        named = f"[{host}]" if ":" in host else host
        url = f"{'https' if context else 'http'}://{named}:{address.port}/ping"
        if context is not None:
            connection = http.client.HTTPSConnection(host, address.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = http.client.HTTPConnection(host, address.port, timeout=TIMEOUT_S)
    try:
        connection.request("HEAD", "/ping")
        answer = connection.getresponse()
        return url, answer.status, answer.reason
    except (OSError, http.client.HTTPException) as error:
        raise PingError(str(error)) from error
    finally:
        connection.close()


def accepts(static: StaticConfig) -> str:
    """The name of an entry point that accepts connections, if any has to. Raises PingError."""
    for name, point in static.entry_points.items():
        try:
            address = Address.parse(point.address)
            if point.is_udp or not (address.path or address.port):
                continue
            with socket.socket(socket.AF_UNIX) if address.path else socket.socket(_family(address)) as client:
                client.settimeout(TIMEOUT_S)
                client.connect(address.path or (_reached_at(address), address.port))
        except (OSError, ValueError) as error:
            raise PingError(f"entry point {name}: {error}") from error
        return name
    return ""


def _reached_at(address: Address) -> str:
    """The host by which this machine reaches itself."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)


def _family(address: Address) -> int:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET
