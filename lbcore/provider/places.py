"""The address at which a container can be reached: ports, networks, and which of these is near. Sends nothing."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

INSIDE = ("host.docker.internal", "host.containers.internal")  # names of the host inside of a container


@dataclass(frozen=True, slots=True)
class Network:
    """A network of a container, and its address there."""

    name: str
    address: str
    prefix: int = 0


def networks_of(settings: Mapping[str, Any]) -> list[Network]:
    """The networks in `NetworkSettings`, by name. Of two addresses, that of IPv4."""
    found = []
    for name, network in sorted((settings.get("Networks") or {}).items()):
        network = network or {}
        if address := network.get("IPAddress"):
            found.append(Network(name, str(address), int(network.get("IPPrefixLen") or 0)))
        elif address := network.get("GlobalIPv6Address"):
            found.append(Network(name, str(address), int(network.get("GlobalIPv6PrefixLen") or 0)))
    return found


def choose(networks: list[Network], wanted: str) -> tuple[Network | None, bool]:
    """The network to use, and whether it is the wanted one, or none is wanted.

    Otherwise the first by name of those that this machine, or this container, belongs to; then the first of all.
    """
    for network in networks:
        if wanted and network.name == wanted:
            return network, True
    near = [network for network in networks if is_near(network)]
    return next(iter(near or networks), None), not wanted


def is_near(network: Network) -> bool:
    """Whether this machine has an address in the network: the one from which it would send."""
    if not network.prefix:
        return False
    try:
        within = ipaddress.ip_network(f"{network.address}/{network.prefix}", strict=False)
        family = socket.AF_INET if within.version == 4 else socket.AF_INET6
        # To connect a datagram socket chooses a route, and sends nothing.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((network.address, 9))
            return ipaddress.ip_address(probe.getsockname()[0]) in within
    except (OSError, ValueError):
        return False


def host_address() -> str:
    """The address of the host, whose network a container shares."""
    for name in INSIDE:
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:
            continue
        if found:
            return str(found[0][4][0])
    return "127.0.0.1"


def lowest_port(ports: Mapping[str, Any]) -> str:
    """The lowest port that a container exposes, of whatever protocol; empty: it exposes none."""
    numbers = [number for port in ports if (number := port.partition("/")[0]).isdigit()]
    return min(numbers, key=int, default="")


def binding_of(ports: Mapping[str, Any], port: str) -> tuple[str, str] | None:
    """Address and port of the host to which a port is bound; None: to none, or to all addresses."""
    for key, bindings in ports.items():
        number, _, protocol = key.partition("/")
        if number == port and protocol.lower() in ("tcp", "udp") and bindings:
            address, bound = str(bindings[0].get("HostIp") or ""), str(bindings[0].get("HostPort") or "")
            return (address, bound) if address not in ("", "0.0.0.0", "::") and bound else None
    return None
