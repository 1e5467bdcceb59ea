"""The part of the API that is about the instance itself: the level of its log, its ping, its end, its memory."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lbcore.api import audit
from lbcore.api.console import FRESH, Refusal, asker_of, object_of
from lbcore.api.memory import MemoryReader
from lbcore.api.operating import ACTIONS, LogLevel, PingSwitch, Stop, level_named, ping_view, shown, span_of
from lbcore.api.paths import ChangePath
from lbcore.api.refused import RefusedError, text_of
from lbcore.api.runtime import Runtime

ANSWER_S = 1.0  # longest time that the answer to a request for the end may take until the end begins


class InstancePaths:
    """`refusal`: why a request may not change anything; None: it may."""

    def __init__(self, runtime: Runtime, refusal: Refusal) -> None:
        self._runtime = runtime
        self._refusal = refusal
        self._memory = MemoryReader(runtime)

    def routes(self, base: str) -> list[Route]:
        return [
            ChangePath(f"{base}/api/log-level", self.log_level, methods=["GET", "PUT", "DELETE"]),
            ChangePath(f"{base}/api/ping", self.ping, methods=["GET", "POST"]),
            ChangePath(f"{base}/api/stop", self.stop, methods=["POST"]),
            ChangePath(f"{base}/api/memory", self.memory, methods=["GET"]),
        ]

    async def log_level(self, request: Request) -> Response:
        """Tell the level of the log, have another one hold, or the configured one again."""
        try:
            level = _log_level(self._runtime)
            if request.method in ("GET", "HEAD"):
                return JSONResponse(level.view(), headers=FRESH)
            if (refusal := self._refusal(request, "the level of the log")) is not None:
                return refusal
            if request.method == "DELETE":
                return JSONResponse({"message": level.reset(asker_of(request)), **level.view()})
            given = await _object_of(request, '{"level": "DEBUG", "for": "10m"}', ("level", "for"))
            name = level_named(given.get("level"))
            span = span_of(given["for"]) if given.get("for") is not None else None
            return JSONResponse({"message": level.set(name, span, asker_of(request)), **level.view()})
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)

    async def ping(self, request: Request) -> Response:
        """Tell what the ping answers, have it fail, or take that back."""
        runtime = self._runtime
        try:
            ping = _ping(runtime)
            if request.method in ("GET", "HEAD"):
                return JSONResponse(ping_view(ping, runtime.stop), headers=FRESH)
            if (refusal := self._refusal(request, "the ping")) is not None:
                return refusal
            action = (await _object_of(request, '{"action": "fail"}', ("action",))).get("action")
            if action not in ACTIONS:
                raise RefusedError(400, f"no such action: {shown(action)}; known: {', '.join(ACTIONS)}")
            if runtime.stop is not None and runtime.stop.has_begun():
                raise RefusedError(409, "the instance is stopping: /ping fails until its end")
            message = ping.fail(asker_of(request)) if action == "fail" else ping.restore(asker_of(request))
            return JSONResponse({"message": message, **(ping_view(ping, runtime.stop) or {})})
        except RefusedError as error:
            return JSONResponse(text_of(error), error.status)

    async def stop(self, request: Request) -> Response:
        """End the process as SIGTERM does, when the answer is sent."""
        if (refusal := self._refusal(request, "the instance")) is not None:
            return refusal
        stop = self._runtime.stop
        if stop is None:
            message = "lbcore runs inside of another program, which alone can end it"
            return JSONResponse({"message": message}, 400)
        answer = stop.view()
        if stop.has_begun():
            return JSONResponse({"message": "the instance is stopping already", **answer})
        audit.log.info("the instance is stopped by %s: %s", asker_of(request), stop.plan)
        last = asyncio.get_running_loop().call_later(ANSWER_S, stop.end)  # also if nobody takes the answer
        answer |= {"message": f"the instance stops: {stop.plan}", "stopping": True}
        return JSONResponse(answer, background=BackgroundTask(_end, stop, last))

    async def memory(self, request: Request) -> Response:
        """The memory of each process, and of what is bounded in it."""
        return JSONResponse(await self._memory.report(), headers=FRESH)


async def _end(stop: Stop, last: asyncio.TimerHandle) -> None:
    last.cancel()
    stop.end()


async def _object_of(request: Request, example: str, known: tuple[str, ...]) -> dict[str, Any]:
    """`object_of` for an object that has no other keys than `known`."""
    given = await object_of(request, example)
    if unknown := [key for key in given if key not in known]:
        raise RefusedError(400, f"no such key: {shown(unknown[0])}; known: {', '.join(known)}")
    return given


def _log_level(runtime: Runtime) -> LogLevel:
    if runtime.log_level is None:
        raise RefusedError(400, "the program inside of which lbcore runs decides about the log")
    return runtime.log_level


def _ping(runtime: Runtime) -> PingSwitch:
    if runtime.ping is None or runtime.ping.failing_status is None:
        raise RefusedError(400, "there is no /ping: `ping` is not configured in the static file")
    return runtime.ping
