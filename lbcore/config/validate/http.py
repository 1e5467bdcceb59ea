"""Validation of the objects of HTTP: all of them, or those that a change concerns. No I/O.

Names are qualified (`web@file`), because providers are merged; a reference without provider means that of its owner.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.difference import Users
from lbcore.config.dynamic import DynamicConfig, Router
from lbcore.config.model import Object
from lbcore.config.resolved import redirection_port, trees_of
from lbcore.config.router_tree import MAX_ALL_WAYS, RouterTrees
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Checked, Findings, Todo, in_order
from lbcore.config.validate.middlewares import check_asking, check_chains, check_middlewares
from lbcore.config.validate.routers import check_routers, spread_in_trees
from lbcore.config.validate.services import check_parents, check_services, check_transports


def check(dynamic: DynamicConfig, static: StaticConfig, before: Checked | None = None) -> Findings:
    """Check every object. Objects that were sound in `before`, and that no change concerns, are passed over."""
    http, found = dynamic.http, Findings()
    followed = before.follow(dynamic, static) if before is not None else None
    users, todo = followed if followed is not None else (Users.all(http), None)
    found.todo = todo

    def those(kind: str) -> set[str] | None:
        return None if todo is None else todo[kind]

    parents, linked = set[str](), set[str]()
    if before is not None and todo is not None:
        parents, linked = before.parents - todo["service"], before.linked - todo["middleware"]
    parents.update(name for name, each in in_order(those("service"), http.services).items() if each.children)
    middlewares = in_order(those("middleware"), http.middlewares)
    linked.update(name for name, each in middlewares.items() if each.chain is not None or each.asks)
    found.trees, others = _trees(http.routers, users, before, todo)
    ways = {**others, **found.trees.ways}
    errors_of = found.by_kind()
    options = dynamic.tls.options
    found.checked = Checked(static, http, options, users, errors_of, found.odd, parents, linked, ways)
    check_redirections(static, found)
    kinds: dict[str, Mapping[str, Object]] = {
        "router": http.routers,
        "service": http.services,
        "middleware": http.middlewares,
        "serversTransport": http.servers_transports,
    }
    found.objects = kinds
    check_transports(in_order(those("serversTransport"), http.servers_transports), static, found)
    check_middlewares(middlewares, static, found)
    links = in_order(linked, http.middlewares)
    check_asking(links, http, found)
    check_chains(links, http.middlewares, found)
    check_services(in_order(those("service"), http.services), http, found)
    check_parents(in_order(parents, http.services), http.services, found)
    check_routers(in_order(those("router"), http.routers), dynamic, static, found)
    spread_in_trees(found.trees, http.routers, found)
    return found


def _trees(
    routers: Mapping[str, Router], users: Users, before: Checked | None, todo: Todo | None
) -> tuple[RouterTrees, Mapping[str, int]]:
    """The trees that have to be looked at, and the ways of the others. `todo` may get more."""
    known = users.in_trees()
    if before is None or todo is None:
        return trees_of(in_order(known, routers)), {}
    trees = trees_of(in_order(known & todo["router"], routers))
    others = {root: ways for root, ways in before.ways.items() if root not in todo["router"]}
    if max(sum(before.ways.values()), sum(others.values()) + sum(trees.ways.values())) <= MAX_ALL_WAYS:
        return trees, others
    # Which of them lead to too many others depends on all.
    todo["router"].update(known, before.users.in_trees())
    return trees_of(in_order(known, routers)), {}


def check_redirections(static: StaticConfig, found: Findings) -> None:
    """Add warnings about entry points whose redirection leads nowhere."""
    for name, point in static.entry_points.items():
        redirections = point.http.redirections
        target = redirections.entry_point if redirections else None
        if target is not None and redirection_port(target, static) is None:
            where = f'to "{target.to}", which doesn\'t exist' if target.to else "nowhere: `to` is missing"
            found.warnings.append(f'entryPoint "{name}": its redirection leads {where}: it is left out')
