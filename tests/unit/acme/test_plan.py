"""Which certificates are ordered, and when."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from lbcore.acme.keys import key_pem
from lbcore.acme.plan import Needs, plan
from lbcore.acme.state import Held, Job, Key, Resolver, held_of
from lbcore.acme.storage import FileStorage, StoredCertificate
from lbcore.acme.wanted import Wanted
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.static import Acme
from lbcore.config.tls import Certificate, TlsConfig

DAY = 86400.0
KEY = ec.generate_private_key(ec.SECP256R1())


def made(names: tuple[str, ...], lasts: float = 90 * DAY, begun: float = 0.0) -> StoredCertificate:
    """A certificate that has lasted for a while."""
    begin = datetime.now(UTC) - timedelta(seconds=begun)
    subject = x509.Name([])
    builder = x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(begin).not_valid_after(begin + timedelta(seconds=lasts))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    text = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    return StoredCertificate(names, text, key_pem(KEY))


def held(*certificates: StoredCertificate, resolver: str = "le") -> dict[Key, Held]:
    found = {}
    for certificate in certificates:
        each = held_of(resolver, certificate)
        assert each is not None
        found[resolver, frozenset(certificate.names)] = each
    return found


@pytest.fixture
def resolvers(tmp_path: Path) -> dict[str, Resolver]:
    settings = Acme.model_validate({"dnsChallenge": {"provider": "exec"}})
    plain = Acme.model_validate({"tlsChallenge": {}})
    storage = FileStorage(tmp_path / "acme.json")
    return {name: Resolver(name, of, storage) for name, of in (("le", settings), ("plain", plain))}


Planned = dict[tuple[str, ...], float]


@pytest.fixture
def planned(resolvers: dict[str, Resolver]) -> Callable[..., Planned]:
    """Names, and days until they are ordered."""

    def call(*names: tuple[str, ...], have: dict[Key, Held] | None = None, given: Certificate | None = None,
             resolver: str = "le", before: dict[Key, Job] | None = None) -> Planned:  # fmt: skip
        dynamic = DynamicConfig(tls=TlsConfig(certificates=[given] if given else []))
        needs = Needs.of([Wanted(resolver, each, "a test") for each in names], dynamic, ())
        jobs = plan(needs, resolvers, have or {}, before or {}, lambda job, text: None)
        return {job.wanted.names: round((job.at - time.time()) / DAY) if job.at else 0 for job in jobs.values()}

    return call


def test_what_there_is_nothing_for_is_ordered_now(planned: Callable[..., Planned]) -> None:
    assert planned(("a.test",), ("b.test", "c.test")) == {("a.test",): 0, ("b.test", "c.test"): 0}
    assert planned(("a.test",), resolver="gone") == {}


def test_a_stored_certificate_is_ordered_again_when_its_renewal_is_due(planned: Callable[..., Planned]) -> None:
    assert planned(("a.test",), have=held(made(("a.test",)))) == {("a.test",): pytest.approx(60, abs=2)}
    old = held(made(("a.test",), begun=80 * DAY))
    assert planned(("a.test",), have=old)[("a.test",)] < 0
    # A certificate with a longer life serves the name, from any resolver.
    other = old | held(made(("*.test",)), resolver="plain")
    assert planned(("a.test",), have=other) == {("a.test",): pytest.approx(60, abs=2)}


def test_what_is_configured_of_the_life_of_certificates_counts(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "acme.json")
    found = []
    for hours in (2160, 720, 24):
        settings = Acme.model_validate({"tlsChallenge": {}, "certificatesDuration": hours})
        needs = Needs((Wanted("le", ("a.test",), "a test"),), frozenset())
        resolvers = {"le": Resolver("le", settings, storage)}
        [job] = plan(needs, resolvers, held(made(("a.test",))), {}, lambda job, text: None).values()
        found.append((job.at - time.time()) / DAY)
    assert found == [pytest.approx(days, abs=2) for days in (60, 80, 89.75)]


def test_a_name_that_came_anew_is_ordered_and_one_that_went_is_not(planned: Callable[..., Planned]) -> None:
    have = held(made(("a.test", "b.test")))
    assert planned(("a.test", "b.test", "c.test"), have=have) == {("a.test", "b.test", "c.test"): 0}
    assert planned(("a.test",), have=have) == {("a.test",): pytest.approx(60, abs=2)}
    assert planned(have=have) == {}


def test_names_with_a_certificate_of_the_users_are_left_alone(planned: Callable[..., Planned]) -> None:
    stored = made(("*.test",))
    given = Certificate(certificate_text=stored.certificate, key_text=stored.key)
    assert planned(("a.test",), ("a.b.test",), given=given) == {("a.b.test",): 0}


def test_a_wildcard_that_is_ordered_serves_what_falls_under_it(planned: Callable[..., Planned]) -> None:
    assert planned(("a.test",), ("*.test",), ("b.c.test",)) == {("*.test",): 0, ("b.c.test",): 0}
    # But a failed one delays no other.
    failing = Job(Wanted("le", ("*.test",), "a test"), failures=2, not_before=time.time() + 10 * DAY)
    before: dict[Key, Job] = {("le", frozenset({"*.test"})): failing}
    assert planned(("a.test",), ("*.test",), before=before) == {("*.test",): 10, ("a.test",): 0}


def test_what_cannot_be_ordered_is_said_and_holds_up_nothing(resolvers: dict[str, Resolver]) -> None:
    told: list[str] = []
    needs = Needs((Wanted("plain", ("*.test",), "a"), Wanted("plain", ("a.test",), "b")), frozenset())
    jobs = plan(needs, resolvers, {}, {}, lambda job, text: told.append(text))
    assert told == ["a certificate for *.test needs a dnsChallenge"]
    assert {job.wanted.names: job.at for job in jobs.values()} == {("*.test",): float("inf"), ("a.test",): 0}


def test_ten_thousand_names_are_planned_in_no_time(resolvers: dict[str, Resolver]) -> None:
    count = 10_000
    one = held_of("le", made(("x.test",)))
    assert one is not None
    have = {}
    for number in range(count):
        names = frozenset({f"h{number}.test"})
        have["le", names] = Held("le", one.stored, one.certificate, names)
    needs = Needs(tuple(Wanted("le", (f"h{number}.test",), "a test") for number in range(count)), frozenset())
    begun = time.process_time()
    jobs = plan(needs, resolvers, have, {}, lambda job, text: None)
    assert len(jobs) == count
    assert time.process_time() - begun < 5
