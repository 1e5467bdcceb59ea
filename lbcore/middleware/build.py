"""From the configuration of a middleware to the step that runs. No I/O."""

from __future__ import annotations

from lbcore.config.dynamic import Middleware as Config
from lbcore.middleware.allow_list import AllowList
from lbcore.middleware.api_key import ApiKey
from lbcore.middleware.base import Middleware
from lbcore.middleware.basic_auth import BasicAuth
from lbcore.middleware.buffering import Buffering
from lbcore.middleware.circuit_breaker import CircuitBreaker
from lbcore.middleware.client_cert import PassTLSClientCert
from lbcore.middleware.compress import Compress
from lbcore.middleware.content_type import ContentType
from lbcore.middleware.digest_auth import DigestAuth
from lbcore.middleware.encoded_characters import EncodedCharacters
from lbcore.middleware.errors import Errors
from lbcore.middleware.forward_auth import ForwardAuth
from lbcore.middleware.grpc_web import GrpcWeb
from lbcore.middleware.header_modifier import RequestHeaderModifier, ResponseHeaderModifier
from lbcore.middleware.headers import Headers
from lbcore.middleware.in_flight import InFlightReq
from lbcore.middleware.jwt_auth import JwtAuth
from lbcore.middleware.paths import AddPrefix, ReplacePath, ReplacePathRegex, StripPrefix, StripPrefixRegex, UrlRewrite
from lbcore.middleware.python import PythonMiddleware
from lbcore.middleware.rate_limit import RateLimit
from lbcore.middleware.redirect import RedirectRegex, RedirectScheme, RequestRedirect
from lbcore.middleware.request_id import RequestID
from lbcore.middleware.retry import Retry
from lbcore.middleware.timeout import Timeout
from lbcore.state.holdings import State

KINDS = {
    "add_prefix": AddPrefix,
    "strip_prefix": StripPrefix,
    "strip_prefix_regex": StripPrefixRegex,
    "replace_path": ReplacePath,
    "replace_path_regex": ReplacePathRegex,
    "redirect_scheme": RedirectScheme,
    "redirect_regex": RedirectRegex,
    "headers": Headers,
    "compress": Compress,
    "content_type": ContentType,
    "encoded_characters": EncodedCharacters,
    "ip_allow_list": AllowList,
    "ip_white_list": AllowList,
    "basic_auth": BasicAuth,
    "digest_auth": DigestAuth,
    "forward_auth": ForwardAuth,
    "in_flight_req": InFlightReq,
    "pass_tls_client_cert": PassTLSClientCert,
    "api_key": ApiKey,
    "jwt_auth": JwtAuth,
    "request_id": RequestID,
    "rate_limit": RateLimit,
    "retry": Retry,
    "errors": Errors,
    "circuit_breaker": CircuitBreaker,
    "buffering": Buffering,
    "timeout": Timeout,
    "grpc_web": GrpcWeb,
    "request_header_modifier": RequestHeaderModifier,
    "response_header_modifier": ResponseHeaderModifier,
    "request_redirect": RequestRedirect,
    "url_rewrite": UrlRewrite,
    "python": PythonMiddleware,
}


def build(name: str, config: Config, state: State) -> Middleware:
    """The middleware of a configuration with one kind other than `chain`. Raises ValueError with what is wrong.

    state  where it keeps what lives longer than an exchange.
    """
    (kind,) = config.kinds
    middleware = KINDS[kind](name, getattr(config, kind))
    middleware.keep_in(state)
    return middleware
