"""`jwtAuth`, an extension: only requests with a signed token (RFC 7519) pass. No I/O."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from lbcore.config.middlewares.header_names import HeaderName, OwnHeaderName
from lbcore.config.middlewares.upstream import UpstreamTls, check_url
from lbcore.config.model import SECRETS, Model
from lbcore.config.units import Duration, seconds

BY_SECRET = frozenset({"HS256", "HS384", "HS512"})
BY_KEY = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})


class JwtAuth(Model):
    """Exactly one of `jwks_url`, `public_keys` and `secret` says by what tokens are verified.

    algorithms         that are accepted; empty: all that go with the kind of key. `none` never is.
    audience           of which a token has to name one; empty: its audience does not matter.
    required_claims    and the value that each has to have; of a claim that is a list one of its values.
    claims_to_headers  headers for servers, by claim: `a.b` is the claim b in the claim a.
    user_claim         names the user in the access log.
    leeway             between clocks.
    cache_for          time after which the keys of `jwks_url` are asked for again; they stay while its server is away.
    """

    jwks_url: str = Field(default="", alias="jwksURL")
    tls: UpstreamTls | None = None
    public_keys: list[str] = []
    secret: Annotated[str, SECRETS] = Field(default="", repr=False)
    algorithms: list[str] = []
    issuer: str = ""
    audience: list[str] = []
    required_claims: dict[str, str] = {}
    claims_to_headers: dict[str, OwnHeaderName] = {}
    header_name: HeaderName = "Authorization"
    remove_header: bool = False
    user_claim: str = "sub"
    realm: str = ""
    leeway: Duration = seconds(30)
    cache_for: Duration = seconds(300)

    @field_validator("jwks_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return check_url("jwksURL", value) if value else value

    @field_validator("algorithms")
    @classmethod
    def _algorithms(cls, values: list[str]) -> list[str]:
        for value in values:
            if value not in BY_SECRET | BY_KEY:
                raise ValueError(f"{value!r} is not an algorithm of tokens: {', '.join(sorted(BY_SECRET | BY_KEY))}")
        return values

    @property
    def url(self) -> str:
        """The URL of the server that has the keys; empty: the configuration has them."""
        return self.jwks_url

    @property
    def accepted(self) -> frozenset[str]:
        """The algorithms that tokens may have."""
        return frozenset(self.algorithms) or (BY_SECRET if self.secret else BY_KEY)

    def check(self) -> None:
        """Raises ValueError if the options do not go together."""
        ways: list[Any] = [self.jwks_url, self.public_keys, self.secret]
        if sum(bool(way) for way in ways) != 1:
            raise ValueError("jwtAuth has exactly one of jwksURL, publicKeys and secret")
        if wrong := self.accepted - (BY_SECRET if self.secret else BY_KEY):
            kind = "a secret" if self.secret else "public keys"
            raise ValueError(f"the algorithms {', '.join(sorted(wrong))} do not go with {kind}")
        if self.secret and len(self.secret.encode()) < 32:
            raise ValueError("the secret of jwtAuth has less than 32 bytes")
