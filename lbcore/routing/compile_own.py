"""lbcore's own routers: ping, API, dashboard, metrics, challenges of certificate authorities, and redirections."""

from __future__ import annotations

import re
from bisect import bisect_left
from operator import itemgetter

from lbcore.config import dynamic as model
from lbcore.config.difference import qualify
from lbcore.config.resolved import challenge_points, entry_points_of, redirection_port
from lbcore.config.rule import parse_rule
from lbcore.config.static import RedirectEntryPoint, StaticConfig
from lbcore.config.validate.findings import Findings
from lbcore.middleware.base import Middleware
from lbcore.middleware.challenges import Challenges
from lbcore.middleware.headers import Headers
from lbcore.middleware.redirect import RedirectRegex, RedirectScheme
from lbcore.middleware.respond import Ping, Respond
from lbcore.routing.compile_middlewares import MiddlewareCompiler
from lbcore.routing.compile_services import ServiceCompiler
from lbcore.routing.compile_spans import traced
from lbcore.routing.index import FiledRule, file_rule
from lbcore.routing.order import Compiled, Order
from lbcore.routing.route import Route
from lbcore.routing.service import Service
from lbcore.state.slots import SlotMap

NO_SERVICE = Service()  # behind routers whose middlewares answer
PING_RULE = "PathPrefix(`/ping`)"
METRICS_RULE = "PathPrefix(`/metrics`)"
API, DASHBOARD, METRICS = "api@internal", "dashboard@internal", "prometheus@internal"
REST, REST_RULE = "rest@internal", "PathPrefix(`/api/providers`)"
PING, NOOP, ACME_HTTP = "ping@internal", "noop@internal", "acme-http@internal"
ACME_BY_PASS = "acme-http-bypass@internal"  # the router of challenges among those of the user
OWN = "lbcore@internal"  # in place of a router's name: whose middlewares those of an entry point are
SERVED_BY_ADMIN = frozenset({API, DASHBOARD, METRICS, REST})
PART_HEADER = "X-Lbcore-Service"  # towards the admin server; a client that sends it narrows its own view alone
NO_SLOT = 0xFFFFFFFF
CHALLENGE_RULE = "PathPrefix(`/.well-known/acme-challenge/`)"
ANY_RULE = "HostRegexp(`^.+$`)"
NO_LETTERS = re.compile(r"[\W_]+")
NOT_ENCRYPTED_RULE = f"{ANY_RULE} && !HeaderRegexp(`X-Forwarded-Proto`, `(?i)^(https|wss)$`)"


def router_identity(name: str) -> str:
    """The identity of a router's counters, by its qualified name."""
    return f"router:{name}"


def redirection_name(point: str, redirect: RedirectEntryPoint) -> str:
    """The name of the router that redirects an entry point: letters and digits, with a dash for what is between."""
    return "-".join(filter(None, NO_LETTERS.split(f"{point}-to-{redirect.to}"))) + "@internal"


def redirection_of(redirect: RedirectEntryPoint, port: str) -> model.RedirectScheme:
    """The middleware of that router. `port`: to which it redirects."""
    return model.RedirectScheme(scheme=redirect.scheme, port=port, permanent=redirect.permanent)


def own_routers(static: StaticConfig) -> dict[str, str]:
    """lbcore's own routers that are counted, with their services; none unless `metrics.addInternals` is set."""
    if static.metrics is None or not static.metrics.add_internals:
        return {}
    redirects = {name: point.http.redirections for name, point in static.entry_points.items()}
    own = {redirection_name(name, r.entry_point): NOOP for name, r in redirects.items() if r and r.entry_point}
    return own | {name: name for name in (PING, METRICS, API, DASHBOARD, REST)} | {
        ACME_HTTP: ACME_HTTP,
        ACME_BY_PASS: ACME_HTTP,
    }


def filed(rule: str) -> FiledRule:
    """A rule by its text."""
    return file_rule(parse_rule(rule))


def dashboard_rule(base: str) -> str:
    """The rule of the dashboard. `base`: the API's base path, without a trailing slash."""
    return f"Path(`{base}/`) || PathPrefix(`{base}/dashboard`)"


def router_name_in_traefik(static: StaticConfig, point: str, name: str, router: model.Router) -> str:
    """The name that Traefik gives a router on one of several entry points, if that has settings for routers."""
    settings = static.entry_points[point]
    special = settings.http.middlewares, settings.http.tls is not None, static.core.default_rule_syntax
    if not any(special) and "observability" not in settings.model_fields_set:
        return name
    return f"{point}-{name}" if len(entry_points_of(router, static)) > 1 else name


def to_dashboard(base: str) -> model.RedirectRegex:
    """The redirection from above the dashboard, which names the host as Traefik's does."""
    at = rf"^(https?:\/\/(\[[\w:.]+\]|[\w\._-]+)(:\d+)?){re.escape(base)}\/$"
    return model.RedirectRegex(regex=at, replacement=f"${{1}}{base}/dashboard/", permanent=True)


