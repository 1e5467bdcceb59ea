"""What of a file Traefik would refuse, or read otherwise: extensions outside of the section `lbcore`. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from lbcore.config.decode import EXTENSIONS, is_model, keys_of, plain
from lbcore.config.model import Model
from lbcore.config.rule import RuleError, matchers_in, parse_rule
from lbcore.config.tree import Path, Tree
from lbcore.errors import Problem

# The keys that Traefik does not know, by the class of the model that has them; what is below them is not listed. They
# are those that the reference marks: tests/unit/config/test_portable.py.
KEYS = {
    "StaticConfig": "explain bodyMemoryBytes plugins tls fleet python",
    "RespondingTimeouts": "headerTimeout minBodyRate",
    "EntryPointHttp": "maxHeaderLines",
    "EntryPointUdp": "maxSessions",
    "Providers": "keepRunning",
    "LabelProvider": "allowEmpty labelFiles",
    "DockerProvider": "replaceGrace",
    "HttpProvider": "allowEmpty",
    "KeyProvider": "allowEmpty",
    "TagProvider": "allowEmpty labelFiles replaceGrace",
    "NomadProvider": "checks",
    "RestProvider": "token storage",
    "KubernetesProvider": "allowEmpty",
    "KubernetesIngress": "lease",
    "KubernetesGateway": "controllerName lease",
    "Acme": "retryDelay",
    "Spiffe": "trustBundles",
    "Api": "token",
    "Service": "middlewares timeout",
    "LoadBalancer": "hashOn maxConnections queue slowStart",
    "Server": "maxConnections",
    "Sticky": "sourceIP",
    "StickyCookie": "signed",
    "ParentHealthCheck": "minHealthy recoverHealthy",
    "HealthCheck": "rise fall expectBody startDown",
    "PassiveHealthCheck": "maxEjectionPercent maxEjectionTime",
    "Weighted": "hashOn slowStart",
    "HighestRandomWeight": "hashOn",
    "Mirroring": "headers methods timeout maxConcurrent maxBufferedBytes",
    "Middleware": "apiKey jwtAuth requestID timeout requestHeaderModifier responseHeaderModifier requestRedirect "
    "urlRewrite python",
    "InFlightReq": "redis fleetWide",
    "RateLimit": "fleetWide",
    "RedisLimit": "whenAway maxWait",
    "Retry": "budget hedging",
    "TcpServer": "weight",
    "TcpHealthCheck": "rise fall startDown",
    "TcpLoadBalancer": "sticky",
    "UdpServer": "weight",
    "UdpLoadBalancer": "healthCheck sticky",
    "UdpWeighted": "healthCheck",
    "UdpService": "failover",
}
BELOW = f"put it below the top-level section `{EXTENSIONS}`, which Traefik ignores"


def _strategy(value: str) -> str:
    return "disables the service for this strategy" if value in ("leastconn", "peakewma") else ""


def _server(value: str) -> str:
    return "cannot ask this server: it knows no Unix sockets" if value.startswith("unix:") else ""


def _address(value: str) -> str:
    return "does not start with this address: it knows no Unix sockets" if value.startswith("unix:") else ""


def _rule(value: str) -> str:
    try:
        has_cookie = any(matcher.name == "Cookie" for matcher in matchers_in(parse_rule(value)))
    except RuleError:
        return ""  # which is a problem of its own
    return "disables the router for its matcher Cookie" if has_cookie else ""


# What Traefik does with values of keys that it knows.
VALUES: dict[tuple[str, str], Callable[[str], str]] = {
    ("LoadBalancer", "strategy"): _strategy,
    ("Server", "url"): _server,
    ("EntryPoint", "address"): _address,
    ("Router", "rule"): _rule,
}


def added_to(model: type[Model]) -> set[str]:
    """The keys of a model that Traefik does not know, as they are written."""
    return {key for base in model.__mro__ for key in KEYS.get(base.__name__, "").split()}


def foreign(tree: Tree, model: type[Model]) -> Iterator[Problem]:
    """What of a file Traefik would refuse, each with its line; what it ignores is a warning."""
    refusal = "Traefik does not start with it" if model.__name__ == "StaticConfig" else "Traefik refuses the whole file"
    for path, text, hint in _section(tree.content, model, ()):
        is_ignored = len(path) == 1
        problem = text or ("Traefik ignores this key" if is_ignored else f"an extension: {refusal}")
        severity = "warning" if is_ignored and not text else "error"
        yield Problem(tree.key(path), problem, hint, tree.file, tree.line(path), severity)  # type: ignore[arg-type]


Found = Iterator[tuple[Path, str, str]]


def _section(content: dict[str, Any], model: type[Model], path: Path) -> Found:
    known = {key.lower(): (key, annotation) for key, annotation in keys_of(model).items()}
    added = added_to(model)
    for written, value in content.items():
        if written.lower() not in known or value is None:
            continue  # the section `lbcore`, another kind of file, or a mistake
        key, annotation = known[written.lower()]
        here = (*path, written)
        if key in added:
            yield here, "", BELOW if path else ""
        elif isinstance(value, str):
            for base in model.__mro__:
                judge = VALUES.get((base.__name__, key))
                if judge is not None and (text := judge(value)):
                    yield here, f"{value!r}: Traefik {text}", ""
        else:
            yield from _value(value, annotation, here)


def _value(value: Any, annotation: Any, path: Path) -> Found:
    annotation = plain(annotation)
    if is_model(annotation) and isinstance(value, dict):
        yield from _section(value, annotation, path)
    elif get_origin(annotation) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from _value(item, get_args(annotation)[1], (*path, name))
    elif get_origin(annotation) in (list, tuple) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _value(item, get_args(annotation)[0], (*path, index))
