"""Routers that cannot run, and whose hosts have TLS options of their own, which may ask for certificates of clients.

Other routers must not take their requests by other options: they keep their place, and answer that the request is
misdirected.
"""

from __future__ import annotations

from lbcore.config.resolved import options_name, rule_of, tls_of
from lbcore.config.routers import Router
from lbcore.config.rule import RuleError, hosts_in
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.middleware.respond import Respond
from lbcore.routing.compile_own import NO_SERVICE
from lbcore.routing.index import file_rule
from lbcore.routing.order import Compiled
from lbcore.routing.route import Route

MISDIRECTED = "misdirected@internal"


def closed(point: str, name: str, router: Router, static: StaticConfig) -> Compiled | None:
    """What stands in the place of a router that cannot run. None: nothing has to, or its rule cannot be read."""
    tls = tls_of(router, point, static)
    if tls is None or options_name(tls, name) == DEFAULT:
        return None
    try:
        rule = rule_of(router, static)
    except RuleError:
        return None
    if not hosts_in(rule):
        return None  # the options have no effect
    return file_rule(rule), Route(name, (Respond(MISDIRECTED, 421, b"Misdirected Request\n"),), NO_SERVICE)
