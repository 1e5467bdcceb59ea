"""Samples of single requests for those who watch them: what fits, and not more a second than each of them wants.

A worker shows a request when it has ended, and only while somebody watches (`Header.tapped_until_ns`). Its records go
through a ring to the supervisor: see `api.tap`. They have what the access log has by its settings, and no headers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from lbcore.config.static import AccessLog, StaticConfig
from lbcore.observability.ring import TAPS, LineWriter
from lbcore.state.region import Region

LONGEST_PATH = 2048  # letters, also of a query; what is beyond is cut off
LONGEST_TEXT = 255
MOST_NAMES = 4096  # of routers, services and servers of which is known whether they fit
# By key of a record: the field of the access log without which it is not shown, nor asked for.
FIELDS = {
    "client": "ClientHost",
    "method": "RequestMethod",
    "host": "RequestHost",
    "path": "RequestPath",
    "query": "RequestPath",
    "protocol": "RequestProtocol",
    "tls": "RequestScheme",
    "status": "DownstreamStatus",
    "entryPoint": "entryPointName",
    "router": "RouterName",
    "service": "ServiceName",
    "server": "ServiceURL",
    "ms": "Duration",
    "firstByteMs": "OriginDuration",
    "bytesIn": "RequestContentSize",
    "bytesOut": "DownstreamContentSize",
    "retries": "RetryAttempts",
}


def hidden_keys(static: StaticConfig) -> frozenset[str]:
    """The keys of FIELDS that are not shown. Queries are, only if there is an access log that keeps them."""
    fields = (static.access_log or AccessLog()).fields
    kept = {name.lower(): mode == "keep" for name, mode in fields.names.items()}
    hidden = {key for key, name in FIELDS.items() if not kept.get(name.lower(), fields.default_mode == "keep")}
    if static.access_log is None or fields.query_parameters.default_mode != "keep":
        hidden.add("query")
    return frozenset(hidden)


def is_named(name: str, wanted: str) -> bool:
    """Whether a router, service or server is the one that is wanted, which may lack its provider. The name of a router
    below others has theirs in front of it: `parent@file -> child@file`."""
    return any(wanted in (part, part.partition("@")[0]) for part in (name, *name.split(" -> ")))


class Watch:
    """What one who watches wants to see, as `api.tap` tells it. Empty: all.

    id        of the watch; never used twice.
    slot      of its cell in the region.
    router, service, server  names.
    statuses  first and last ones; 0: there was no answer.
    method    in capitals.
    path      the beginning of the path.
    client    a network.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.id = int(told["id"])
        self.slot = int(told["slot"])
        self.names = tuple((key, str(told[key])) for key in ("router", "service", "server") if told.get(key))
        self.statuses = tuple((int(first), int(last)) for first, last in told.get("statuses", ()))
        self.method = str(told.get("method", "")).encode()
        self.path = str(told.get("path", "")).encode()
        self.client: IPv4Network | IPv6Network | None = ip_network(told["client"]) if told.get("client") else None
        self._known: dict[tuple[str, str], bool] = {}

    def may_fit(self, status: int, names: Mapping[str, str | None]) -> bool:
        """Whether a request of that status and these names fits, as far as they decide."""
        if self.statuses and not any(first <= status <= last for first, last in self.statuses):
            return False
        return all(self._is_named(key, names[key], wanted) for key, wanted in self.names)

    def _is_named(self, key: str, name: str | None, wanted: str) -> bool:
        if name is None:
            return False
        found = self._known.get((key, name))
        if found is None:
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            found = self._known[key, name] = is_named(name, wanted)
        return found

    def fits(self, method: bytes, path: bytes, client: str) -> bool:
        """Whether a request fits about which `may_fit` has said that it may."""
        if self.method and method != self.method:
            return False
        if self.path and not path.startswith(self.path):
            return False
        if self.client is None:
            return True
        try:
            address = ip_address(client)
        except ValueError:  # none is known: a Unix socket
            return False
        return address.version == self.client.version and address in self.client


class Tap:
    """Shows the requests of one worker. `proxy.observation.show` calls it."""

    def __init__(self, static: StaticConfig, region: Region, worker: int) -> None:
        self._region = region
        self._lines = LineWriter(region, worker, TAPS)
        self._hidden = hidden_keys(static)
        self._watches: list[Watch] = []

    def follow(self, watches: Sequence[Mapping[str, Any]]) -> None:
        """Show what these want to see, and nothing else."""
        known = {watch.id: watch for watch in self._watches}
        self._watches = [known.get(int(told["id"])) or Watch(told) for told in watches]

    def wanted(self, status: int, router: str | None, service: str | None, server: str | None) -> list[Watch]:
        """Those that may want to see a request."""
        names = {"router": router, "service": service, "server": server}
        return [watch for watch in self._watches if watch.may_fit(status, names)]

    def put(
        self, watches: list[Watch], ended_ns: int, status: int, entry_point: str, router: str | None,
        service: str | None, server: str | None, method: bytes, host: bytes, path: bytes, query: bytes | None,
        forwarded: bytes, version: tuple[int, int], encrypted: bool, duration_ns: int, first_byte_ns: int,
        bytes_in: int, bytes_out: int, retries: int,
    ) -> None:  # fmt: skip
        """Show a request that has just ended to those of `watches` whom it fits, and who have not seen enough."""
        path = path.partition(b"?")[0]  # a head that was refused has its target as it came
        client = forwarded.decode("latin-1")
        first = client.partition(",")[0].strip()
        fitting = [watch for watch in watches if watch.fits(method, path, first)]
        taking = [watch.id for watch in fitting if self._region.take_tap(watch.slot)]
        if not taking:
            return
        record: dict[str, Any] = {
            "client": client[:LONGEST_TEXT],
            "method": _text(method, LONGEST_TEXT),
            "host": _text(host, LONGEST_TEXT),
            "path": _text(path, LONGEST_PATH),
            "query": _text(query, LONGEST_PATH) if query is not None else None,
            "protocol": f"HTTP/{version[0]}.{version[1]}" if version[0] == 1 else f"HTTP/{version[0]}",
            "tls": encrypted,
            "status": status,
            "entryPoint": entry_point,
            "router": router,
            "service": service,
            "server": server,
            "ms": round(duration_ns / 1e6, 3),
            "firstByteMs": round(first_byte_ns / 1e6, 3) if service and first_byte_ns else None,
            "bytesIn": bytes_in,
            "bytesOut": bytes_out,
            "retries": retries,
        }
        hidden = self._hidden
        shown = {key: value for key, value in record.items() if value is not None and key not in hidden}
        text = json.dumps({"time": time.time_ns() // 1_000_000, **shown}, separators=(",", ":"))
        self._lines.put(f"{','.join(map(str, taking))} {text}\n".encode(), ended_ns)


def _text(data: bytes, most: int) -> str:
    return data[:most].decode("utf-8", "replace")
