"""SPIFFE: servers are known by identities (`spiffe://domain/path`) in place of host names. No I/O.

The trust in a domain is a bundle of authorities. Bundles, and the identity of this instance, come from the Workload
API of an agent that runs beside it, or from files (an extension).
"""

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import WHEN_SET, Model

NOT_CONFIGURED = "SPIFFE is enabled for this transport, but not configured: set spiffe in the static file"
LONGEST_ID = 2048
_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


def domain_of(identity: str) -> str:
    """The trust domain of a SPIFFE ID. Raises ValueError for a text that is none."""
    scheme, _, rest = identity.partition("://")
    domain, slash, path = rest.partition("/")
    segments = path.split("/") if slash else []
    sound = scheme == "spiffe" and _DOMAIN.fullmatch(domain) and len(identity) <= LONGEST_ID
    if not sound or not all(_SEGMENT.fullmatch(part) and part not in (".", "..") for part in segments):
        raise ValueError(f"{identity!r} is no SPIFFE ID: write spiffe://DOMAIN/PATH")
    return domain


@dataclass(frozen=True, slots=True)
class SpiffeTrust:
    """The servers that are trusted.

    ids     their identities; empty: any in the trust domain.
    domain  their trust domain; empty: any with a bundle.
    bundles PEM of the authorities, by trust domain.
    """

    ids: tuple[str, ...]
    domain: str
    bundles: tuple[tuple[str, str], ...] = field(repr=False)


class Identity(Model):
    """The identity of this instance, and the bundles it trusts, as the Workload API tells them. PEM."""

    certificate_text: str = Field(repr=False)
    key_text: str = Field(repr=False)
    bundles: dict[str, str] = Field(default={}, repr=False)


class Spiffe(Model):
    """`spiffe` of a servers transport. With neither `ids` nor `trustDomain`, any identity with a bundle is trusted.

    trustBundles  (extension) by trust domain: files in PEM, or in the format of SPIFFE (JSON), in place of the Workload
                  API. The identity of this instance is in `certificates` then.
    bundles       the contents of these files, as PEM.
    """

    may_be_empty: ClassVar[bool] = True

    ids: list[str] = []
    trust_domain: str = ""
    trust_bundles: Annotated[dict[str, str], WHEN_SET] = {}
    bundles: SkipJsonSchema[tuple[tuple[str, str], ...]] = Field(default=(), repr=False)

    @field_validator("ids")
    @classmethod
    def _are_ids(cls, value: list[str]) -> list[str]:
        for each in value:
            domain_of(each)
        return value

    @field_validator("trust_domain")
    @classmethod
    def _is_domain(cls, value: str) -> str:
        # As in go-spiffe, an identity stands for its trust domain.
        return domain_of(value if "://" in value else f"spiffe://{value}") if value else ""

    @field_validator("trust_bundles")
    @classmethod
    def _are_domains(cls, value: dict[str, str]) -> dict[str, str]:
        return {domain_of(name if "://" in name else f"spiffe://{name}"): file for name, file in value.items()}

    def trust(self, identity: Identity | None) -> SpiffeTrust:
        """With the bundles of the files, or else of the Workload API."""
        bundles = self.bundles
        if not self.trust_bundles and identity is not None:
            bundles = tuple(sorted(identity.bundles.items()))
        return SpiffeTrust(tuple(self.ids), self.trust_domain, bundles)
