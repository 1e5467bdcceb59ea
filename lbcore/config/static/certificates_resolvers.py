"""`certificatesResolvers`: where certificates are ordered, how, and where they are kept. No I/O.

Keys, defaults and meaning are Traefik's. What an extension adds is said beside it.
"""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from lbcore.config.model import WHEN_SET, Change, Model, Object, keys
from lbcore.config.units import Duration, seconds

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
KEY_TYPES = ("EC256", "EC384", "RSA2048", "RSA4096", "RSA8192")
USUAL_KEY_TYPE = "RSA4096"


class ExternalAccount(Model):
    """External account binding: what a CA hands out to those that may have an account."""

    kid: str = ""
    hmac_encoded: str = Field(default="", repr=False)


class HttpChallenge(Model):
    """http-01. `entryPoint`: the one that the CA reaches at port 80."""

    may_be_empty: ClassVar[bool] = True

    entry_point: str = ""
    delay: Duration = seconds(0)


class TlsChallenge(Model):
    """tls-alpn-01, on whatever entry point speaks TLS and is reached at port 443."""

    may_be_empty: ClassVar[bool] = True

    delay: Duration = seconds(0)


class Propagation(Model):
    """How it is found out that the world sees a new record."""

    may_be_empty: ClassVar[bool] = True

    disable_checks: bool = False
    disable_ans_checks: bool = Field(default=False, alias="disableANSChecks")
    require_all_rns: bool = Field(default=False, alias="requireAllRNS")
    delay_before_checks: Duration = seconds(0)


class DnsChallenge(Model):
    """dns-01. `provider`: by lego's names; its settings come from lego's environment variables.

    resolvers  recursive name servers, `host:port`; default: the system's.
    """

    may_be_empty: ClassVar[bool] = True

    provider: str = ""
    resolvers: list[str] = []
    propagation: Propagation | None = None
    delay_before_check: Duration = seconds(0)
    disable_propagation_check: bool = False

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        old = {"delayBeforeCheck": "delayBeforeChecks", "disablePropagationCheck": "disableChecks"}
        return [Change(key, "is deprecated", f"use propagation.{new}") for key, new in old.items() if key in data]

    @property
    def checks(self) -> Propagation:
        """With what the deprecated options say."""
        if self.propagation is not None:
            return self.propagation
        return Propagation(
            disable_checks=self.disable_propagation_check, delay_before_checks=self.delay_before_check
        )


class Acme(Model):
    """An account with a CA that speaks ACME (RFC 8555), and what is ordered by it.

    certificatesDuration  hours that certificates last: when they are renewed follows from it.
    clientTimeout, clientResponseHeaderTimeout  of one request to the CA, and until its answer begins.
    certificateTimeout  that the CA may take to issue what it has agreed to.
    retryDelay  (extension) wait after an order that failed; it grows from failure to failure.
    """

    may_be_empty: ClassVar[bool] = True

    email: str = ""
    ca_server: str = Field(default=LETS_ENCRYPT, alias="caServer")
    preferred_chain: str = ""
    profile: str = ""
    email_addresses: list[str] = []
    disable_common_name: bool = False
    storage: str = Field(default="acme.json", repr=False)
    key_type: str = USUAL_KEY_TYPE
    eab: ExternalAccount | None = None
    certificates_duration: Annotated[int, Field(ge=1, le=24 * 3650)] = 2160
    client_timeout: Duration = seconds(120)
    client_response_header_timeout: Duration = seconds(30)
    certificate_timeout: Duration = seconds(30)
    ca_certificates: list[str] = Field(default=[], alias="caCertificates")
    ca_system_cert_pool: bool = Field(default=False, alias="caSystemCertPool")
    ca_server_name: str = Field(default="", alias="caServerName")
    dns_challenge: DnsChallenge | None = None
    http_challenge: HttpChallenge | None = None
    tls_challenge: TlsChallenge | None = None
    retry_delay: Annotated[Duration, WHEN_SET] = seconds(60)

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        wanted = data.get("keyType")
        if wanted is None or wanted in KEY_TYPES:
            return []
        data["keyType"] = USUAL_KEY_TYPE
        hint = f"write one of {', '.join(KEY_TYPES)}"
        return [Change("keyType", f"{wanted!r} is taken for {USUAL_KEY_TYPE}", hint)]


class CertificatesResolver(Object):
    """A name that routers use for what certificates they get."""

    missing = keys("tailscale", "use acme with a dnsChallenge")

    acme: Acme | None = None
