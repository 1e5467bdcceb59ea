"""Which certificates a configuration asks for."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.acme.wanted import Wanted, covers, plain_name, problem_of, wanted
from lbcore.config.load import dynamic_of, static_of
from lbcore.config.static import StaticConfig
from lbcore.provider.merge import merge


def asked(routers: dict[str, Any], *, static: StaticConfig | None = None, **more: Any) -> list[Wanted]:
    static = static or static_of({"entryPoints": {"web": {"address": ":443"}}})
    named = {name: {"service": "s", **router} for name, router in routers.items()}
    content = {**({"http": {"routers": named}} if named else {}), **more}
    return wanted(merge({"file": dynamic_of(content)}), static)


def test_names_come_from_domains_or_else_from_the_rule() -> None:
    le = {"certResolver": "le"}
    domain = {"main": "*.d.test", "sans": ["d.test", "*.d.test"]}
    found = asked(
        {
            "rule": {"rule": "Host(`B.test`) || Host(`a.test`) && !Host(`c.test`)", "tls": le},
            "domains": {"rule": "Host(`x`)", "tls": {**le, "domains": [domain]}},
            "none": {"rule": "PathPrefix(`/`)", "tls": le},
            "plain": {"rule": "Host(`e.test`)", "tls": {}},
            "again": {"rule": "Host(`a.test`) || Host(`b.test`) || Host(`c.test`)", "tls": le},
        }
    )
    assert [(each.resolver, each.names) for each in found] == [
        ("le", ("b.test", "a.test")),  # the router takes no requests for c.test
        ("le", ("*.d.test", "d.test")),
        ("le", ("a.test", "b.test", "c.test")),
    ]


def test_a_router_without_tls_takes_that_of_its_entry_point_and_no_other() -> None:
    tls = {"certResolver": "le", "domains": [{"main": "z"}]}
    static = static_of({"entryPoints": {"web": {"address": ":443", "http": {"tls": tls}}}})
    found = asked({"own": {"rule": "Host(`a`)", "tls": {}}}, static=static)
    assert found == []
    found = asked({"none": {"rule": "Host(`a`)"}, "other": {"rule": "Host(`b`)"}}, static=static)
    assert [each.names for each in found] == [("z",)]


def test_the_default_store_asks_unless_it_has_a_certificate() -> None:
    generated = {"resolver": "le", "domain": {"main": "a.test", "sans": ["b.test"]}}
    store = {"defaultGeneratedCert": generated}
    assert [each.names for each in asked({}, tls={"stores": {"default": store}})] == [("a.test", "b.test")]
    given = {"defaultCertificate": {"certFile": "x", "keyFile": "y"}}
    assert asked({}, tls={"stores": {"default": {**store, **given}}}) == []


@pytest.mark.parametrize(
    ("known", "names", "covered"),
    [
        ({"a.test"}, ["a.test"], True),
        ({"*.test"}, ["a.test"], True),
        ({"*.test"}, ["a.b.test"], False),
        ({"*.test"}, ["test"], False),
        ({"*.a.test"}, ["*.a.test"], True),
        ({"*.test"}, ["*.a.test"], False),
        ({"a.test"}, ["a.test", "b.test"], False),
        ({"*.0.0.1"}, ["127.0.0.1"], False),
        (set(), [], True),
    ],
)
def test_what_certificates_cover(known: set[str], names: list[str], covered: bool) -> None:
    assert covers(known, names) is covered


def test_names_for_which_no_ca_issues_certificates() -> None:
    assert problem_of(["a.test", "*.b.test"], has_dns=True) == ""
    assert problem_of(["*.b.test"], has_dns=False) == "a certificate for *.b.test needs a dnsChallenge"
    assert problem_of(["*.*.b.test"], has_dns=True) == "there are no certificates for '*.*.b.test'"
    assert plain_name("*.bücher.example") == "*.xn--bcher-kva.example"
