"""dns-01: creates records through a provider, and waits until they have propagated."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from acme import challenges as kinds
from josepy import b64

from lbcore.acme.dns.base import DnsProvider, Environment, Record
from lbcore.acme.dns.duckdns import DuckDnsProvider
from lbcore.acme.dns.lexicon import PROVIDERS, LexiconProvider
from lbcore.acme.dns.lookup import Lookup, LookupError_, seen_by
from lbcore.acme.dns.programs import ExecProvider, HttpreqProvider
from lbcore.acme.dns.rfc2136 import Rfc2136Provider
from lbcore.acme.dns.turns import Turns
from lbcore.acme.solving import Challenge, OrderError, Solver, Stop, StoppedError
from lbcore.config.static import DnsChallenge

_log = logging.getLogger("lbcore.acme")

OWN: dict[str, Callable[[Environment], DnsProvider]] = {
    "exec": ExecProvider,
    "httpreq": HttpreqProvider,
    "rfc2136": Rfc2136Provider,
}
NAMES = tuple(sorted({*OWN, *PROVIDERS}))


def make_solver(settings: DnsChallenge, variables: Mapping[str, str] | None = None) -> DnsSolver:
    """Make a solver by the provider's name and lego's variables. Raises ValueError."""
    environ = Environment(os.environ if variables is None else variables)
    lookup = Lookup(settings.resolvers)
    name = settings.provider
    if name in OWN:
        provider = OWN[name](environ)
    elif name == "duckdns":
        provider = DuckDnsProvider(environ, lookup)
    elif name in PROVIDERS:
        provider = LexiconProvider(name, environ, lookup)
    else:
        raise ValueError(
            f"the DNS provider {name!r} is not supported by this version of lbcore (there are {', '.join(NAMES)}; "
            "exec and httpreq reach any other)"
        )
    follows = not environ.get("LEGO_DISABLE_CNAME_SUPPORT")
    return DnsSolver(settings, provider, lookup, follows)


class DnsSolver(Solver):
    """Answers dns-01 by the `dnsChallenge` of a resolver."""

    kinds = ("dns-01",)

    def __init__(self, settings: DnsChallenge, provider: DnsProvider, lookup: Lookup, follows_aliases: bool) -> None:
        self._checks = settings.checks
        self._provider = provider
        self._lookup = lookup
        self._follows_aliases = follows_aliases
        self._records: dict[Challenge, Record] = {}  # records that exist, or may exist
        self._turns = Turns(provider.pause_s) if provider.pause_s is not None else None
        self.one_by_one = self._turns is not None

    def present(self, challenges: Sequence[Challenge], stop: Stop) -> None:
        """Create the records, and wait until they have propagated."""
        waiting: list[Record] = []
        for challenge in challenges:
            stop.check()
            if self._turns is not None:
                self._turns.begin(challenge, stop)
            record = self._record(challenge)
            self._records[challenge] = record
            self._provider.present(record, stop)
            if self._provider.sequential:
                self._wait([record], stop)
            else:
                waiting.append(record)
        if waiting:
            self._wait(waiting, stop)

    def clean(self, challenges: Sequence[Challenge]) -> None:
        """Delete the records."""
        for challenge in challenges:
            record = self._records.pop(challenge, None)
            try:
                if record is not None:
                    self._delete(record)
            finally:
                if self._turns is not None:
                    self._turns.end(challenge)

    def _delete(self, record: Record) -> None:
        try:
            self._provider.clean(record)
        except (OrderError, StoppedError) as error:
            _log.warning("the record %s is left in the DNS: %s", record.name, error)

    def _record(self, challenge: Challenge) -> Record:
        name = f"{kinds.DNS01.LABEL}.{challenge.name}."
        if self._follows_aliases:
            try:
                name = self._lookup.alias_end(name)
            except LookupError_ as error:
                raise OrderError(str(error), is_temporary=True) from None
        value = b64.b64encode(hashlib.sha256(challenge.authorization.encode()).digest()).decode()
        return Record(name, value, challenge)

    def _wait(self, records: Sequence[Record], stop: Stop) -> None:
        stop.wait(self._checks.delay_before_checks.total_seconds())
        if self._checks.disable_checks:
            return
        give_up = time.monotonic() + self._provider.timeout_s
        for record in records:
            while problem := self._unseen(record):
                if time.monotonic() > give_up:
                    limit = f"{self._provider.timeout_s:g} s"
                    raise OrderError(f"the record {record.name} is not seen within {limit}: {problem}")
                stop.wait(self._provider.interval_s)

    def _unseen(self, record: Record) -> str:
        """Why a record has not propagated; empty: it has."""
        try:
            if self._checks.require_all_rns and (problem := self._lookup.seen_by_resolvers(record.name, record.value)):
                return problem
            if self._checks.disable_ans_checks:
                return ""
            servers = self._lookup.authorities_of(self._lookup.zone_of(record.name))
        except LookupError_ as error:
            return str(error)
        return seen_by(servers, record.name, record.value)