class OwnRouters:
    """Builds them, and the services and answers that routers may name: `api@internal`, `ping@internal`, ...

    ping    the middleware of `ping@internal`.
    admin   URL of the server behind `api@internal` and `prometheus@internal`; empty = there is none.
    errors  by entry point: why none of them runs there.
    """

    def __init__(
        self,
        static: StaticConfig,
        slots: SlotMap,
        found: Findings,
        middlewares: MiddlewareCompiler,
        services: ServiceCompiler,
        ping: Ping,
        admin: str,
        challenges: Challenges,
    ) -> None:
        self.static, self.slots, self.found = static, slots, found
        self.middlewares, self.services = middlewares, services
        self.ping, self.admin, self.challenges = ping, admin, challenges
        self.errors: dict[str, list[str]] = {}

    def observed(self, point: str, service: str, own: model.RouterObservability) -> tuple[bool, bool, bool]:
        """`Route.observe`: whether requests are logged, counted, and answered by lbcore itself."""
        default, metrics = self.static.entry_points[point].observability, self.static.metrics
        logged = default.access_logs if own.access_logs is None else own.access_logs
        counted = default.metrics if own.metrics is None else own.metrics
        if not service.endswith("@internal"):
            return logged, counted, False
        logs = self.static.access_log
        return logged and bool(logs and logs.add_internals), counted and bool(metrics and metrics.add_internals), True

    def route(self, point: str, name: str, service: str, service_of: Service, *steps: Middleware) -> Route:
        """The route of one of lbcore's own routers, behind the middlewares of the entry point."""
        slot = self.slots.services.get(router_identity(name), NO_SLOT)
        names = [qualify(step, OWN) for step in self.static.entry_points[point].http.middlewares]
        before = self.middlewares.expand(names)
        steps = (*(self.middlewares.built[step] for step in before), *steps)
        own = model.RouterObservability()
        configs = self.middlewares.http.middlewares
        about = traced(
            self.static, point, own, name=name, service=service, rule="", configs=configs, middlewares=before
        )
        route = Route(name, steps, service_of, slot).count_in(self.services.region, self.services.worker)
        return route.observe(*self.observed(point, service, own), *about)

    def admin_service(self) -> Service:
        """The service of the admin server, in the supervisor."""
        return self.services.alone(API, self.admin)

    def narrowed(self, service: str) -> tuple[Middleware, ...]:
        """What tells the admin server that a router leads to a part of it alone; `api@internal` is all of it."""
        if service == API:
            return ()
        return (Headers(service, model.Headers(custom_request_headers={PART_HEADER: service})),)

    def answer(self, name: str) -> Middleware:
        if name == ACME_HTTP:
            return self.challenges
        return Respond(name, 418, b"") if name == NOOP else self.ping

    def add(self, point: str, order: Order) -> list[Compiled]:
        """The routers of an entry point with lbcore's own: ping, API, and its redirection."""
        settings, ping = self.static.entry_points[point], self.static.ping
        redirections = settings.http.redirections
        if errors := self.middlewares.errors_of_entry_point(point, OWN):
            self.errors[point] = list(dict.fromkeys(errors))
            text = f'entryPoint "{point}": lbcore\'s own routers, and its redirection, cannot run there'
            self.found.warnings.append(f"{text}: {'; '.join(self.errors[point])}")
            return order.compiled
        among: list[tuple[int, Compiled]] = []  # the priorities of those that stand among the others
        challenged = point in challenge_points(self.static)
        if challenged and settings.allow_acme_by_pass:
            among.append((len(CHALLENGE_RULE), (filed(CHALLENGE_RULE), self.challenge_route(point))))
        redirect = redirections.entry_point if redirections is not None else None
        port = redirection_port(redirect, self.static) if redirect is not None else None
        if redirect is not None and port is not None:
            # A request that reached a trusted proxy encrypted needs no redirection: the next router takes it.
            rule = NOT_ENCRYPTED_RULE if redirect.scheme == "https" and port == "443" else ANY_RULE
            if settings.allow_acme_by_pass:
                rule += f" && !{CHALLENGE_RULE}"
            among.append((redirect.priority, (filed(rule), self.redirection(point, redirect, port))))
        result = order.compiled.copy()
        # Before those of the same priority, the later one first: so the one of the highest priority is put in last.
        for priority, pair in sorted(among, key=itemgetter(0)):
            result.insert(bisect_left(order.ranks, (-priority,)), pair)
        own: list[tuple[str, Route]] = []
        if challenged and not settings.allow_acme_by_pass:
            own.append((CHALLENGE_RULE, self.challenge_route(point)))
        if ping is not None and not ping.manual_routing and ping.entry_point == point:
            answer = self.answer(PING)
            own.append((PING_RULE, self.route(point, PING, PING, NO_SERVICE, answer)))
        prometheus = self.static.metrics.prometheus if self.static.metrics else None
        if self.admin and prometheus is not None and not prometheus.manual_routing and prometheus.entry_point == point:
            own.append((METRICS_RULE, self.route(point, METRICS, METRICS, self.admin_service())))
        api, rest = self.static.api, self.static.providers.rest
        if self.admin and rest is not None and rest.insecure and point == "traefik":
            own.append((REST_RULE, self.route(point, REST, REST, self.admin_service())))
        if self.admin and api is not None and api.insecure and point == "traefik":
            base = api.base_path.rstrip("/")
            own.append((f"PathPrefix(`{base}/api`)", self.route(point, API, API, self.admin_service())))
            if api.dashboard:
                steps = RedirectRegex(DASHBOARD, to_dashboard(base)), *self.narrowed(DASHBOARD)
                route = self.route(point, DASHBOARD, DASHBOARD, self.admin_service(), *steps)
                own.append((dashboard_rule(base), route))
        result[:0] = [(filed(rule), route) for rule, route in own]
        return result

    def challenge_route(self, point: str) -> Route:
        """The route of http-01 challenges of certificate authorities."""
        name = ACME_BY_PASS if self.static.entry_points[point].allow_acme_by_pass else ACME_HTTP
        return self.route(point, name, ACME_HTTP, NO_SERVICE, self.challenges)

    def redirection(self, point: str, redirect: RedirectEntryPoint, port: str) -> Route:
        name = redirection_name(point, redirect)
        step = RedirectScheme(name, redirection_of(redirect, port))
        return self.route(point, name, NOOP, NO_SERVICE, step, self.answer(NOOP))
