"""The part of the API that Traefik does not have: structure, stream, history, news, searches, explanations, actions."""

from __future__ import annotations

import asyncio
import copy
import gzip
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lbcore.api import audit
from lbcore.api.actions import Target, change_member, set_weights, target_of
from lbcore.api.denials import denied_at
from lbcore.api.explain import ExplainError, explain
from lbcore.api.health import check_view, health_of, last_check
from lbcore.api.live import CannotWatchError, Live
from lbcore.api.news import digest, news
from lbcore.api.nodes import View
from lbcore.api.pages import is_known, takes_gzip
from lbcore.api.paths import ChangePath
from lbcore.api.refused import RefusedError, text_of
from lbcore.api.runtime import Runtime
from lbcore.api.search import search
from lbcore.api.sessions import Turns, close_sessions
from lbcore.api.structure import Structure
from lbcore.api.tap import Taps, wanted_of
from lbcore.api.tcp_view import tcp_service_view
from lbcore.api.udp_view import udp_service_view
from lbcore.api.view import service_view
from lbcore.config.json_text import read_json

MOST_BYTES = 1 << 20  # of the body of a request
Refusal = Callable[[Request, str], Response | None]
STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
FRESH = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


def asker_of(request: Request) -> str:
    """The address from which a worker has got a request: the last one that it names, which no client can write."""
    return request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip() or "an unknown address"


async def body_of(request: Request) -> bytes:
    """The body of a request, read to its end. Raises RefusedError if it is too long."""
    body, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if size <= MOST_BYTES:
            body += part
    if size > MOST_BYTES:
        raise RefusedError(413, f"more than {MOST_BYTES >> 20} MiB")
    return bytes(body)


async def object_of(request: Request, example: str) -> dict[str, Any]:
    """The JSON object in the body of a request. Raises RefusedError."""
    try:
        found = read_json(await body_of(request))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, f"needs a JSON object: {example}")
    return found


def view_of(runtime: Runtime, target: Target) -> dict[str, Any]:
    """A service as Traefik's API shows it, with the tree below it."""
    if target.layer == "http":
        return service_view(runtime, target.name, runtime.dynamic.http.services[target.name], with_health=True)
    if target.layer == "tcp":
        view = tcp_service_view(runtime, target.name, runtime.dynamic.tcp.services[target.name])
    else:
        view = udp_service_view(runtime, target.name, runtime.dynamic.udp.services[target.name])
    return view | {"health": health_of(runtime, target.service)}


