"""httpx over replicas: transports that send a service's requests to the server a selector picks. Needs `lbcore[httpx]`.

    selector = PeakEWMA(["http://10.0.0.1:8080", "http://10.0.0.2:8080"])
    client = httpx.Client(mounts={"http://orders": BalancedTransport(selector)})
    client.get("http://orders/items/7")

The replica replaces scheme, host and port. A failed attempt is repeated at another replica if
that is safe (RFC 9110, section 9.2.2).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from typing import Any

try:
    import httpx
except ModuleNotFoundError as error:
    if error.name != "httpx":
        raise
    raise ModuleNotFoundError(
        "lbcore.integrations.httpx needs httpx, which is not installed: pip install 'lbcore[httpx]'", name="httpx"
    ) from None

from lbcore.errors import NoServerError
from lbcore.selection.lease import Lease
from lbcore.selection.retry import RetryBudget
from lbcore.selection.selector import Selector

__all__ = ["GATEWAY", "IDEMPOTENT", "AsyncBalancedTransport", "BalancedTransport", "RetryBudget"]

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110, 9.2.2
GATEWAY = frozenset({502, 503, 504})
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)
NAMED = 8  # most replicas that an error lists
OWN_FAULT = (httpx.UnsupportedProtocol, httpx.LocalProtocolError, httpx.PoolTimeout)  # not the fault of the replica


class _Balanced:
    """The common part of both transports: all but the sending."""

    def __init__(
        self,
        selector: Selector[Any],
        *,
        key: Callable[[httpx.Request], str | bytes | int] | None = None,
        url: Callable[[Any], str] = str,
        attempts: int = 3,
        budget: RetryBudget | None = None,
        retry_statuses: Collection[int] = GATEWAY,
        keep_host: bool = True,
    ) -> None:
        """Take the replicas from a selector, which may be shared and changed.

        key             returns the key of a request, for selectors that choose by key.
        url             returns the URL of a server of the selector; its path precedes that of the request.
        attempts        most attempts, each at a different replica; 1 = no retries.
        budget          limit of retries; None: 20 % of the requests, and 10 in reserve.
        retry_statuses  statuses after which another replica is tried. 5xx count as failures in any case.
        keep_host       send the host of the service, also as the name in TLS, instead of the replica's.
        """
        if isinstance(attempts, bool) or not isinstance(attempts, int):
            raise TypeError(f"attempts have to be an int, not {attempts!r}")
        if attempts < 1:
            raise ValueError(f"{attempts} attempts: 1 at least")
        if not isinstance(keep_host, bool):
            raise TypeError(f"keep_host has to be a bool, not {keep_host!r}")
        self.selector = selector
        self.budget = budget if budget is not None else RetryBudget()
        self._key = key
        self._url = url
        self._attempts = attempts
        self._retry_statuses = frozenset(retry_statuses)
        self._keep_host = keep_host

    def _begin(self, request: httpx.Request) -> _Attempt:
        """The first attempt. Raises httpx.ConnectError, from NoServerError, if no replica may be picked."""
        self.budget.request()
        key = self._key(request) if self._key is not None else None
        try:
            return _Attempt(self, request, key, self.selector.lease(key), [])
        except NoServerError as error:
            raise httpx.ConnectError(f"{error}{self._replicas()}", request=request) from error

    def _replicas(self) -> str:
        """The states of the replicas, for an error message."""
        stats = self.selector.stats()
        named = [f"{self._url(server)} is {stats[server].state}" for server in list(stats)[:NAMED]]
        more = f", and {len(stats) - NAMED} more" if len(stats) > NAMED else ""
        return f" ({', '.join(named)}{more})" if named else ""

    def _aimed(self, request: httpx.Request, server: Any) -> httpx.Request:
        """The request for a replica."""
        base = httpx.URL(self._url(server))
        path = base.raw_path.rstrip(b"/") + request.url.raw_path
        target = request.url.copy_with(scheme=base.scheme, host=base.host, port=base.port, raw_path=path)
        headers, extensions = request.headers.copy(), dict(request.extensions)
        if not self._keep_host:
            headers["Host"] = target.netloc.decode("ascii")
        elif base.scheme == "https":
            extensions.setdefault("sni_hostname", request.url.host)
        return httpx.Request(request.method, target, headers=headers, stream=request.stream, extensions=extensions)


class _Attempt:
    """A request at one replica."""

    def __init__(self, owner: _Balanced, request: httpx.Request, key: Any, lease: Lease[Any], tried: list[Any]) -> None:
        self.owner = owner
        self.request = request
        self.key = key
        self.lease = lease
        self.tried = [*tried, lease.server]
        self.aimed = owner._aimed(request, lease.server)
        self.begun_s = time.monotonic()
        self.latency_s = 0.0
        self.failure = ""

    def answered(self, status: int) -> None:
        """The head of an answer arrived: this is the latency that counts."""
        self.latency_s = max(time.monotonic() - self.begun_s, 1e-9)
        if status >= 500:
            self.failure = "gateway" if status in GATEWAY else "error"

    def over(self) -> None:
        """The last byte of the answer arrived, or the client stopped reading."""
        self.lease.end(ok=not self.failure, latency_s=self.latency_s, kind=self.failure or "error")

    def failed(self, error: BaseException) -> None:
        """The answer is missing or incomplete; adds the replicas to the error message."""
        if isinstance(error, httpx.TransportError):
            urls = [self.owner._url(server) for server in self.tried]
            before = f" (before: {', '.join(urls[:-1])})" if urls[:-1] else ""
            error.args = (f"{error}: replica {urls[-1]}{before}",)
        if isinstance(error, httpx.TransportError) and not isinstance(error, OWN_FAULT):
            self.lease.end(ok=False, kind="local")
        else:
            self.lease.forget()

    def next_after(self, error: BaseException | None, status: int = 0) -> _Attempt | None:
        """The attempt after a failed one; None if a retry is unsafe, no replica is left, or the budget is spent."""
        if len(self.tried) >= self.owner._attempts:
            return None
        if error is not None:
            if not isinstance(error, httpx.TransportError) or isinstance(error, OWN_FAULT):
                return None
        elif status not in self.owner._retry_statuses:
            return None
        if not isinstance(error, NOT_SENT):
            replayable = isinstance(self.request.stream, httpx.ByteStream)
            if self.request.method not in IDEMPOTENT or not replayable:
                return None
        try:
            lease = self.owner.selector.lease(self.key, exclude=self.tried)
        except NoServerError:
            return None
        if not self.owner.budget.retry():
            lease.forget()
            return None
        return _Attempt(self.owner, self.request, self.key, lease, self.tried)


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream, attempt: _Attempt) -> None:
        self.stream = stream
        self.attempt = attempt

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.stream
        except Exception as error:
            self.attempt.failed(error)
            raise

    def close(self) -> None:
        try:
            self.stream.close()
        finally:
            self.attempt.over()


class BalancedTransport(_Balanced, httpx.BaseTransport):
    """For httpx.Client; `_Balanced` documents the settings. `transport` sends; None: an HTTPTransport."""

    def __init__(
        self,
        selector: Selector[Any],
        *,
        transport: httpx.BaseTransport | None = None,
        key: Callable[[httpx.Request], str | bytes | int] | None = None,
        url: Callable[[Any], str] = str,
        attempts: int = 3,
        budget: RetryBudget | None = None,
        retry_statuses: Collection[int] = GATEWAY,
        keep_host: bool = True,
    ) -> None:
        super().__init__(
            selector,
            key=key,
            url=url,
            attempts=attempts,
            budget=budget,
            retry_statuses=retry_statuses,
            keep_host=keep_host,
        )
        self.transport = transport if transport is not None else httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        attempt = self._begin(request)
        while True:
            try:
                response = self.transport.handle_request(attempt.aimed)
            except BaseException as error:
                attempt.failed(error)
                following = attempt.next_after(error)
                if following is None:
                    raise
                attempt = following
                continue
            attempt.answered(response.status_code)
            following = attempt.next_after(None, response.status_code)
            if following is None:
                assert isinstance(response.stream, httpx.SyncByteStream)
                body = _Body(response.stream, attempt)
                return httpx.Response(
                    response.status_code, headers=response.headers, stream=body, extensions=response.extensions
                )
            response.close()
            attempt.over()
            attempt = following

    def close(self) -> None:
        self.transport.close()


class _AsyncBody(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, attempt: _Attempt) -> None:
        self.stream = stream
        self.attempt = attempt

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self.stream:
                yield part
        except Exception as error:
            self.attempt.failed(error)
            raise

    async def aclose(self) -> None:
        try:
            await self.stream.aclose()
        finally:
            self.attempt.over()


class AsyncBalancedTransport(_Balanced, httpx.AsyncBaseTransport):
    """For httpx.AsyncClient; `_Balanced` documents the settings. `transport` sends; None: an AsyncHTTPTransport."""

    def __init__(
        self,
        selector: Selector[Any],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        key: Callable[[httpx.Request], str | bytes | int] | None = None,
        url: Callable[[Any], str] = str,
        attempts: int = 3,
        budget: RetryBudget | None = None,
        retry_statuses: Collection[int] = GATEWAY,
        keep_host: bool = True,
    ) -> None:
        super().__init__(
            selector,
            key=key,
            url=url,
            attempts=attempts,
            budget=budget,
            retry_statuses=retry_statuses,
            keep_host=keep_host,
        )
        self.transport = transport if transport is not None else httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        attempt = self._begin(request)
        while True:
            try:
                response = await self.transport.handle_async_request(attempt.aimed)
            except BaseException as error:
                attempt.failed(error)
                following = attempt.next_after(error)
                if following is None:
                    raise
                attempt = following
                continue
            attempt.answered(response.status_code)
            following = attempt.next_after(None, response.status_code)
            if following is None:
                assert isinstance(response.stream, httpx.AsyncByteStream)
                body = _AsyncBody(response.stream, attempt)
                return httpx.Response(
                    response.status_code, headers=response.headers, stream=body, extensions=response.extensions
                )
            await response.aclose()
            attempt.over()
            attempt = following

    async def aclose(self) -> None:
        await self.transport.aclose()
