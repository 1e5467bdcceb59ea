"""Which certificates to order, and when: a function of the wanted and the present certificates. No I/O."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from cryptography import x509

from lbcore.acme.keys import names_of
from lbcore.acme.state import Held, Job, Key, Resolver
from lbcore.acme.wanted import Wanted, covers, problem_of, wildcard_of
from lbcore.config.dynamic import DynamicConfig
from lbcore.tls.describe import UNREADABLE

NEVER = float("inf")


@dataclass(frozen=True)
class Needs:
    """The needs of one configuration. `given`: names with a certificate of the user's own."""

    wanted: tuple[Wanted, ...]
    given: frozenset[str]

    @staticmethod
    def of(asked: Collection[Wanted], dynamic: DynamicConfig, own: Collection[str]) -> Needs:
        """The needs of a configuration. `own`: the certificates of this agent, as PEM."""
        given: set[str] = set()
        for certificate in dynamic.tls.certificates:
            text = certificate.certificate_text
            if text and text not in own:
                with contextlib.suppress(*UNREADABLE):
                    given |= set(names_of(x509.load_pem_x509_certificate(text.encode())))
        # Wildcards first: a name under one needs no certificate of its own.
        ranked = sorted(asked, key=lambda want: not any(name.startswith("*") for name in want.names))
        return Needs(tuple(ranked), frozenset(given))


def plan(
    needs: Needs,
    resolvers: Mapping[str, Resolver],
    held: Mapping[Key, Held],
    before: Mapping[Key, Job],
    complain: Callable[[Job, str], None],
) -> dict[Key, Job]:
    """A job for each wanted certificate, with its due time; running jobs stay.

    before    the previous jobs, whose failures stay known.
    complain  is called with the reason why a certificate can never be ordered.

    Cost: linear in the names.
    """
    dues = _dues(resolvers, held)
    jobs: dict[Key, Job] = {}
    seen_to: set[str] = set()  # names that earlier jobs cover
    for want in needs.wanted:
        resolver = resolvers.get(want.resolver)
        if resolver is None:
            continue
        key = want.resolver, frozenset(want.names)
        job = before.get(key) or Job(want)
        job.wanted = want
        if not job.running and key not in held and covers(seen_to, want.names):
            continue
        job.due = min(_due(name, needs.given, dues) for name in want.names)
        if job.due == NEVER and not job.running:
            continue
        jobs[key] = job
        if problem := problem_of(want.names, resolver.has_dns):
            complain(job, problem)
            job.not_before = NEVER
        elif not job.failures:
            seen_to |= set(want.names)
    for key, job in before.items():
        if job.running:
            jobs.setdefault(key, job)
    return jobs


def _dues(resolvers: Mapping[str, Resolver], held: Mapping[Key, Held]) -> dict[str, float]:
    """The time of renewal of the last certificate for each name."""
    found: dict[str, float] = {}
    for each in held.values():
        resolver = resolvers.get(each.resolver)
        due = each.due(resolver.settings.certificates_duration if resolver is not None else 0)
        for name in each.names:
            found[name] = max(found.get(name, 0.0), due)
    return found


def _due(name: str, given: Collection[str], dues: Mapping[str, float]) -> float:
    """The time at which a name needs another certificate; 0: it has none."""
    if covers(given, [name]):
        return NEVER
    return max(dues.get(name, 0.0), dues.get(wildcard_of(name), 0.0))
