"""`http.middlewares`: exactly one kind each, a file for every kind; builders are found by the same names. No I/O."""

from typing import Any

from pydantic import Field

from lbcore.config.middlewares.add_prefix import AddPrefix
from lbcore.config.middlewares.api_key import ApiKey
from lbcore.config.middlewares.basic_auth import BasicAuth
from lbcore.config.middlewares.buffering import Buffering
from lbcore.config.middlewares.chain import Chain
from lbcore.config.middlewares.circuit_breaker import CircuitBreaker
from lbcore.config.middlewares.compress import Compress
from lbcore.config.middlewares.content_type import ContentType
from lbcore.config.middlewares.digest_auth import DigestAuth
from lbcore.config.middlewares.encoded_characters import EncodedCharacters
from lbcore.config.middlewares.errors import Errors
from lbcore.config.middlewares.forward_auth import ForwardAuth
from lbcore.config.middlewares.grpc_web import GrpcWeb
from lbcore.config.middlewares.header_modifier import RequestHeaderModifier, ResponseHeaderModifier
from lbcore.config.middlewares.headers import Headers
from lbcore.config.middlewares.in_flight_req import InFlightReq
from lbcore.config.middlewares.ip_allow_list import IPAllowList, IPWhiteList
from lbcore.config.middlewares.jwt_auth import JwtAuth
from lbcore.config.middlewares.pass_tls_client_cert import PassTLSClientCert
from lbcore.config.middlewares.python import Python
from lbcore.config.middlewares.rate_limit import RateLimit
from lbcore.config.middlewares.redirect_regex import RedirectRegex
from lbcore.config.middlewares.redirect_scheme import RedirectScheme
from lbcore.config.middlewares.replace_path import ReplacePath
from lbcore.config.middlewares.replace_path_regex import ReplacePathRegex
from lbcore.config.middlewares.request_id import RequestID
from lbcore.config.middlewares.request_redirect import RequestRedirect
from lbcore.config.middlewares.retry import Retry
from lbcore.config.middlewares.strip_prefix import StripPrefix
from lbcore.config.middlewares.strip_prefix_regex import StripPrefixRegex
from lbcore.config.middlewares.timeout import Timeout
from lbcore.config.middlewares.upstream import UpstreamTls
from lbcore.config.middlewares.url_rewrite import UrlRewrite
from lbcore.config.model import Object, fields_of
from lbcore.config.plugins import PluginSettings


class Middleware(Object):
    """Exactly one kind.

    plugin  names of plugins of Traefik: it is bypassed, if the static configuration says so, or disabled.
    """

    add_prefix: AddPrefix | None = None
    strip_prefix: StripPrefix | None = None
    strip_prefix_regex: StripPrefixRegex | None = None
    replace_path: ReplacePath | None = None
    replace_path_regex: ReplacePathRegex | None = None
    redirect_scheme: RedirectScheme | None = None
    redirect_regex: RedirectRegex | None = None
    headers: Headers | None = None
    compress: Compress | None = None
    content_type: ContentType | None = None
    encoded_characters: EncodedCharacters | None = None
    ip_allow_list: IPAllowList | None = None
    ip_white_list: IPWhiteList | None = None
    basic_auth: BasicAuth | None = None
    digest_auth: DigestAuth | None = None
    forward_auth: ForwardAuth | None = None
    in_flight_req: InFlightReq | None = None
    pass_tls_client_cert: PassTLSClientCert | None = Field(default=None, alias="passTLSClientCert")
    api_key: ApiKey | None = None
    jwt_auth: JwtAuth | None = None
    request_id: RequestID | None = Field(default=None, alias="requestID")
    rate_limit: RateLimit | None = None
    retry: Retry | None = None
    errors: Errors | None = None
    circuit_breaker: CircuitBreaker | None = None
    buffering: Buffering | None = None
    timeout: Timeout | None = None
    grpc_web: GrpcWeb | None = None
    request_header_modifier: RequestHeaderModifier | None = None
    response_header_modifier: ResponseHeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    python: Python | None = None
    chain: Chain | None = None
    plugin: dict[str, PluginSettings] | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in fields_of(type(self)) if getattr(self, name) is not None]

    @property
    def upstream(self) -> str:
        """The URL of a server that it asks beside all services: `url` of its kind, which may have `tls`. Or empty."""
        return next((url for kind in self.kinds if (url := getattr(getattr(self, kind), "url", ""))), "")

    @property
    def upstream_tls(self) -> UpstreamTls:
        """The settings of connections to that server, or to its store, if it uses TLS."""
        section = self.at(self.tls_way)
        return section.tls if self.tls_way else UpstreamTls()

    @property
    def tls_way(self) -> tuple[str, ...]:
        """The attributes on the way to the section whose `tls` these are; empty: there is none."""
        for kind in self.kinds:
            for way in ((kind,), (kind, "redis")):
                if getattr(self.at(way), "tls", None) is not None:
                    return way
        return ()

    def at(self, way: tuple[str, ...]) -> Any:
        """The section at the end of a way of attributes; None: there is none."""
        section: Any = self
        for name in way:
            section = getattr(section, name, None)
        return section

    @property
    def asks(self) -> list[str]:
        """Names of the services that it sends requests of its own to, as written; such a kind has them in `asks`."""
        return [name for kind in self.kinds for name in getattr(getattr(self, kind), "asks", ())]
