"""Three middlewares: a variant by user, a check of JSON bodies, and tenants by key from Redis."""

from __future__ import annotations

import hashlib
import json

from redis.asyncio import Redis

from lbcore.middleware_api import BaseOptions, Request, Response


class Variant:
    """Tells servers which variant of the shop a user is to see, always the same one for a user."""

    class Options(BaseOptions):
        share: float = 0.5  # of the users who see B
        header: str = "X-Variant"

    def __init__(self, options: Variant.Options) -> None:
        self._options = options

    def on_request(self, request: Request) -> None:
        user = request.user or request.headers.get("X-User") or request.client
        place = int.from_bytes(hashlib.blake2b(user.encode(), digest_size=4).digest(), "big") / 2**32
        request.state["variant"] = "B" if place < self._options.share else "A"
        request.headers[self._options.header] = request.state["variant"]

    def on_response(self, request: Request, response: Response) -> None:
        response.headers[self._options.header] = request.state["variant"]
        response.headers.add("Vary", "X-User")


class OrderCheck:
    """Lets orders pass that are JSON objects with the keys that an order needs."""

    class Options(BaseOptions):
        keys: tuple[str, ...] = ("item", "amount")
        limit_bytes: int = 65536

    def __init__(self, options: OrderCheck.Options) -> None:
        self._keys = options.keys
        self.body_limit = options.limit_bytes  # a longer body is answered with 413

    def on_request(self, request: Request) -> Response | None:
        if request.method != "POST":
            return None
        try:
            order = json.loads(request.body)
        except ValueError:
            return Response(400, "not JSON\n")
        missing = [key for key in self._keys if not isinstance(order, dict) or key not in order]
        return Response(422, f"missing: {', '.join(missing)}\n") if missing else None


class Tenant:
    """Finds the tenant of a key in Redis, and tells servers its name; a key that is not there is refused."""

    class Options(BaseOptions):
        url: str = "redis://127.0.0.1:6379"
        prefix: str = "tenant:"

    def __init__(self, options: Tenant.Options) -> None:
        self._options = options
        self._redis: Redis | None = None

    async def on_request(self, request: Request) -> Response | None:
        if self._redis is None:  # made in the worker's own loop
            self._redis = Redis.from_url(self._options.url, decode_responses=True)
        key = request.headers.pop("X-Tenant-Key", "")
        name = await self._redis.get(self._options.prefix + key)
        if not name:
            return Response(403, "unknown key\n")
        request.headers["X-Tenant"] = name
        return None
