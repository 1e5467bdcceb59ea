"""Traefik's annotations of Ingresses and Services: `traefik.ingress.kubernetes.io/router.priority`. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from lbcore.config.decode import decode
from lbcore.config.flat import FlatTree, in_order, split_dotted
from lbcore.config.model import Model
from lbcore.config.routers import RouterObservability
from lbcore.config.services.sticky import Sticky
from lbcore.config.tls import RouterTls
from lbcore.config.tree import Tree
from lbcore.errors import ConfigError
from lbcore.provider.kubernetes.watch import about

PREFIX = "traefik.ingress.kubernetes.io/"


class _Router(Model):
    path_matcher: str = ""
    entry_points: list[str] = Field(default=[])
    middlewares: list[str] = Field(default=[])
    priority: int = 0
    rule_syntax: str = ""
    tls: RouterTls | None = None
    observability: RouterObservability = RouterObservability()


class _Service(Model):
    servers_scheme: str = ""
    servers_transport: str = ""
    pass_host_header: bool | None = None
    middlewares: list[str] = Field(default=[])
    sticky: Sticky | None = None
    native_lb: bool | None = Field(default=None, alias="nativeLB")
    node_port_lb: bool = Field(default=False, alias="nodePortLB")


class _Both(Model):
    router: _Router = _Router()
    service: _Service = _Service()


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the annotations of an object say.

    router      settings of its routers, as in a file; `path_matcher` is none of them.
    balancer    settings of its load balancer, as in a file.
    references  names of objects that are those of other providers.
    ignored     annotations of version 1 of Traefik, and others, that have no effect.
    """

    router: dict[str, Any] = field(default_factory=dict)
    path_matcher: str = ""
    balancer: dict[str, Any] = field(default_factory=dict)
    middlewares: list[str] = field(default_factory=list)
    scheme: str = ""
    native: bool | None = None
    nodes: bool = False
    references: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def annotations_of(thing: Mapping[str, Any], named: str) -> tuple[Annotations, list[str]]:
    """The annotations of an Ingress or a Service, and what is wrong with them."""
    notes = about(thing).get("annotations")
    given = {str(key): str(value) for key, value in notes.items()} if isinstance(notes, dict) else {}
    tree = FlatTree(_Both)
    problems: list[str] = []
    ignored: list[str] = []
    for key in in_order(given):
        if not key.startswith(PREFIX):
            continue
        own = key.removeprefix(PREFIX)
        if not own.lower().startswith(("router", "service")):  # what begins so is mistyped
            ignored.append(f"{named}: {key}: unknown annotation, ignored")
            continue
        try:
            tree.put(split_dotted(own), given[key])
        except ValueError as error:
            problems.append(f"{named}: {key}: {error}")
    content = tree.content()
    try:
        found = decode(Tree(content, named, prefix=PREFIX), _Both)
    except ConfigError as error:
        return Annotations(ignored=ignored), [*problems, *map(str, error.problems)]
    # Unknown keys at the top are warnings in a file; here they are annotations that would have no effect.
    problems += [str(warning) for warning in found.warnings if "unknown key" in warning.problem]
    if problems:
        return Annotations(ignored=ignored), problems
    router = dict(content.get("router") or {})
    service = dict(content.get("service") or {})
    path_matcher = str(router.pop("pathMatcher", ""))
    model = found.model.service
    balancer = {key: service[key] for key in ("sticky", "passHostHeader", "serversTransport") if key in service}
    references = [*found.model.router.middlewares, *model.middlewares]
    tls = found.model.router.tls
    if tls is not None and tls.options and tls.options != "default":
        references.append(tls.options)
    if model.servers_transport:
        references.append(model.servers_transport)
    return (
        Annotations(
            router,
            path_matcher,
            balancer,
            model.middlewares,
            model.servers_scheme,
            model.native_lb,
            model.node_port_lb,
            references,
            ignored,
        ),
        [],
    )
