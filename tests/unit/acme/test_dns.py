"""Settings of DNS providers, and what is asked of name servers."""

from __future__ import annotations

import argparse
import importlib
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lbcore.acme.dns.base import Environment, Record
from lbcore.acme.dns.lexicon import PROVIDERS
from lbcore.acme.dns.lookup import Lookup, LookupError_, seen_by, split_server
from lbcore.acme.dns.programs import ExecProvider
from lbcore.acme.dns.rfc2136 import Rfc2136Provider, read_key
from lbcore.acme.dns.solver import make_solver
from lbcore.acme.dns.turns import Turns
from lbcore.acme.setup import problems_of
from lbcore.acme.solving import Challenge, OrderError, Stop, StoppedError
from lbcore.config.load import parse_static
from lbcore.config.static import DnsChallenge
from tests.support.name_server import ALGORITHM, KEY_NAME, SECRET, name_server

RECORD = Record("_acme-challenge.a.test.", "value", Challenge("dns-01", "a.test", "token", "token.thumb"))


def settings(**more: Any) -> DnsChallenge:
    return DnsChallenge.model_validate(more)


def test_variables_may_stand_in_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from a file\n")
    files = {"A_FILE": str(tmp_path / "secret"), "B_FILE": "not looked at", "C_FILE": "/gone"}
    environ = Environment({**files, "B": "own"})
    assert (environ.get("A"), environ.get("X", "B"), environ.get("X")) == ("from a file", "own", "")
    with pytest.raises(ValueError, match="C_FILE: /gone cannot be read"):
        environ.get("C")
    with pytest.raises(ValueError, match="the environment variable X or Y is missing"):
        environ.need("X", "Y")


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("1.1.1.1", ("1.1.1.1", 53)),
        ("1.1.1.1:5353", ("1.1.1.1", 5353)),
        ("dns.example:53", ("dns.example", 53)),
        ("[::1]:5353", ("::1", 5353)),
        ("::1", ("::1", 53)),
    ],
)
def test_name_servers(text: str, server: tuple[str, int]) -> None:
    assert split_server(text) == server


@pytest.mark.parametrize("text", ["", ":53", "a:b", "a:70000"])
def test_what_is_no_name_server(text: str) -> None:
    with pytest.raises(ValueError, match="is no name server"):
        split_server(text)


def test_providers_that_are_not_there_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'namecheap' is not supported .*exec and httpreq reach any other"):
        make_solver(settings(provider="namecheap"), {})
    for name in PROVIDERS.keys() - {"route53"}:
        with pytest.raises(ValueError, match=r"the environment variable .* is missing"):
            make_solver(settings(provider=name), {})


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_library_knows_the_provider_and_its_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_boto3(monkeypatch)
    provider, _, settings = PROVIDERS[name]
    any_token = Environment(dict.fromkeys(("CF_DNS_API_TOKEN", "GANDIV5_API_KEY", "AWS_HOSTED_ZONE_ID"), "x"))
    options = settings(any_token) if callable(settings) else [option for option, _ in settings]
    module = importlib.import_module(f"lexicon._private.providers.{provider}")
    parser = argparse.ArgumentParser()
    module.Provider.configure_parser(parser)
    assert set(options) <= {action.dest for action in parser._actions}


def pretend_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("boto3")
    module.__spec__ = ModuleSpec("boto3", None)
    monkeypatch.setitem(sys.modules, "boto3", module)


def test_route53_needs_a_package_and_leaves_the_keys_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^the DNS provider route53 needs .*type pip install 'lbcore\[route53\]'$"):
        make_solver(settings(provider="route53"), {})
    monkeypatch.undo()
    pretend_boto3(monkeypatch)
    make = PROVIDERS["route53"][2]
    assert callable(make)
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token"}
    assert make(Environment(keys)) == {"private_zone": "false"}
    zone = {"AWS_HOSTED_ZONE_ID": "Z1", "AWS_PRIVATE_ZONE": "true"}
    assert make(Environment(zone)) == {"private_zone": "true", "zone_id": "Z1"}
    with pytest.raises(ValueError, match="AWS_ASSUME_ROLE_ARN is not supported"):
        make(Environment({"AWS_ASSUME_ROLE_ARN": "arn:aws:iam::1:role/x"}))


