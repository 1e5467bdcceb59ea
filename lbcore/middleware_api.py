"""Middlewares in Python: what a class gets, gives, and has its options checked by.

A class has `on_request`, `on_response`, or both; either may be `async`:

    class Teapot:
        def on_request(self, request: Request) -> Response | None:
            return Response(418, "no coffee") if request.path == "/coffee" else None

        def on_response(self, request: Request, response: Response) -> Response | None:
            response.headers["X-Pot"] = "tea"
            return None

`on_request` returns None to let the request pass, or a Response, which is the answer. `on_response` gets the answer of
the server, or of lbcore itself, whose head it may change, and returns None, or another Response in its place.

A class may have two more attributes: `Options`, a model of pydantic with whose instance the class is called, and
`body_limit`, a number of bytes: its requests wait for their bodies, which may be no longer, and are in `request.body`.

One instance serves all requests of a worker process, in the thread of its event loop. A method that is not `async` must
not wait for anything, since all other requests wait for it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from lbcore.middleware.views import Headers, Request, Response

__all__ = ["BaseOptions", "Headers", "Request", "Response"]


class BaseOptions(BaseModel):
    """A base for the options of a class: keys are camel case, as in all files, and unknown ones are refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )
