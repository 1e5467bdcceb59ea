"""`http.middlewares`: exactly one kind each, a file for every kind; builders are found by the same names. No I/O."""

from __future__ import annotations

from lbcore.config.middlewares.add_prefix import AddPrefix
from lbcore.config.middlewares.chain import Chain
from lbcore.config.middlewares.compress import Compress
from lbcore.config.middlewares.content_type import ContentType
from lbcore.config.middlewares.encoded_characters import EncodedCharacters
from lbcore.config.middlewares.headers import Headers
from lbcore.config.middlewares.redirect_regex import RedirectRegex
from lbcore.config.middlewares.redirect_scheme import RedirectScheme
from lbcore.config.middlewares.replace_path import ReplacePath
from lbcore.config.middlewares.replace_path_regex import ReplacePathRegex
from lbcore.config.middlewares.strip_prefix import StripPrefix
from lbcore.config.middlewares.strip_prefix_regex import StripPrefixRegex
from lbcore.config.model import Object, fields_of, keys


class Middleware(Object):
    """Exactly one kind."""

    missing = {
        **keys("retry", "lbcore tries other servers by itself where none has seen the request"),
        **keys("circuitBreaker", "passiveHealthCheck of the service takes failing servers out"),
        **keys("inFlightReq", "maxConnections of the service limits what each server has under way"),
        **keys("errors rateLimit buffering ipAllowList ipWhiteList basicAuth digestAuth forwardAuth"),
        **keys("passTLSClientCert grpcWeb plugin"),
    }

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
    chain: Chain | None = None

    @property
    def kinds(self) -> list[str]:
        """Attributes that are set; one in a middleware that can run."""
        return [name for name in fields_of(type(self)) if getattr(self, name) is not None]

    @property
    def asks(self) -> list[str]:
        """Names of the services that it sends requests of its own to, as written; such a kind has them in `asks`."""
        return [name for kind in self.kinds for name in getattr(getattr(self, kind), "asks", ())]
