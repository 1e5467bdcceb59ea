"""What `hedging` reaches, and where it does nothing. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from lbcore.config.difference import Key, Users, qualify
from lbcore.config.dynamic import HttpConfig, LoadBalancer, Service
from lbcore.config.report import SHOWN
from lbcore.config.resolved import routers_of_points
from lbcore.config.static import StaticConfig

STAYS = "requests of sticky services stay with their server"
ALONE = "no service behind it has a second server"


def without_effect(name: str, http: HttpConfig, static: StaticConfig, users: Users) -> str:
    """Of a `retry` with `hedging`: where that does nothing, and why. Empty: nowhere, or no request passes it."""
    reached = list(_balancers_behind(name, http, static, users))
    sticky = [each for each, balancer in reached if balancer.sticky is not None]
    single = [each for each, balancer in reached if len(balancer.sited) < 2]
    if reached and len({*sticky, *single}) == len(reached):
        return f"hedging has no effect: {_reason(len(sticky), len(reached))}"
    if not sticky:
        return ""
    plain = sorted(each.rpartition("@")[0] or each for each in sticky)
    more = f" and {len(plain) - SHOWN} more" if len(plain) > SHOWN else ""
    many = "services" if len(plain) > 1 else "service"
    return f"hedging has no effect for the {many} {', '.join(plain[:SHOWN])}{more}: {STAYS}"


def _reason(sticky: int, all_of_them: int) -> str:
    if not sticky:
        return ALONE
    return STAYS if sticky == all_of_them else f"{STAYS}, and no other service behind it has a second server"


def _balancers_behind(
    name: str, http: HttpConfig, static: StaticConfig, users: Users
) -> Iterator[tuple[str, LoadBalancer]]:
    """The load balancers whose requests may have passed a middleware."""
    ahead: list[Key] = [("middleware", name)]
    seen: set[Key] = set()
    while ahead:
        key = ahead.pop()
        if key in seen:
            continue
        seen.add(key)
        kind, each = key
        if kind == "middleware":
            ahead += users.of["middleware"].get(each, ())
            ahead += [("router", router) for router in routers_of_points(each, http, static)]
        elif kind == "router" and each in http.routers:
            ahead += users.of["router"].get(each, ())  # those below it
            if http.routers[each].service:
                ahead.append(("service", qualify(http.routers[each].service, each)))
        elif kind == "service" and each in http.services:
            service = http.services[each]
            ahead += [("service", qualify(child, each)) for child in _asked(service)]
            if service.load_balancer is not None and not service.faults:
                yield each, service.load_balancer


def _asked(service: Service) -> list[str]:
    """The services that may answer its requests; mirrors get copies, which no client waits for."""
    return service.children if service.mirroring is None else [service.mirroring.service]
