"""DuckDNS, by dns-lexicon: a domain has one TXT value, which all names in it share."""

from __future__ import annotations

from typing import Any

from lbcore.acme.dns.base import Environment, Record
from lbcore.acme.dns.lexicon import LexiconProvider
from lbcore.acme.dns.lookup import Lookup
from lbcore.acme.solving import OrderError

PAUSE_S = 60.0  # the TTL of all records there, and lego's default


class DuckDnsProvider(LexiconProvider):
    """The provider `duckdns`. Raises ValueError for missing variables."""

    def __init__(self, environ: Environment, lookup: Lookup) -> None:
        super().__init__("duckdns", environ, lookup)
        self.pause_s = max(environ.seconds("DUCKDNS_SEQUENCE_INTERVAL", PAUSE_S), 0.0)

    def _details(self, record: Record) -> dict[str, Any]:
        labels = record.name.rstrip(".").lower().split(".")
        if len(labels) < 3 or labels[-2:] != ["duckdns", "org"]:
            raise OrderError(f"{record.name} is in no domain of duckdns.org")
        # The zone is duckdns.org; what its users have is one level below. To delete, lexicon looks for the value in the
        # DNS unless it knows an identifier, and finds what a cache remembers.
        return {"delegated": ".".join(labels[-3:]), "identifier": "TXT"}
