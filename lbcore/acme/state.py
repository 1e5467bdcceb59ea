"""The state of the agent: its resolvers, the served certificates, and the wanted ones."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field

from cryptography import x509

from lbcore.acme.answers import Answers, HttpSolver, Sharing, TlsSolver
from lbcore.acme.client import Authority
from lbcore.acme.dns.solver import make_solver
from lbcore.acme.keys import names_of
from lbcore.acme.schedule import Allowance, renewal_due
from lbcore.acme.solving import Solver
from lbcore.acme.storage import Storage, StoredCertificate
from lbcore.acme.wanted import Wanted
from lbcore.config.static import Acme
from lbcore.tls.describe import UNREADABLE

ORDERS_AT_ONCE = 4  # of one resolver
ORDERS_BURST, ORDER_S = 100, 36.0  # of one resolver: this many at once, then one in this many seconds
SHORT_LIFE_S = 86400.0  # CAs whose certificates last less have no such limits, and renewals that wait come too late

_log = logging.getLogger("lbcore.acme")

Key = tuple[str, frozenset[str]]  # name of the resolver, names of the certificate


@dataclass(eq=False)
class Held:
    """A certificate that is served. Times are seconds since 1970.

    stored_yet  False: writing it to the storage failed so far.
    """

    resolver: str
    stored: StoredCertificate
    certificate: x509.Certificate
    names: frozenset[str]
    share: float = field(default_factory=random.random)
    window: tuple[float, float] | None = None  # the CA suggests to renew it within
    suggested: float | None = None  # a random time in the window
    ask_again: float = 0.0
    stored_yet: bool = True

    def suggest(self, window: tuple[float, float] | None) -> None:
        """Record the window in which the CA suggests to renew it; None: no suggestion."""
        if window != self.window:
            self.window = window
            self.suggested = None if window is None else random.uniform(*window)

    def due(self, duration_h: int) -> float:
        """When to renew it: at the time that the CA suggests, else by its life."""
        if self.suggested is not None:
            return self.suggested
        begins, ends = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return renewal_due(begins.timestamp(), ends.timestamp(), duration_h, self.share)

    @property
    def life_s(self) -> float:
        """How long the certificate is valid in all."""
        return (self.certificate.not_valid_after_utc - self.certificate.not_valid_before_utc).total_seconds()

    @property
    def ends(self) -> float:
        """When it ends."""
        return self.certificate.not_valid_after_utc.timestamp()


@dataclass
class Job:
    """One wanted certificate. `due`: when to order it; `not_before`: end of the wait after a failure."""

    wanted: Wanted
    due: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    running: bool = False
    forced: bool = False
    complaint: str = ""

    @property
    def at(self) -> float:
        """When the next order may begin."""
        return max(self.due if not self.forced else 0.0, self.not_before)


class Resolver:
    """One of `certificatesResolvers`, with its account, storage and certificates."""

    def __init__(self, name: str, settings: Acme, storage: Storage) -> None:
        self.name = name
        self.settings = settings
        self.storage = storage
        self.authority = Authority(name, settings, storage, lambda text: _log.info("resolver %s: %s", name, text))
        self.slots = asyncio.Semaphore(ORDERS_AT_ONCE)
        self.allowance = Allowance(ORDERS_BURST, ORDER_S)
        self.solvers: list[Solver] = []
        self.not_before = 0.0  # no order begins before this time
        self.asking = False  # a request for renewal information is running

    def may_order(self, old: Held | None, now: float) -> bool:
        """Whether an order may begin now; it is counted then. `old`: the certificate that it renews."""
        if old is not None and old.life_s < SHORT_LIFE_S:
            return True
        if self.allowance.wait_s(now) > 0:
            return False
        self.allowance.take()
        return True

    @property
    def has_dns(self) -> bool:
        """Whether it can order wildcards."""
        return self.settings.dns_challenge is not None and bool(self.settings.dns_challenge.provider)


def held_of(resolver: str, stored: StoredCertificate) -> Held | None:
    """A stored certificate for serving; None if it cannot be served."""
    from lbcore.tls.pairs import pair_of

    try:
        pair_of(stored.certificate, stored.key)
        certificate = x509.load_pem_x509_certificate(stored.certificate.encode())
    except UNREADABLE:
        return None
    return Held(resolver, stored, certificate, frozenset(names_of(certificate)))


def solvers_of(settings: Acme, answers: Answers, sharing: Sharing | None = None) -> list[Solver]:
    """The solvers of the configured challenges. Raises ValueError."""
    found: list[Solver] = []
    if settings.dns_challenge is not None and settings.dns_challenge.provider:
        found.append(make_solver(settings.dns_challenge))
    if settings.http_challenge is not None and settings.http_challenge.entry_point:
        found.append(HttpSolver(answers, settings.http_challenge.delay, sharing))
    if settings.tls_challenge is not None:
        found.append(TlsSolver(answers, settings.tls_challenge.delay, sharing))
    return found
