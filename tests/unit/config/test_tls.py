"""The TLS of a configuration: parsing, problems with their lines, and the contents of files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lbcore.config.load import parse_dynamic
from lbcore.config.rule import parse_rule
from lbcore.config.static import StaticConfig
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems
from lbcore.routing.compile_tls import hosts_in
from lbcore.tls.material import files_of, settle
from tests.support.certificates import certificate

STATIC = StaticConfig.model_validate({"entryPoints": {"web": {"address": ":0"}}})


def told(text: str) -> list[str]:
    config, _ = parse_dynamic(text)
    return [str(problem) for problem in settle(config)[1]]


def test_missing_parts_of_certificates_are_reported_with_the_line(tmp_path: Path) -> None:
    made, other = certificate(tmp_path, "a", "a.test"), certificate(tmp_path, "b", "b.test")
    (tmp_path / "folder").mkdir()
    entries = {
        "certFile: /nowhere.pem, keyFile: x": "certFile: /nowhere.pem cannot be read: no such file or directory",
        f"certFile: {made.certificate}, keyFile: {other.key}": "the key is not that of the certificate",
        f"certFile: {made.certificate}, keyFile: {made.certificate}": "the key cannot be read",
        f"certFile: {made.key}, keyFile: {made.key}": "holds a certificate that cannot be read",
        f"certFile: {made.certificate}": "keyFile is missing",
        f"certFile: {tmp_path / 'folder'}, keyFile: x": "is a directory",
    }
    lines = "\n".join(f"    - {{{entry}}}" for entry in entries)
    found = told(f"tls:\n  certificates:\n{lines}\n")
    assert len(found) == len(entries)
    for number, (problem, reason) in enumerate(zip(found, entries.values(), strict=True)):
        assert f"dynamic.yml:{number + 3}: tls.certificates[{number}]: " in problem
        assert reason in problem


def test_no_key_is_shown(tmp_path: Path) -> None:
    secret = "MIGHAgEAMBMGByqGSM49"
    for key in (f"{secret}\n", f"-----BEGIN PRIVATE KEY-----\n{secret}\n", secret * 60):
        config, _ = parse_dynamic("tls:\n  certificates:\n    - certFile: KEY\n      keyFile: KEY\n")
        first = config.tls.certificates[0].model_copy(update={"cert_file": key, "key_file": key})
        config = config.model_copy(update={"tls": config.tls.model_copy(update={"certificates": [first]})})
        (problem,) = settle(config)[1]
        assert secret not in str(problem)
        assert secret not in repr(config)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("minVersion: VersionTLS9", "minVersion: 'VersionTLS9' has to be one of"),
        ("minVersion: VersionTLS13, maxVersion: VersionTLS12", "no version of TLS is left"),
        ("cipherSuites: [TLS_NONE]", "invalid CipherSuite: TLS_NONE"),
        ("cipherSuites: [AES128-SHA]", "invalid CipherSuite: AES128-SHA"),
        ("curvePreferences: [secp1]", "invalid CurveID in curvePreferences: secp1"),
        ("clientAuth: {clientAuthType: Maybe}", 'unknown client auth type "Maybe"'),
        (
            "clientAuth: {clientAuthType: RequireAndVerifyClientCert}",
            "invalid clientAuthType: RequireAndVerifyClientCert, CAFiles is required",
        ),
        ("clientAuth: {caFiles: [/nowhere.pem]}", "caFiles: /nowhere.pem cannot be read"),
        ("clientAuth: {caFiles: ['-----BEGIN CERTIFICATE-----']}", "invalid certificate(s) content"),
        ("alpnProtocols: [acme-tls/1]", "alpnProtocols: acme-tls/1 is not supported"),
        ("bogus: 1", "unknown key 'bogus'"),
    ],
)
def test_options_that_cannot_be_used_disable_the_routers_that_name_them(options: str, reason: str) -> None:
    config, _ = parse_dynamic(
        "http:\n  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}\n  routers:\n"
        "    a: {rule: Host(`a`), service: s, tls: {options: o}}\n"
        "    b: {rule: Host(`b`), service: s, tls: {}}\n"
        f"    c: {{rule: Host(`c`), service: s, tls: {{options: nowhere}}}}\ntls:\n  options:\n    o: {{{options}}}\n"
    )
    settled, _ = settle(config)
    disabled = {entry.name: entry.errors for entry in find_problems(merge({"file": settled}), STATIC)[0]}
    assert set(disabled) == {"a@file", "c@file"}
    assert reason in disabled["a@file"][0]
    assert disabled["c@file"] == ["unknown TLS options: nowhere@file"]


def test_default_options_that_cannot_be_used_leave_no_tls_at_all() -> None:
    config, _ = parse_dynamic(
        "http:\n  services: {s: {loadBalancer: {servers: [{url: 'http://a'}]}}}\n  routers:\n"
        "    a: {rule: Host(`a`), service: s, tls: {options: o}}\n    b: {rule: Host(`b`), service: s}\n"
        "tls:\n  options: {o: {sniStrict: true}, default: {clientAuth: {caFiles: [/nowhere.pem]}}}\n"
    )
    settled, _ = settle(config)
    assert [entry.name for entry in find_problems(merge({"file": settled}), STATIC)[0]] == ["a@file"]


def test_what_was_read_before_stays(tmp_path: Path) -> None:
    made = certificate(tmp_path, "a", "a.test")
    text = (
        f"tls:\n  certificates: [{{certFile: {made.certificate}, keyFile: {made.key}}}]\n"
        f"  options: {{o: {{clientAuth: {{caFiles: [{made.certificate}]}}}}}}\n"
    )
    first, problems = settle(parse_dynamic(text)[0])
    assert problems == []
    assert files_of(first) == [made.certificate, made.key]
    made.certificate.write_text("nothing")
    second, problems = settle(parse_dynamic(text)[0], first)
    assert second.tls == first.tls
    assert len(problems) == 2
    assert all(problem.severity == "disabled" for problem in problems)
    assert re.search("the certificate that was read before stays, which ends in (89|90) days", str(problems[0]))
    third, _ = settle(parse_dynamic(text)[0])
    assert [certificate.key_text for certificate in third.tls.certificates] == [""]
    assert third.tls.options["o"].faults


def test_a_near_expiry_and_a_key_that_others_may_read_are_reported(tmp_path: Path) -> None:
    made = certificate(tmp_path, "a", "a.test", days=3)
    made.key.chmod(0o644)
    found = told(f"tls: {{certificates: [{{certFile: {made.certificate}, keyFile: {made.key}}}]}}")
    assert re.search("the certificate ends in [23] days", found[0])
    assert "all users of the system may read this key" in found[1]


def test_stores_other_than_the_default_have_no_effect(tmp_path: Path) -> None:
    made = certificate(tmp_path, "a", "a.test")
    entry = f"{{certFile: {made.certificate}, keyFile: {made.key}, stores: [other]}}"
    found = told(f"tls: {{certificates: [{entry}], stores: {{other: {{}}}}}}")
    assert ["default store" in line for line in found] == [True, True]


def test_hosts_in_a_rule() -> None:
    rule = parse_rule("Host(`A.test.`) && (Path(`/`) || !Host(`b.test`)) || Host(`*.c.test`) || HostRegexp(`x`)")
    assert hosts_in(rule) == ["a.test", "*.c.test"]
    assert hosts_in(parse_rule("!(Host(`a.test`) && !(Host(`b.test`) || Path(`/`)))")) == ["b.test"]
