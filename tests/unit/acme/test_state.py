"""How many orders a resolver begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from lbcore.acme.state import ORDERS_BURST, Held, Resolver
from lbcore.acme.storage import Storage, StoredCertificate
from lbcore.config.static import Acme


def held(life: timedelta) -> Held:
    """A certificate with this life."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + life)
    certificate = builder.sign(key, hashes.SHA256())
    return Held("le", StoredCertificate(("a.test",), "", ""), certificate, frozenset({"a.test"}))


@pytest.mark.parametrize(("life", "waits"), [(timedelta(days=90), True), (timedelta(minutes=5), False)])
def test_renewals_of_certificates_that_last_minutes_do_not_wait_for_their_turn(
    life: timedelta, waits: bool
) -> None:
    """Of five minutes each, six of them would have used up what a CA with limits allows."""
    resolver = Resolver("le", Acme(), Storage())
    assert all(resolver.may_order(None, 0.0) for _ in range(ORDERS_BURST))
    assert not resolver.may_order(None, 0.0)
    old = held(life)
    assert [resolver.may_order(old, 0.0) for _ in range(3)] == [not waits] * 3
    assert resolver.may_order(None, 36.0)
