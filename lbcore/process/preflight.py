"""Checks before the first worker starts: a problem that would stop every worker becomes one line."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lines import split_place
from lbcore.config.spiffe import NOT_CONFIGURED
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError, Problem, message_of, system_message_of
from lbcore.http3.library import why_not
from lbcore.process.listeners import Address
from lbcore.process.snapshot import Publisher
from lbcore.process.ticket_keys import ticket_key_problems
from lbcore.process.worker import make_plane
from lbcore.provider.registry import provider_problems
from lbcore.routing.compile_own import own_routers
from lbcore.state.region import Region

ADMIN_STANDS_IN = "unix:/"


def check_start(static: StaticConfig) -> None:
    """Make the data plane of a worker once, without configuration and listeners, and close it again.

    Raises ConfigError for what would stop every worker: a log that cannot be opened, settings that cannot be used.
    Creates the files of logs, as a worker does.
    """
    of_tls = [*_identity(static), *ticket_key_problems(static.tls.ticket_keys)]
    problems = [*_addresses(static), *provider_problems(static), *of_tls, *_telemetry(static), *_fleet(static)]
    if problems:
        raise ConfigError([static.located(problem) for problem in problems])
    asyncio.run(_make(static))


def start_problems(static: StaticConfig) -> list[Problem]:
    """The problems that `check_start` would raise, except those of logs. Creates no file."""
    try:
        check_start(static.model_copy(update={"access_log": None}))
    except ConfigError as error:
        return list(error.problems)
    return []


def _addresses(static: StaticConfig) -> list[Problem]:
    problems = []
    taken: dict[Address, tuple[str, bool]] = {}
    for name, point in static.entry_points.items():
        try:
            address = Address.parse(point.address)
            other, shared = taken.setdefault(replace(address, mode=0), (name, point.reuse_port))
            is_fixed = bool(address.port or address.path) and "LISTEN_FDS" not in os.environ  # sockets that are passed
            if other != name and is_fixed and not (shared and point.reuse_port):
                raise ValueError(f"entry point {other} listens there")
        except ValueError as error:
            text = f"cannot listen on {point.address}: {error}"
            problems.append(Problem(f"entryPoints.{name}.address", text, "", *split_place(point.place)))
        if point.http3 is not None and (reason := why_not()):
            problems.append(Problem(f"entryPoints.{name}.http3", reason, "", *split_place(point.place)))
    return problems


def _identity(static: StaticConfig) -> list[Problem]:
    if static.spiffe is not None:
        from lbcore.spiffe.agent import problems_of

        return problems_of(static.spiffe)
    tcp = static.tcp_servers_transport.tls
    trusts = {"serversTransport": static.servers_transport, "tcpServersTransport.tls": tcp}
    names = [name for name, trust in trusts.items() if trust is not None and trust.needs_identity]
    return [Problem(f"{name}.spiffe", NOT_CONFIGURED) for name in names]


def _telemetry(static: StaticConfig) -> list[Problem]:
    if not static.has_telemetry:
        return []
    from lbcore.telemetry.agent import telemetry_problems

    return telemetry_problems(static)


async def _make(static: StaticConfig) -> None:
    own = own_routers(static)
    region = Region.create(1, services=len(own) + 8, servers=8)
    try:
        plane = make_plane(asyncio.get_running_loop(), static, region, 0, ADMIN_STANDS_IN)
        try:
            slots = Publisher(region, ADMIN_STANDS_IN, own).publish(DynamicConfig()).slots
            plane.commit(plane.prepare(DynamicConfig(), slots))
        finally:
            plane.close()
    except OSError as error:
        what = f"cannot open {error.filename}" if error.filename else "cannot start"
        raise ConfigError([Problem("", f"{what}: {system_message_of(error)}")]) from error
    except Exception as error:
        reason = message_of(error)
        raise ConfigError([Problem("", f"the static configuration cannot run: {reason}")]) from error


def _fleet(static: StaticConfig) -> list[Problem]:
    """Why a fleet cannot be used, without loading its modules if there is none."""
    if static.fleet is None:
        return []
    from lbcore.fleet.agent import fleet_problems

    return fleet_problems(static.fleet)
