"""Validation of the routers of HTTP. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.difference import qualify
from lbcore.config.dynamic import DynamicConfig, HttpConfig, Router
from lbcore.config.resolved import (
    challenge_points,
    entry_points_of,
    is_of_version_2,
    options_name,
    rule_of,
    tls_of,
)
from lbcore.config.router_tree import MAX_LEVELS, RouterTrees
from lbcore.config.rule import RuleError
from lbcore.config.static import StaticConfig
from lbcore.config.tls import DEFAULT
from lbcore.config.validate.findings import Fault, Findings
from lbcore.config.validate.tls import options_errors

# Services of lbcore itself that are there only if their section of the static configuration is.
SECTIONS_OF_SERVICES = {
    "api@internal": "api",
    "dashboard@internal": "api",
    "ping@internal": "ping",
    "prometheus@internal": "prometheus",
    "rest@internal": "rest",
    "acme-http@internal": "HTTP challenge",
}


def check_routers(some: Mapping[str, Router], dynamic: DynamicConfig, static: StaticConfig, found: Findings) -> None:
    """Add the errors that these routers have by themselves, or by what they refer to; `found.trees` are theirs."""
    for name, router in some.items():
        said = len(found.warnings)
        if errors := _router_errors(name, router, dynamic.http, static, found):
            found.routers[name] = errors
        elif errors := _tls_errors(name, router, dynamic, static):
            found.routers[name] = errors
            if not any(isinstance(error, Fault) for error in errors):
                found.following.add(("router", name))
        if len(found.warnings) > said:
            found.odd["router"].add(name)


def _router_errors(
    name: str, router: Router, http: HttpConfig, static: StaticConfig, found: Findings
) -> list[str]:
    if router.faults:
        return list(router.faults)
    errors: list[str] = []
    where = f"{router.place}: router {name.rpartition('@')[0]}" if router.place else f"router {name}"
    try:
        rule = rule_of(router, static)
        if is_of_version_2(router.rule_syntax, static):
            found.warnings.append(f"{where}: its rule is of version 2, in version 3 it is {rule}")
    except RuleError as error:
        errors.append(Fault(str(error), "rule"))
    errors += _below_errors(name, router, http, found.trees)
    others: list[str] = []  # what is wrong with objects it refers to
    if router.parent_refs:
        pass
    elif entry_points_of(router, static):
        found.warnings += [f"{where}: {text}" for text in unknown_entry_points(router, static)]
    elif router.entry_points and all(point in static.closed for point in router.entry_points):
        others += unknown_entry_points(router, static)
    else:
        unknown = [*unknown_entry_points(router, static), "no valid entryPoint for this router"]
        errors += [Fault(text, "entryPoints") for text in unknown]
    for number, reference in enumerate(router.middlewares):
        qualified = qualify(reference, name)
        if qualified in http.middlewares:
            others += found.middlewares.get(qualified, [])
        else:
            errors.append(Fault(f'middleware "{qualified}" does not exist', "middlewares", number, missing=qualified))
    service = qualify(router.service, name)
    if not router.service:
        pass
    elif service.endswith("@internal"):
        sections: dict[str, object] = {"api": static.api, "ping": static.ping, "rest": static.providers.rest}
        sections["prometheus"] = static.metrics and static.metrics.prometheus
        sections["HTTP challenge"] = challenge_points(static) or None
        section = SECTIONS_OF_SERVICES.get(service)
        if section is not None and sections[section] is None:
            errors.append(Fault(f"{section} is not enabled", "service"))
        elif service == "dashboard@internal" and static.api is not None and not static.api.dashboard:
            errors.append(Fault("dashboard is not enabled", "service"))
        elif section is None and service != "noop@internal":
            errors.append(Fault(f'the service "{service}" is not supported by this version of lbcore', "service"))
    elif service not in http.services:
        errors.append(Fault(f'the service "{service}" does not exist', "service", missing=service))
    else:
        others += found.services.get(service, [])
    if others and not errors:
        found.following.add(("router", name))
    return [*errors, *others]


def unknown_entry_points(router: Router, static: StaticConfig) -> list[str]:
    """Warnings about entry points that a router names and that do not exist."""
    return [
        f'entryPoint "{name}" cannot run' if name in static.closed else f'entryPoint "{name}" doesn\'t exist'
        for name in router.entry_points
        if name not in static.stream_points
    ]


def _below_errors(name: str, router: Router, http: HttpConfig, trees: RouterTrees) -> list[str]:
    """Errors of the place of a router in its tree, as in Traefik."""
    errors: list[str] = []
    for number, reference in enumerate(router.parent_refs):
        if (parent := qualify(reference, name)) not in http.routers:
            text = f'parent router "{parent}" does not exist'
            errors.append(Fault(text, "parentRefs", number, missing=parent))
    if router.parent_refs and router.tls is not None:
        errors.append(Fault("non-root router cannot have TLS configuration", "tls"))
    elif router.parent_refs and "observability" in router.model_fields_set:
        errors.append(Fault("non-root router cannot have Observability configuration", "observability"))
    elif router.parent_refs and router.entry_points:
        errors.append(Fault("non-root router cannot have Entrypoints configuration", "entryPoints"))
    errors += [Fault(text, "parentRefs") for text in trees.errors.get(name, ())]
    if router.parent_refs and name not in trees.order:
        errors.append(Fault("router is not reachable", "parentRefs", missing=_missing_above(name, http.routers)))
    elif router.service and trees.children.get(name):
        text = "router has both a service and is referenced as a parent by other routers"
        errors.append(Fault(text, "service"))
    elif not router.service and not trees.children.get(name):
        errors.append("router has no service and no child routers")
    return errors


def _missing_above(name: str, routers: Mapping[str, Router]) -> str:
    """The qualified name of a router above this one that does not exist; empty: all do. One of another provider comes
    first: whoever does not know the objects of that provider does not know whether this router is reachable."""
    own, found, ahead, seen = name.rpartition("@")[2], "", [name], {name}
    while ahead and len(seen) <= MAX_LEVELS:
        below = ahead.pop()
        for parent in (qualify(reference, below) for reference in routers[below].parent_refs):
            if parent not in routers:
                if parent.rpartition("@")[2] != own:
                    return parent
                found = found or parent
            elif parent not in seen:
                seen.add(parent)
                ahead.append(parent)
    return found


def _tls_errors(name: str, router: Router, dynamic: DynamicConfig, static: StaticConfig) -> list[str]:
    errors: list[str] = []
    for point in entry_points_of(router, static):
        tls = tls_of(router, point, static)
        if tls is None:
            continue
        # TLS needs sound default options, because clients that ask for no known name get them.
        for wanted in dict.fromkeys((options_name(tls, name), DEFAULT)):
            errors += options_errors(dynamic.tls, wanted)
    return list(dict.fromkeys(errors))


def spread_in_trees(trees: RouterTrees, routers: Mapping[str, Router], found: Findings) -> None:
    """Disable the routers none of whose children can run, and those none of whose parents can."""
    for name in trees.order:
        below = trees.children.get(name)
        if below and name not in found.routers and all(child in found.routers for child in below):
            text = f"building child routers muxer: no child routers could be added to muxer ({len(below)} skipped)"
            found.routers[name] = [text]
            found.following.add(("router", name))
    for name in reversed(trees.order):
        above = [qualify(parent, name) for parent in routers[name].parent_refs]
        if above and name not in found.routers and all(parent in found.routers for parent in above):
            found.routers[name] = [f"its parent {' and its parent '.join(above)} cannot run"]
            found.following.add(("router", name))
