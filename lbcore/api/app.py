"""The application of the admin server: Traefik's API, what the dashboard asks, its files, Prometheus' metrics."""

from __future__ import annotations

import asyncio
import copy
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lbcore import __version__
from lbcore.api import audit, catalogue, view
from lbcore.api.console import Console, asker_of
from lbcore.api.denials import denied_at
from lbcore.api.instance import InstancePaths
from lbcore.api.live import Live
from lbcore.api.pages import Pages, SameOrigin
from lbcore.api.paths import ChangePath
from lbcore.api.processes import ProcessCollector
from lbcore.api.prometheus import RequestCollector
from lbcore.api.runtime import Runtime
from lbcore.api.shape import View, instant
from lbcore.api.tap import Taps
from lbcore.config.json_text import read_json
from lbcore.config.static import Prometheus
from lbcore.errors import typed_message_of
from lbcore.routing.compile_own import DASHBOARD, METRICS, PART_HEADER, REST

PER_PAGE = 100
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"  # of Prometheus: all names are such that any reader takes them
REST_LIMIT_BYTES = 64 << 20
REST_METHODS = ["PUT", "DELETE"]
TOKEN_HEADER = "x-lbcore-token"  # where `Authorization` belongs to a login in front of the API
Handler = Callable[[Request], Any]

_log = logging.getLogger("lbcore.api")


def make_app(runtime: Runtime, live: Live | None = None, taps: Taps | None = None) -> Starlette:
    """The application, which reads all that it shows from `runtime` at each request. `live`: if there is an API.
    `taps`: likewise; made here if they are not given."""
    api = _Api(runtime)
    base = (runtime.static.api.base_path if runtime.static.api else "/").rstrip("/")
    has_rest = runtime.rest is not None and runtime.static.providers.rest is not None
    taps = taps or Taps(runtime)
    console = Console(runtime, live, taps, api.refusal, api.turn) if live is not None else None
    routes = [
        Route(f"{base}/api/version", api.version),
        Route(f"{base}/api/overview", api.overview),
        Route(f"{base}/api/rawdata", api.raw_data),
        Route(f"{base}/api/tree", api.tree),
        Route(f"{base}/api/state", api.state),
        Route(f"{base}/api/providers", api.providers),
        *([ChangePath(f"{base}/api/providers/rest", api.rest, methods=REST_METHODS)] if has_rest else []),
        Route(f"{base}/api/providers/{{name}}", api.no_rest, methods=REST_METHODS),
        Route(f"{base}/api/entrypoints", api.entry_points),
        Route(f"{base}/api/entrypoints/{{name:path}}", api.entry_point),
        ChangePath(f"{base}/api/reload", api.reload, methods=["POST"]),
        *(console.routes(base) if console is not None else []),
        *(InstancePaths(runtime, api.refusal).routes(base) if live is not None else []),
        ChangePath(f"{base}/api/certificates/renew", api.renew, methods=["POST"]),
        Route(f"{base}/api/certificates", api.certificates),
        Route(f"{base}/api/certificates/{{name}}", api.certificate),
        Route(f"{base}/api/{{layer}}/{{kind}}", api.objects),
        Route(f"{base}/api/{{layer}}/{{kind}}/{{name:path}}", api.object),
    ]
    if runtime.static.api is not None and runtime.static.api.dashboard:
        root = _Root(Pages(), f"{base}/dashboard/")
        routes += [
            Route(f"{base}/dashboard/{{path:path}}", root.pages.answer),
            Route(f"{base}/dashboard", root.without_slash),
            Route(f"{base}/assets/{{path:path}}", root.asset),
            Route(f"{base}/" if base else "/", root.page),
        ]
    if runtime.static.api is None:  # what is there is not for all who reach the metrics, or a provider
        routes = [route for route in routes if route.path.startswith(f"{base}/api/providers/")]
    if runtime.static.metrics and runtime.static.metrics.prometheus:
        routes += [Route(path, api.metrics) for path in ("/metrics", "/metrics/")]
    own = re.escape(base)
    parts = {
        DASHBOARD: re.compile(rf"{own}/((dashboard|assets)(/.*)?)?"),
        METRICS: re.compile("/metrics/?"),
        REST: re.compile(rf"{own}/api/providers/.*"),
    }
    wrappers = [Middleware(_Failures), Middleware(SameOrigin), Middleware(_Parts, parts=parts)]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_allowed}, middleware=wrappers)
    app.router.redirect_slashes = False  # to a URL whose scheme is not that of the client
    return app


