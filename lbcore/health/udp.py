"""The probe of a UDP server: a datagram, and the answer to it, or its refusal."""

from __future__ import annotations

import asyncio
import socket

from lbcore.config.network import split_host_port
from lbcore.config.udp import UdpHealthCheck
from lbcore.health.probe import Probe, ProbeError

PART = 0.9  # of the timeout, after which a server that has said nothing is judged: the rest is for the judgement
LONGEST_BYTES = 65535


def udp_probe_for(address: str, check: UdpHealthCheck) -> Probe:
    """The probe of the server at `address`. Raises ValueError for an unusable one."""
    host, port, _, _ = split_host_port(address)
    return lambda: _ask(host, check.port or port, check)


async def _ask(host: str, port: int, check: UdpHealthCheck) -> None:
    loop = asyncio.get_running_loop()
    wanted, answer = check.expect.encode(), b""
    limit_s = check.timeout.total_seconds() * PART
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol) as sock:
        sock.connect(target)
        sock.send(check.send.encode())
        try:
            async with asyncio.timeout(limit_s):
                answer = await loop.sock_recv(sock, LONGEST_BYTES)
                while not answer.startswith(wanted):
                    answer = await loop.sock_recv(sock, LONGEST_BYTES)
        except TimeoutError:
            if answer:
                text = f"unexpected health check response: {answer[:100]!r}, expected {wanted!r}"
                raise ProbeError(text) from None
            if wanted:
                raise ProbeError(f"no answer within {limit_s:g} s") from None
