"""Check `certificatesResolvers` before use. Sends nothing to a CA or the DNS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lbcore.acme.dns.base import MissingVariableError
from lbcore.acme.redis_storage import storage_of
from lbcore.acme.storage import FileStorage, StorageError
from lbcore.config.lines import split_place
from lbcore.config.network import is_redis
from lbcore.config.static import Acme, CertificatesResolver, StaticConfig
from lbcore.errors import Problem, Severity


def problems_of(static: StaticConfig) -> list[Problem]:
    """The reasons why resolvers cannot order. Creates no file. Environment variables that are missing are warnings."""
    found = []
    for name, resolver in static.certificates_resolvers.items():
        if resolver.faults:
            continue  # reported when the configuration was read
        if resolver.acme is None:
            found.append(_problem(name, resolver, "has no acme: it orders nothing"))
            continue
        found += [_problem(name, resolver, text) for text in _texts(resolver.acme, static)]
        found += [_problem(name, resolver, *said) for said in _of_dns(resolver.acme)]
    return found


def _texts(acme: Acme, static: StaticConfig) -> Iterator[str]:
    from lbcore.acme.network import trust_of

    if not acme.storage:
        yield "no storage: name a file to keep the certificates in"
    elif is_redis(acme.storage):
        try:
            storage_of(acme.storage)
        except StorageError as error:
            yield f"storage: {error}"
    else:
        path = Path(acme.storage)
        try:
            if path.exists():
                FileStorage(path).check()
            elif not path.absolute().parent.is_dir():
                yield f"storage: the folder of {path} does not exist"
        except (StorageError, OSError) as error:
            yield f"storage: {error}"
    http, dns = acme.http_challenge, acme.dns_challenge
    if http is not None and http.entry_point and http.entry_point not in static.stream_points:
        yield f"httpChallenge.entryPoint: {http.entry_point!r} does not exist"
    if not (dns and dns.provider) and not (http and http.entry_point) and acme.tls_challenge is None:
        yield "ACME challenge not specified, please select TLS or HTTP or DNS Challenge"
    try:
        trust_of(acme)
    except ValueError as error:
        yield str(error)


def _of_dns(acme: Acme) -> Iterator[tuple[str, Severity]]:
    from lbcore.acme.dns.solver import make_solver

    dns = acme.dns_challenge
    try:
        if dns is not None and dns.provider:
            make_solver(dns)
    except MissingVariableError as error:
        yield f"dnsChallenge: {error}", "warning"  # whoever checks a file may not have its secrets
    except ValueError as error:
        yield f"dnsChallenge: {error}", "disabled"


def _problem(name: str, resolver: CertificatesResolver, text: str, severity: Severity = "disabled") -> Problem:
    return Problem(f"certificatesResolvers.{name}", text, "", *split_place(resolver.place), severity)
