"""dns-01 by providers of dns-lexicon: the library in a process of its own, and stand-ins for the services."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lbcore.acme.dns.base import Environment, Record
from lbcore.acme.dns.duckdns import DuckDnsProvider
from lbcore.acme.dns.lexicon import LexiconProvider
from lbcore.acme.dns.lookup import Lookup
from lbcore.acme.solving import Challenge, OrderError, Stop
from tests.support.ca import authority, dynamic_for, issued, names_in, static_for
from tests.support.certificates import Files, certificate
from tests.support.instance import Backend, eventually, running
from tests.support.name_server import name_server
from tests.support.proxied import Proxied

TOKEN = "a-token/of the user"
CHALLENGE = Challenge("dns-01", "x.test", "token", "token.thumb")


class DuckDns(Proxied):
    """Has one TXT value. `put` is told of it."""

    def __init__(self, files: Files) -> None:
        self.calls: list[dict[str, str]] = []
        self.put: Any = lambda value: None
        super().__init__(files)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        parts = urlsplit(path)
        assert (method, parts.path) == ("GET", "/update")
        call = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if call.pop("token") != TOKEN or call["domains"] != "x":
            return b"KO"
        self.calls.append(call)
        self.put(call["txt"])
        return b"OK\nUPDATED"


def test_duckdns(backend: Backend, tmp_path: Path) -> None:
    duckdns = DuckDns(certificate(tmp_path, "api", "www.duckdns.org"))
    with name_server(tmp_path / "dns", "duckdns.org") as server, authority(tmp_path / "ca") as ca:

        def put(value: str) -> None:
            host = "_acme-challenge.x.duckdns.org."
            ca.dns("clear-txt", {"host": host})
            if value:
                ca.dns("set-txt", {"host": host, "value": value})

        duckdns.put = put
        challenge = {"provider": "duckdns", "resolvers": [server], "propagation": {"disableChecks": True}}
        static = static_for(ca, tmp_path, dnsChallenge=challenge)
        dynamic = dynamic_for(backend, one="Host(`x.duckdns.org`)")
        dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "x.duckdns.org", "sans": ["*.x.duckdns.org"]}]
        environ = {"DUCKDNS_TOKEN": TOKEN, "DUCKDNS_SEQUENCE_INTERVAL": "0", **duckdns.environ}
        with running(tmp_path, dynamic, static=static, environ=environ) as instance:
            assert names_in(issued(ca, "x.duckdns.org")) == {"x.duckdns.org", "*.x.duckdns.org"}
            eventually(lambda: len(duckdns.calls) == 4, "both values were set and taken away")
            assert [bool(call["txt"]) for call in duckdns.calls] == [True, False, True, False]
            assert [call.get("clear") for call in duckdns.calls] == [None, "true", None, "true"]
            assert TOKEN not in instance.log
    duckdns.close()


def test_what_duckdns_refuses_names_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duckdns = DuckDns(certificate(tmp_path, "api", "www.duckdns.org"))
    for name, value in duckdns.environ.items():
        monkeypatch.setenv(name, value)
    with name_server(tmp_path / "dns", "duckdns.org") as server:
        provider = DuckDnsProvider(Environment({"DUCKDNS_TOKEN": TOKEN}), Lookup([server]))
        assert provider.pause_s == 60
        provider.present(Record("_acme-challenge.deep.in.X.duckdns.org.", "value", CHALLENGE), Stop())
        assert duckdns.calls == [{"domains": "x", "txt": "value", "verbose": "true"}]
        with pytest.raises(OrderError, match="KO") as caught:
            provider.present(Record("_acme-challenge.y.duckdns.org.", "value", CHALLENGE), Stop())
        assert TOKEN not in str(caught.value)
        with pytest.raises(OrderError, match=r"is in no domain of duckdns.org"):
            provider.present(Record("duckdns.org.", "value", CHALLENGE), Stop())
        duckdns.close()
        with pytest.raises(OrderError) as caught:  # whose text has the URL
            provider.present(Record("_acme-challenge.x.duckdns.org.", "value", CHALLENGE), Stop())
        assert "token=" in str(caught.value) and "of+the" not in str(caught.value)


class LuaDns(Proxied):
    """Has the zones `other.test` and `test`."""

    def __init__(self, files: Files) -> None:
        self.records: dict[int, dict[str, Any]] = {7: {"id": 7, "type": "A", "name": "test.", "content": "", "ttl": 1}}
        self.put: list[dict[str, Any]] = []
        super().__init__(files)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"me@a.test:secret"
        path = path.removeprefix("/v1/zones")
        found: Any = {}
        if not path:
            found = [{"id": 1, "name": "other.test"}, {"id": 2, "name": "test"}]
        elif method == "POST":
            assert path == "/2/records"
            self.put.append(json.loads(body))
            self.records[8] = {**self.put[-1], "id": 8}
        elif method == "DELETE":
            del self.records[int(path.removeprefix("/2/records/"))]
        else:
            found = list(self.records.values())
        return json.dumps(found).encode()


def test_luadns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    luadns = LuaDns(certificate(tmp_path, "api", "api.luadns.com"))
    for name, value in luadns.environ.items():
        monkeypatch.setenv(name, value)
    with name_server(tmp_path / "dns") as server:
        environ = Environment({"LUADNS_API_USERNAME": "me@a.test", "LUADNS_API_TOKEN": "secret"})
        provider = LexiconProvider("luadns", environ, Lookup([server]))
        record = Record("_acme-challenge.x.test.", "a-value", CHALLENGE)
        provider.present(record, Stop())
        assert luadns.put == [{"type": "TXT", "name": record.name, "content": "a-value", "ttl": 300}]
        provider.clean(record)
        assert list(luadns.records) == [7]
    luadns.close()