class _Root:
    """The dashboard above its own path: a router that leads to nothing else has it at `/`, too.

    path  its own.
    """

    def __init__(self, pages: Pages, path: str) -> None:
        self.pages = pages
        self.path = path

    async def page(self, request: Request) -> Response:
        return await self.pages.file("", request) if _is_of_dashboard(request) else RedirectResponse(self.path, 302)

    async def without_slash(self, request: Request) -> Response:
        return RedirectResponse(self.path, 301) if _is_of_dashboard(request) else _no_page()

    async def asset(self, request: Request) -> Response:
        if not _is_of_dashboard(request):
            return _no_page()
        return await self.pages.file(f"assets/{request.path_params['path']}", request)


def _is_of_dashboard(request: Request) -> bool:
    return request.headers.get(PART_HEADER) == DASHBOARD


class _Parts:
    """A router that leads to a part of the admin server, `prometheus@internal`, gives no way to the others.

    parts  by service: the paths that it has.
    """

    def __init__(self, app: ASGIApp, parts: Mapping[str, re.Pattern[str]]) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for name, value in scope["headers"] if scope["type"] == "http" else ():
            if name == PART_HEADER.lower().encode():
                paths = self._parts.get(value.decode("latin-1"))
                if paths is None or not paths.fullmatch(scope["path"]):
                    await _no_page()(scope, receive, send)
                    return
        await self._app(scope, receive, send)


