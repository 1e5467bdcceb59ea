"""A server that a middleware asks by its URL. No I/O."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import SECRETS, Model
from lbcore.config.network import split_url
from lbcore.config.tls import KeyPair, NamedServers, ServerTls


class UpstreamTls(Model):
    """TLS to that server: the file, or the text, of authorities, and of a certificate of one's own.

    settled  the same with the contents of the files; None until `lbcore.tls.material` has read them.
    """

    ignored = {"caOptional": "it is a setting for clients, and has no effect here"}

    ca: str = Field(default="", repr=False)
    cert: str = Field(default="", repr=False)
    key: Annotated[str, SECRETS] = Field(default="", repr=False)
    insecure_skip_verify: bool = False
    settled: SkipJsonSchema[NamedServers | None] = Field(default=None, repr=False)

    @property
    def servers(self) -> NamedServers:
        """The settings as those of a servers transport have them, without the contents of files."""
        pairs = [KeyPair(cert_file=self.cert, key_file=self.key)] if self.cert or self.key else []
        authorities = [self.ca] if self.ca else []
        settings = {"rootCAs": authorities, "certificates": pairs, "insecureSkipVerify": self.insecure_skip_verify}
        return NamedServers.model_validate(settings)

    def server_tls(self) -> ServerTls:
        return (self.settled or self.servers).server_tls()


def check_url(option: str, url: str) -> str:
    """http:// or https://, a host, and what follows. Raises ValueError."""
    try:
        parts = urlsplit(url)
        split_url(url)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{option}: {url!r} does not begin with http:// or https://")
    if parts.username is not None:
        raise ValueError(f"{option}: a user in the URL is not sent: leave it out")
    if not url.isascii() or any(letter <= " " or letter == "\x7f" for letter in url):
        raise ValueError(f"{option}: {url!r} has letters that a URL does not have")
    return url


def origin_of(url: str) -> str:
    """Scheme and authority: what connections to its server have in common."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