def test_a_place_for_one_record_is_given_to_one_challenge_after_the_other() -> None:
    turns, stop = Turns(0.2), Stop()
    first, second = (Challenge("dns-01", "a.test", token, "") for token in "12")
    turns.begin(first, stop)
    began: list[float] = []

    def follow() -> None:
        turns.begin(second, stop)
        began.append(time.monotonic())

    thread = threading.Thread(target=follow)
    thread.start()
    turns.end(second)  # has none yet
    thread.join(0.3)
    assert not began
    ended = time.monotonic()
    turns.end(first)
    thread.join(60)
    assert began[0] - ended >= 0.2
    stop.set()
    with pytest.raises(StoppedError):
        turns.begin(first, stop)
    turns.end(second)
    with pytest.raises(StoppedError):  # from the pause
        turns.begin(first, stop)
    turns.end(first)


def test_old_options_mean_what_the_new_ones_do() -> None:
    old = settings(delayBeforeCheck="5s", disablePropagationCheck=True).checks
    assert old == settings(propagation={"delayBeforeChecks": "5s", "disableChecks": True}).checks


def test_a_program_in_raw_mode_and_one_that_fails(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = present ] || {{ echo no >&2; exit 3; }}\n')
    script.chmod(0o755)
    provider = ExecProvider(Environment({"EXEC_PATH": str(script), "EXEC_MODE": "RAW"}))
    provider.present(RECORD, Stop())
    assert (tmp_path / "calls").read_text() == "present -- a.test token token.thumb\n"
    with pytest.raises(OrderError, match="cleanup: exit code 3: no"):
        provider.clean(RECORD)
    with pytest.raises(OrderError, match="cannot be run: no such file"):
        ExecProvider(Environment({"EXEC_PATH": "/gone"})).present(RECORD, Stop())


def test_updates_and_what_the_servers_of_the_zone_say(tmp_path: Path) -> None:
    with name_server(tmp_path / "dns") as server:
        host, port = split_server(server)
        file = tmp_path / "key"
        file.write_text(f'key "{KEY_NAME}" {{\n  algorithm {ALGORITHM};\n  secret "{SECRET}";\n}};\n')
        assert read_key(file) == (KEY_NAME, SECRET, ALGORITHM)
        environ = {"RFC2136_NAMESERVER": server, "RFC2136_TSIG_FILE": str(file)}
        provider = Rfc2136Provider(Environment(environ))
        other = Record(RECORD.name, "another", RECORD.challenge)
        assert "does not say it" in seen_by([host], RECORD.name, "value", port)
        provider.present(RECORD, Stop())
        provider.present(other, Stop())
        assert seen_by([host], RECORD.name, "value", port) == seen_by([host], RECORD.name, "another", port) == ""
        provider.clean(RECORD)
        assert "does not say it" in seen_by([host], RECORD.name, "value", port)
        assert seen_by([host], RECORD.name, "another", port) == ""
        unsigned = Rfc2136Provider(Environment({"RFC2136_NAMESERVER": server}))
        with pytest.raises(OrderError, match=r"refuses the update: (REFUSED|NOTAUTH)"):
            unsigned.present(RECORD, Stop())

        lookup = Lookup([server])
        assert lookup.zone_of("_acme-challenge.x.y.test.") == "test."
        assert lookup.authorities_of("test.") == ["127.0.0.1"]
        assert lookup.alias_end("_acme-challenge.alias.test.") == "_acme-challenge.target.test."
        assert lookup.alias_end("plain.test.") == "plain.test."
        assert lookup.seen_by_resolvers(RECORD.name, "another") == ""
        assert "does not say it" in lookup.seen_by_resolvers(RECORD.name, "value")
        with pytest.raises(LookupError_):
            lookup.zone_of("a.elsewhere.")


def test_a_variable_that_is_missing_where_a_file_is_checked_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolver = "{{acme: {{storage: {0}/{1}.json, dnsChallenge: {{provider: {1}}}}}}}"
    text = "\n".join(f"  {name}: {resolver.format(tmp_path, name)}" for name in ("cloudflare", "netcup", "nothing"))
    static, _ = parse_static(f"entryPoints: {{web: {{address: ':1'}}}}\ncertificatesResolvers:\n{text}\n")
    for name in ("CLOUDFLARE_DNS_API_TOKEN", "CF_DNS_API_TOKEN", "CLOUDFLARE_API_KEY", "CF_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    found = {problem.path.rpartition(".")[2]: problem for problem in problems_of(static)}
    assert {name: problem.severity for name, problem in found.items()} == {
        "cloudflare": "warning",
        "netcup": "warning",
        "nothing": "disabled",
    }
    assert "the environment variable CLOUDFLARE_DNS_API_TOKEN" in found["cloudflare"].problem