class _Failures:
    """An answer that cannot be made is 500, and one line of the log; the server would log it in words of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def put(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, put)
        except Exception as error:
            reason = typed_message_of(error)
            _log.error("API: %s %s cannot be answered: %s", scope.get("method"), scope.get("path"), reason)
            _log.debug("API: an answer cannot be made", exc_info=error)
            if not begun:
                await PlainTextResponse("500 internal server error\n", 500)(scope, receive, send)


async def _not_found(request: Request, error: Exception) -> Response:
    return _no_page()


async def _not_allowed(request: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None) or {}
    return Response(None, 405, headers={name: ", ".join(sorted(value.split(", "))) for name, value in headers.items()})


def _no_page() -> Response:
    return PlainTextResponse("404 page not found\n", 404, headers={"X-Content-Type-Options": "nosniff"})


def _missing(kind: str, name: str) -> Response:
    text = json.dumps({"message": f"{kind} not found: {name}"}, separators=(",", ":")) + "\n"
    return PlainTextResponse(text, 404, headers={"X-Content-Type-Options": "nosniff"})


def _first(request: Request, key: str) -> str:
    """The first value of a key of the query."""
    return next(iter(request.query_params.getlist(key)), "")


def _number(request: Request, key: str, default: int) -> int:
    """A number of the query; 0 for what is none."""
    text = _first(request, key)
    try:
        return int(text) if text else default
    except ValueError:
        return 0


def _page(request: Request, views: list[View]) -> Response:
    """The requested page of a list."""
    page, per_page = _number(request, "page", 1), _number(request, "per_page", PER_PAGE)
    wrong = next((f"{key}: {value}" for key, value in (("per_page", per_page), ("page", page)) if value < 1), "")
    if not wrong and page > 1 and (page - 1) * per_page >= len(views):
        wrong = f"page: {page}, per_page: {per_page}"
    if wrong:
        text = json.dumps({"message": f"invalid request: {wrong}"}, separators=(",", ":")) + "\n"
        return PlainTextResponse(text, 400, headers={"X-Content-Type-Options": "nosniff"})
    following = page + 1 if page * per_page < len(views) else 1
    return JSONResponse(views[(page - 1) * per_page : page * per_page], headers={"X-Next-Page": str(following)})


def _with_denied(runtime: Runtime, found: View, kind: str, layer: str, name: str) -> View:
    """An object with what middlewares have denied there, if they have."""
    denied = denied_at(runtime, kind, layer, name)
    return {**found, "denied": denied} if denied else found


Make = Callable[["_Api", Runtime, Request], Response]


def _aside(make: Make) -> Callable[[_Api, Request], Awaitable[Response]]:
    """Make answers in a thread, one at a time, so that the loop keeps the probes of health checks punctual."""

    async def endpoint(api: _Api, request: Request) -> Response:
        async with api.turn:
            return await asyncio.to_thread(make, api, copy.copy(api.runtime), request)

    return endpoint


class _Api:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.turn = asyncio.Lock()

    async def version(self, request: Request) -> Response:
        started = instant(self.runtime.started_unix_s)
        return JSONResponse({"Version": __version__, "Codename": "lbcore", "startDate": started})

    @_aside
    def overview(self, runtime: Runtime, request: Request) -> Response:
        return JSONResponse(catalogue.overview(runtime))

    @_aside
    def raw_data(self, runtime: Runtime, request: Request) -> Response:
        return JSONResponse(catalogue.raw_data(runtime))

    @_aside
    def metrics(self, runtime: Runtime, request: Request) -> Response:
        registry = CollectorRegistry()
        settings = runtime.static.metrics.prometheus if runtime.static.metrics is not None else None
        registry.register(RequestCollector(runtime, settings or Prometheus()))
        registry.register(ProcessCollector(runtime))
        return Response(generate_latest(registry), media_type=TEXT_FORMAT)

    @_aside
    def tree(self, runtime: Runtime, request: Request) -> Response:
        return JSONResponse(catalogue.tree(runtime))

    async def state(self, request: Request) -> Response:
        """The problems of the instance, for `lbcore status`: see `condition.problems`."""
        return JSONResponse(catalogue.state(self.runtime))

    async def providers(self, request: Request) -> Response:
        """The state of each provider."""
        return JSONResponse(catalogue.providers(self.runtime))

    async def entry_points(self, request: Request) -> Response:
        points = self.runtime.static.entry_points
        return _page(request, [view.entry_point_view(name, point) for name, point in sorted(points.items())])

    async def entry_point(self, request: Request) -> Response:
        name = request.path_params["name"]
        point = self.runtime.static.entry_points.get(name)
        if point is None:
            return _missing("entry point", name)
        return JSONResponse(_with_denied(self.runtime, view.entry_point_view(name, point), "entrypoint", "", name))

    @_aside
    def certificates(self, runtime: Runtime, request: Request) -> Response:
        """A list, filtered and in pages."""
        search, status = (_first(request, key).lower() for key in ("search", "status"))
        views = [certificate.view() for certificate in runtime.certificates()]
        found = [
            each
            for each in views
            if (not status or each["status"] == status)
            and search in f"{each['commonName']} {each['sans']} {each['issuerCN']} {each['name']}".lower()
        ]
        return _page(request, found)

    @_aside
    def certificate(self, runtime: Runtime, request: Request) -> Response:
        name = request.path_params["name"]
        found = next((each for each in runtime.certificates() if each.fingerprint == name), None)
        return JSONResponse(found.view()) if found is not None else _missing("certificate", name)

    @_aside
    def objects(self, runtime: Runtime, request: Request) -> Response:
        """A list, filtered and in pages."""
        layer, kind = request.path_params["layer"], request.path_params["kind"]
        if kind not in catalogue.KINDS.get(layer, ()):
            return _no_page()
        views = catalogue.objects(runtime, layer, kind).values()
        keys = ["search", "status", *(["serviceName", "middlewareName"] if kind == "routers" else [])]
        return _page(request, catalogue.select(views, *(_first(request, key) for key in keys)))

    @_aside
    def object(self, runtime: Runtime, request: Request) -> Response:
        layer, kind, name = (request.path_params[key] for key in ("layer", "kind", "name"))
        if kind not in catalogue.KINDS.get(layer, ()):
            return _no_page()
        services = runtime.dynamic.http.services
        if layer == "http" and kind == "services" and name in services:
            return JSONResponse(view.service_view(runtime, name, services[name], with_health=True))
        middlewares = runtime.dynamic.http.middlewares
        if layer == "http" and kind == "middlewares" and name in middlewares:
            found = view.middleware_view(runtime, name, middlewares[name], with_state=True)
            return JSONResponse(_with_denied(runtime, found, "middleware", layer, name))
        known = catalogue.objects(runtime, layer, kind).get(name)
        singular = kind.removesuffix("s")
        if known is None:
            return _missing(singular, name)
        return JSONResponse(_with_denied(runtime, known, singular, layer, name))

    async def rest(self, request: Request) -> Response:
        """Replace the configuration of the provider `rest` by that in the body, or by nothing."""
        target, settings = self.runtime.rest, self.runtime.static.providers.rest
        if target is None or settings is None:
            return await self.no_rest(request)
        if not settings.insecure:
            refusal = self.refusal(request, "the provider", settings.token)
        else:
            # Whoever reaches it may change it, but no page in a browser, whatever name it has given to this address.
            strange = "origin" in request.headers or "sec-fetch-site" in request.headers
            refusal = JSONResponse({"message": "browsers cannot change the provider"}, 403) if strange else None
        body = bytearray()
        size = 0
        async for part in request.stream():  # to its end, so that the client reads the answer
            size += len(part)
            if refusal is None:
                body += part
            if size > REST_LIMIT_BYTES:
                return JSONResponse({"message": f"more than {REST_LIMIT_BYTES >> 20} MiB"}, 413)
        if refusal is not None:
            return refusal
        try:
            if request.method == "DELETE":
                await target.clear()
                audit.log.info("the configuration of the provider rest was removed by %s", asker_of(request))
                return JSONResponse({})
            if problems := await target.put(bytes(body)):
                return JSONResponse({"message": "nothing has changed", "problems": problems}, 422)
            audit.log.info("the configuration of the provider rest was put by %s", asker_of(request))
        except OSError as error:
            return JSONResponse({"message": f"nothing has changed: {error.strerror or error}"}, 500)
        return Response(bytes(body), media_type="application/json")

    async def no_rest(self, request: Request) -> Response:
        return JSONResponse({"message": "only the provider rest can be updated, and if it is configured"}, 400)

    def refusal(self, request: Request, what: str, token: str = "") -> Response | None:
        """Why a request may not change anything; None: it may. `token`: that it needs instead of the API's."""
        token = token or (self.runtime.static.api.token if self.runtime.static.api else "")
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        for given in (request.headers.get(TOKEN_HEADER, ""), bearer):
            if token and hmac.compare_digest(token.encode(), given.encode("latin-1")):
                return None
        without = f"{what} cannot be changed: api.token is not set; set it in the static file, and start again"
        problem = "wrong token" if token else without
        return JSONResponse({"message": problem}, 403)

    async def reload(self, request: Request) -> Response:
        """Have the providers read their configurations again. Answers with the state before, to see when it is done."""
        if (refusal := self.refusal(request, "the configuration")) is not None:
            return refusal
        reload = self.runtime.reload
        before = {"generation": reload.generation, "inForce": reload.reloads, "failures": reload.failures}
        audit.log.info("the configuration is read again for %s", asker_of(request))
        self.runtime.read_again()
        return JSONResponse(before)

    async def renew(self, request: Request) -> Response:
        """Order certificates anew: those that serve any of `names`, or all."""
        if (refusal := self.refusal(request, "certificates")) is not None:
            return refusal
        try:
            names = [str(name) for name in (read_json(await request.body() or b"{}").get("names") or [])]
        except (ValueError, AttributeError, TypeError):
            return JSONResponse({"message": 'needs a JSON object: {"names": ["a.example"]}'}, 400)
        found = self.runtime.renew(names)
        if found:
            audit.log.info(
                "certificates ordered anew by %s: %s", asker_of(request), "; ".join(", ".join(each) for each in found)
            )
        else:
            what = f"for {', '.join(names)}" if names else "at all"
            return JSONResponse({"message": f"no resolver orders a certificate {what}"}, 404)
        return JSONResponse({"ordered": [list(each) for each in found]})
