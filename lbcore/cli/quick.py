"""The configuration of a load balancer in front of servers that the command line names: `lbcore run --to :8101`."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lbcore.config.dynamic import DynamicConfig
    from lbcore.config.static import StaticConfig
    from lbcore.errors import Problem

API = ("127.0.0.1", 8080)
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


def quick(
    servers: Sequence[str], address: str, flags: Sequence[str]
) -> tuple[StaticConfig, list[Problem], DynamicConfig]:
    """The static configuration, warnings about it, and the dynamic one. Raises ConfigError and UsageError.

    The API and the dashboard are on the loopback interface, on :8080, or on a free port where that is taken.
    """
    from lbcore.config.load import dynamic_of
    from lbcore.config.sources import from_flags

    layer, services = service_of(servers)
    rule = {"http": {"rule": "PathPrefix(`/`)"}, "tcp": {"rule": "HostSNI(`*`)"}, "udp": {}}[layer]
    dynamic: dict[str, Any] = {
        layer: {
            "routers": {"all": {**rule, "service": "servers", "entryPoints": ["web"]}},
            "services": {"servers": services},
        }
    }
    host, port = API if is_free(*API) else (API[0], 0)
    settled = [
        f"--entryPoints.web.address={listening(address)}{'/udp' if layer == 'udp' else ''}",
        f"--entryPoints.traefik.address={host}:{port}",
        "--api.insecure=true",
    ]
    static, warnings = from_flags([*settled, *flags])
    found = dynamic_of(dynamic)
    refuse_broken(found, static)
    return static, warnings, found


def refuse_broken(dynamic: DynamicConfig, static: StaticConfig) -> None:
    """Raise UsageError for servers that could not run: there is no file that could be mended meanwhile."""
    from lbcore.provider.merge import merge
    from lbcore.routing.compile import find_problems

    for entry in find_problems(merge({"command": dynamic}), static)[0]:
        if not entry.follows:
            raise click.UsageError(f"--to: {entry.errors[0]}")


def service_of(servers: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The layer, and the service that balances over the servers. Raises UsageError."""
    found: dict[str, list[dict[str, str]]] = {}
    for text in servers:
        layer, url = server_of(text)
        found.setdefault(layer, []).append({"url" if layer == "http" else "address": url})
    if len(found) > 1:
        raise click.UsageError("--to: all servers are of one kind: http, tcp, or udp")
    [(layer, entries)] = found.items()
    return layer, {"loadBalancer": {"servers": entries}}


def server_of(text: str) -> tuple[str, str]:
    """The layer and the address of a server: `:8101`, `host`, `host:80`, `https://host`, `tcp://host:5432`."""
    found = SCHEME.fullmatch(text)
    scheme, rest = (found[1].lower(), found[2]) if found else ("http", text)
    if scheme not in ("http", "https", "h2c", "tcp", "udp"):
        raise click.UsageError(f"--to {text}: no such kind of server: {scheme}; there are http, https, h2c, tcp, udp")
    rest = f"127.0.0.1{rest}" if rest.startswith(":") else rest
    if rest.isascii() and rest.isdigit():
        rest = f"127.0.0.1:{rest}"
    if not rest or any(char.isspace() for char in rest):
        raise click.UsageError(f"--to {text!r}: write a port, host:port, or a URL")
    if scheme in ("tcp", "udp"):
        if not re.fullmatch(r".+:\d{1,5}", rest):
            raise click.UsageError(f"--to {text}: a port is missing")
        return scheme, rest
    return "http", f"{scheme}://{rest}"


def listening(address: str) -> str:
    """`8000` is `:8000`."""
    return f":{address}" if address.isascii() and address.isdigit() else address


def is_free(host: str, port: int) -> bool:
    """Whether nothing listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
