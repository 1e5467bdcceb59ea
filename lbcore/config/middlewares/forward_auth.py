"""`forwardAuth`: another server is asked about each request. No I/O."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field, field_validator

from lbcore.config.middlewares.header_names import HeaderName
from lbcore.config.middlewares.headers import NAME, OF_CONNECTIONS
from lbcore.config.middlewares.upstream import UpstreamTls, check_url
from lbcore.config.model import Change, Model
from lbcore.config.numbers import Limit

NOT_SET = OF_CONNECTIONS | {"host", "expect"}  # that an answer cannot set on a request


class ForwardAuth(Model):
    """trust_forward_header    None: as Traefik has done it before the option had a meaning.
    max_response_body_size  bytes; None or below 0: what the memory for bodies has room for.
    """

    address: str = ""
    tls: UpstreamTls | None = None
    trust_forward_header: bool | None = None
    auth_response_headers: list[HeaderName] = []
    auth_response_headers_regex: str = ""
    auth_request_headers: list[HeaderName] = []
    max_response_body_size: Limit | None = None
    add_auth_cookies_to_response: list[str] = []
    header_field: HeaderName = ""
    forward_body: bool = False
    max_body_size: Limit = -1
    preserve_location_header: bool = False
    preserve_request_method: bool = False
    auth_signin_url: str = Field(default="", alias="authSigninURL")

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """Names in one part of a list, with commas between them, as labels have them, are several: in Traefik they are
        none, and so what clients send in these headers reaches servers."""
        changes = []
        for key in ("authResponseHeaders", "authRequestHeaders"):
            parts = [[name.strip() for name in text.split(",")] for text in data.get(key, [])]
            names = [name for part in parts for name in part if name]
            if len(names) > len(parts):
                data[key] = names
                changes.append(Change(key, f"its parts have {len(names)} names", "write each as a part"))
        return changes

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        return check_url("address", value)

    @field_validator("auth_signin_url")
    @classmethod
    def _location(cls, value: str) -> str:
        if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise ValueError("authSigninURL has control characters")
        return value

    @property
    def url(self) -> str:
        """The URL of the server that is asked."""
        return self.address

    def without_effect(self) -> Iterator[str]:
        for name in self.auth_response_headers:
            if name.lower() in NOT_SET or not NAME.fullmatch(name):
                yield f"forwardAuth.authResponseHeaders: {name} has no effect: it belongs to the connection"
