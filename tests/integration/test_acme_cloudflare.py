"""dns-01 by Cloudflare's API: the library that speaks to it, in a process of its own, and a stand-in for the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.ca import authority, dynamic_for, issued, names_in, static_for
from tests.support.certificates import Files, certificate
from tests.support.instance import Backend, eventually, running
from tests.support.name_server import name_server
from tests.support.proxied import Proxied

TOKEN = "a-token-of-cloudflare"


class Cloudflare(Proxied):
    """The API with the zone `test`. `put` is told of records."""

    def __init__(self, files: Files) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.tokens: set[str] = set()
        self.put: Any = None
        super().__init__(files)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
        content = json.loads(body or b"{}")
        self.tokens.add(headers["Authorization"])
        path = path.partition("?")[0].removeprefix("/client/v4/zones")
        result: Any = list(self.records.values())
        if not path:
            result = [{"id": "Z", "name": "test"}, {"id": "Y", "name": "other.test"}]
        elif method == "POST":
            result = {**content, "id": f"R{len(self.records)}"}
            self.records[result["id"]] = result
            self.put(content)
        elif method == "DELETE":
            result = self.records.pop(path.rpartition("/")[2])
        page = {"page": 1, "total_pages": 1}
        return json.dumps({"success": True, "errors": [], "result": result, "result_info": page}).encode()


def test_cloudflare(backend: Backend, tmp_path: Path) -> None:
    files = certificate(tmp_path, "api", "api.cloudflare.com")
    cloudflare = Cloudflare(files)
    with name_server(tmp_path / "dns") as server, authority(tmp_path / "ca") as ca:
        cloudflare.put = lambda record: ca.dns("set-txt", {"host": record["name"] + ".", "value": record["content"]})
        checks = {"disableChecks": True}
        challenge = {"provider": "cloudflare", "resolvers": [server], "propagation": checks}
        static = static_for(ca, tmp_path, dnsChallenge=challenge)
        dynamic = dynamic_for(backend, one="Host(`a.test`)")
        dynamic["http"]["routers"]["one"]["tls"]["domains"] = [{"main": "*.a.test"}]
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        environ = {"CF_DNS_API_TOKEN_FILE": str(tmp_path / "token"), **cloudflare.environ}
        with running(tmp_path, dynamic, static=static, environ=environ) as instance:
            assert names_in(issued(ca, "x.a.test")) == {"*.a.test"}
            eventually(lambda: not cloudflare.records, "the record is taken away")
            assert cloudflare.tokens == {f"Bearer {TOKEN}"}
            assert TOKEN not in instance.log
    cloudflare.close()
