"""`forwardAuth`: another server is asked about each request. No I/O."""

from collections.abc import Iterator

from pydantic import Field, field_validator

from lbcore.config.middlewares.header_names import HeaderName
from lbcore.config.middlewares.headers import NAME, OF_CONNECTIONS
from lbcore.config.middlewares.upstream import UpstreamTls, check_url
from lbcore.config.model import Model
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
