"""Whether requests are traced, and the spans of routers, middlewares and services, named as Traefik names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lbcore.config import dynamic as model
from lbcore.config.static import StaticConfig

if TYPE_CHECKING:
    from lbcore.routing.route import Span

# Names of spans, which are those of Traefik's types; of others it is the name of the kind. Some have none.
SPANLESS = {"content_type", "grpc_web"}
SPAN_NAMES = {
    "ip_allow_list": "IPAllowLister",
    "ip_white_list": "IPWhiteLister",
    "errors": "CustomError",
    "rate_limit": "RateLimiter",
    "redirect_regex": "Redirect",
    "redirect_scheme": "Redirect",
    "buffering": "Buffer",
    "pass_tls_client_cert": "PassClientTLSCert",
    "url_rewrite": "URLRewrite",
    "request_id": "RequestID",
    "api_key": "APIKey",
    "jwt_auth": "JWTAuth",
}


def spans_of(configs: Mapping[str, model.Middleware], middlewares: list[str]) -> tuple[Span | None, ...]:
    """The span of each of these middlewares, with its attributes; None: it has none."""
    found: list[Span | None] = []
    for name in middlewares:
        (kind,) = configs[name].kinds
        span = SPAN_NAMES.get(kind) or kind.title().replace("_", "")
        found.append(None if kind in SPANLESS else (span, (("traefik.middleware.name", name),)))
    return tuple(found)


def traced(
    static: StaticConfig,
    point: str,
    own: model.RouterObservability,
    *,
    name: str,
    service: str,
    rule: str,
    configs: Mapping[str, model.Middleware],
    middlewares: list[str],
) -> tuple[bool, tuple[Span | None, ...] | None]:
    """`Route.observe`: whether the requests of a router are traced, and the spans of the parts of their way, if wanted.

    middlewares  names of its own, in their order.
    """
    default, tracing = static.entry_points[point].observability, static.tracing
    wanted = default.tracing if own.tracing is None else own.tracing
    if tracing is None or not wanted or (service.endswith("@internal") and not tracing.add_internals):
        return False, None
    if (own.trace_verbosity or default.trace_verbosity) != "detailed":
        return True, None
    attributes = [("traefik.service.name", service or f"{name}-muxer"), ("traefik.router.name", name)]
    if rule:
        attributes.append(("http.route", rule))
    return True, (("Router", tuple(attributes)), *spans_of(configs, middlewares))
