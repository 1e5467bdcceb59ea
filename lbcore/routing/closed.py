"""Routers that cannot run, and whose requests others must not take in their place: these may have no middlewares that
refuse clients, or other TLS options, which ask for no certificates.

They keep their place, and answer themselves.
"""

from __future__ import annotations

from lbcore.config.claims import rule_claimed
from lbcore.config.routers import Router
from lbcore.config.rule import hosts_in
from lbcore.config.static import StaticConfig
from lbcore.middleware.respond import Respond
from lbcore.routing.compile_own import NO_SERVICE
from lbcore.routing.index import file_rule
from lbcore.routing.order import Compiled
from lbcore.routing.route import Route

TEXTS = {404: b"404 page not found\n", 421: b"Misdirected Request\n"}


def closed_status(router: Router, static: StaticConfig, guarded: bool, has_options: bool = False) -> int:
    """The status of the answers in place of a router that cannot run; 0: nothing stands there.

    guarded      whether middlewares are in front of what it leads to, or may be.
    has_options  whether its hosts have TLS options of their own.
    """
    rule = rule_claimed(router, static)
    if rule is None:
        return 0
    if has_options and hosts_in(rule):
        return 421
    return 404 if guarded else 0  # the options of a router without a host have no effect


def closed(name: str, router: Router, static: StaticConfig, status: int) -> Compiled | None:
    """What stands in the place of a router that cannot run, by its `closed_status`."""
    rule = rule_claimed(router, static) if status else None
    if rule is None:
        return None
    return file_rule(rule), Route(name, (Respond("closed@internal", status, TEXTS[status], True),), NO_SERVICE)