class Console:
    """`refusal`: why a request may not change anything; None: it may. `turn`: held by one who works in a thread."""

    def __init__(self, runtime: Runtime, live: Live, taps: Taps, refusal: Refusal, turn: asyncio.Lock) -> None:
        self._runtime = runtime
        self._live = live
        self._taps = taps
        self._refusal = refusal
        self._turn = turn
        self._turns = Turns(runtime)

    def routes(self, base: str) -> list[Route]:
        return [
            Route(f"{base}/api/structure", self.structure),
            Route(f"{base}/api/live", self.stream),
            Route(f"{base}/api/tap", self.tap),
            ChangePath(f"{base}/api/sessions/close", self.close_sessions, methods=["POST"]),
            Route(f"{base}/api/sessions", self.sessions),
            Route(f"{base}/api/info", self.info),
            Route(f"{base}/api/search", self.search),
            Route(f"{base}/api/history", self.history),
            Route(f"{base}/api/token", self.token),
            ChangePath(f"{base}/api/maxima", self.maxima, methods=["GET", "DELETE"]),
            ChangePath(f"{base}/api/explain", self.explain, methods=["POST"]),
            ChangePath(f"{base}/api/{{layer}}/services/{{name:path}}/weights", self.weights, methods=["PUT", "DELETE"]),
            ChangePath(f"{base}/api/{{layer}}/services/{{name:path}}/members", self.members, methods=["POST"]),
        ]

    async def structure(self, request: Request) -> Response:
        """All nodes; compressed once for each configuration."""
        version, packed = await self._live.read(
            lambda runtime, structure, views: (structure.version, structure.packed())
        )
        headers = {**FRESH, "ETag": f'"{version}"', "Vary": "Accept-Encoding", "Content-Type": "application/json"}
        if is_known(request, headers["ETag"]):
            return Response(None, 304, headers=headers)
        if takes_gzip(request):
            return Response(packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(await asyncio.to_thread(gzip.decompress, packed), headers=headers)

    async def stream(self, request: Request) -> Response:
        if request.method == "HEAD":  # it has no events, so its answer would never be complete
            return Response(None, headers={**STREAM, "Content-Type": "text/event-stream; charset=utf-8"})
        try:
            events = await self._live.watch()
        except CannotWatchError as error:
            return JSONResponse({"message": str(error)}, 503, headers={**FRESH, "Retry-After": "5"})
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM)

    async def tap(self, request: Request) -> Response:
        """Single requests as they pass."""
        try:
            wanted = wanted_of(self._runtime, list(request.query_params.multi_items()))
            if request.method == "HEAD":
                return Response(None, headers={**STREAM, "Content-Type": "text/event-stream; charset=utf-8"})
            events = self._taps.watch(wanted)
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status, headers=FRESH)
        except CannotWatchError as error:
            return JSONResponse({"message": str(error)}, 503, headers={**FRESH, "Retry-After": "5"})
        return StreamingResponse(events, media_type="text/event-stream", headers=STREAM)

    async def info(self, request: Request) -> Response:
        tag = f'"{digest(self._runtime)}"'
        if is_known(request, tag):
            return Response(None, 304, headers={**FRESH, "ETag": tag})
        async with self._turn:
            found = await asyncio.to_thread(news, copy.copy(self._runtime))
        return JSONResponse(found, headers={**FRESH, "ETag": f'"{found["version"]}"'})

    async def search(self, request: Request) -> Response:
        query = dict(request.query_params)
        try:
            found = await self._live.read(lambda runtime, structure, views: search(structure, views, query))
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 400, headers=FRESH)
        return JSONResponse(found, headers=FRESH)

    async def history(self, request: Request) -> Response:
        id = request.query_params.get("id", "")

        def find(runtime: Runtime, structure: Structure, views: dict[str, View]) -> View | None:
            if id != "totals" and id not in structure.nodes:
                return None
            part = structure.parts.get(structure.nodes.get(id, {}).get("service", ""))
            member = next((member for key, member in part.members if key == id), None) if part is not None else None
            last = last_check(runtime, member) if member is not None else None
            found = self._live.history.view(id) | ({"lastCheck": check_view(last)} if last is not None else {})
            if (node := structure.nodes.get(id)) is not None:
                if node["kind"] != "middleware":
                    found |= {
                        "maxima": self._live.maxima.view(structure, id),
                        "maximaSince": self._live.maxima.since_ms,
                    }
                denied = denied_at(runtime, node["kind"], node.get("layer", ""), node["name"])
                found |= {"denied": denied} if denied is not None else {}
            return found

        found = await self._live.read(find)
        if found is None:
            return JSONResponse({"message": f"no such object: {id}"}, 404, headers=FRESH)
        return JSONResponse(found, headers=FRESH)

    async def maxima(self, request: Request) -> Response:
        """The highest numbers since the start, or since they were reset; DELETE: reset them."""
        live = self._live
        if request.method == "DELETE":
            if (refusal := self._refusal(request, "maxima")) is not None:
                return refusal
            await live.read(lambda runtime, structure, views: live.maxima.reset())
            audit.log.info("the maxima are reset by %s", asker_of(request))
            return JSONResponse(
                {"message": "the maxima are counted anew", "since": live.maxima.since_ms}, headers=FRESH
            )
        query = dict(request.query_params)
        try:
            found = await live.read(lambda runtime, structure, views: live.maxima.page(structure, query))
        except ValueError as error:
            return JSONResponse({"message": str(error)}, 400, headers=FRESH)
        return JSONResponse(found, headers=FRESH)

    async def token(self, request: Request) -> Response:
        """Whether a client has the right token."""
        refusal = self._refusal(request, "servers and weights")
        return refusal if refusal is not None else JSONResponse({"message": "the token is right"}, headers=FRESH)

    async def explain(self, request: Request) -> Response:
        """Why a request would go where it would go."""
        try:
            if not request.headers.get("content-type", "").startswith("application/json"):
                raise RefusedError(415, "needs Content-Type: application/json")
            given = await object_of(request, '{"request": "GET http://shop.example/"}')
            asked, client, point = (given.get(key, "") for key in ("request", "client", "entryPoint"))
            headers = given.get("headers", [])
            texts = [asked, client, point, *(headers if isinstance(headers, list) else [None])]
            if not all(isinstance(text, str) for text in texts):
                raise RefusedError(400, "request, client and entryPoint are texts, headers is a list of them")
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)

        def lines(runtime: Runtime) -> list[str]:
            return list(explain(runtime, asked, headers, client or "192.0.2.1", point))

        try:
            async with self._turn:
                return JSONResponse({"lines": await asyncio.to_thread(lines, copy.copy(self._runtime))})
        except ExplainError as error:
            return JSONResponse({"message": str(error)}, 400)

    async def sessions(self, request: Request) -> Response:
        """What is open now."""
        try:
            found = await self._turns.list(request.query_params.multi_items())
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status, headers=FRESH)
        return JSONResponse(found, headers=FRESH)

    async def close_sessions(self, request: Request) -> Response:
        """End some of what is open."""
        if (refusal := self._refusal(request, "sessions")) is not None:
            return refusal
        try:
            given = await object_of(request, '{"ids": ["0-m1abc.7"]}, or {"server": "http://10.0.0.1"}')
            return JSONResponse(await close_sessions(self._runtime, given, asker_of(request)), headers=FRESH)
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)

    async def weights(self, request: Request) -> Response:
        """Override the weights of a service's members until the overrides are reset, or the members leave."""
        if (refusal := self._refusal(request, "weights")) is not None:
            return refusal
        runtime = self._runtime
        try:
            target = target_of(runtime, *(request.path_params[key] for key in ("layer", "name")))
            wanted: dict[str, int | None] = dict.fromkeys(target.slots)
            if request.method == "PUT":
                example = '{"v1": 90, "v2": 10}'
                given = await object_of(request, example)
                if not all(isinstance(each, int) and not isinstance(each, bool) for each in given.values()):
                    raise RefusedError(400, f"needs a JSON object of weights: {example}")
                wanted = given
            set_weights(runtime, target, wanted, request.query_params.get("force") == "true", asker_of(request))
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)
        await self._live.look_at(f"{request.path_params['layer']}/services/{target.name}")  # without traffic too
        return JSONResponse(view_of(runtime, target))

    async def members(self, request: Request) -> Response:
        """Drain a member, take it out, or make it as configured again."""
        if (refusal := self._refusal(request, "servers")) is not None:
            return refusal
        layer, name = (request.path_params[key] for key in ("layer", "name"))
        try:
            target = target_of(self._runtime, layer, name)
            given = await object_of(request, '{"member": "http://10.0.0.1", "action": "drain"}')
            key, action, force = str(given.get("member")), str(given.get("action")), given.get("force") is True
            message = change_member(self._runtime, target, key, action, force, asker_of(request))
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)
        id = f"{layer}/members/{target.name}|{key}"
        return JSONResponse({"message": message, "id": id, "live": await self._live.look_at(id)})
