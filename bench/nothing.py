"""A middleware in Python that does nothing: what it costs is the way to it and back."""

from __future__ import annotations

from lbcore.middleware_api import Request, Response


class Nothing:
    """Sees each request and each answer, and lets them pass."""

    def on_request(self, request: Request) -> None: ...

    def on_response(self, request: Request, response: Response) -> None: ...
