"""The API behind a login and TLS, as the page about hardening has it: commands and the token get through."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from lbcore.cli import main
from tests.support.certificates import Files, authority, signed
from tests.support.instance import Backend, running

TOKEN = "a token of some length"
PASSWORD = "p@ss:word"
POINTS = {"web": {"address": "127.0.0.1:0"}, "websecure": {"address": "127.0.0.1:0"}}


@dataclass(frozen=True)
class Guarded:
    """`port`: of the entry point with TLS. `by`: the authority of its certificate."""

    port: int
    by: Files
    server: str

    def ask(self, *arguments: str, login: str = "ann:p%40ss%3Aword@", trusted: bool = True) -> tuple[int, str]:
        """Exit code and output of a command."""
        environ = {"LBCORE_API": f"https://{login}127.0.0.1:{self.port}", "LBCORE_API_TOKEN": ""}
        environ["SSL_CERT_FILE"] = str(self.by.certificate if trusted else "/dev/null")
        done = CliRunner().invoke(main, arguments, env=environ)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    by = authority(folder, "authority")
    own = signed(folder, by, "own", "IP:127.0.0.1")
    user = "ann:{SHA}" + base64.b64encode(hashlib.sha1(PASSWORD.encode()).digest()).decode()
    one, two = Backend("one"), Backend("two")
    secure = {"rule": "PathPrefix(`/`)", "entryPoints": ["websecure"], "tls": {}}
    dynamic = {
        "http": {
            "routers": {
                "operators": {
                    **secure,
                    "rule": "Host(`127.0.0.1`)",
                    "service": "api@internal",
                    "middlewares": ["login"],
                },
                "all": {"rule": "PathPrefix(`/`)", "entryPoints": ["web"], "service": "shop"},
            },
            "middlewares": {"login": {"basicAuth": {"users": [user]}}},
            "services": {"shop": {"loadBalancer": {"servers": [{"url": one.url}, {"url": two.url}]}}},
        },
        "tls": {"stores": {"default": {"defaultCertificate": own.entry}}},
    }
    try:
        with running(folder, dynamic, static={"entryPoints": POINTS, "api": {"token": TOKEN}}) as lb:
            lb.runs(1)
            port = int(lb.logged(r"entry point websecure listens on \S+:(\d+)")[1])
            yield Guarded(port, by, one.url)
    finally:
        one.close()
        two.close()


def test_a_command_gives_a_login_and_the_token(guarded: Guarded) -> None:
    code, text = guarded.ask("status")
    assert code == 0 and "shop@file" in text, text
    code, text = guarded.ask("drain", "shop", guarded.server, "--token", TOKEN)
    assert code == 0, text
    assert f"{guarded.server} weight 0" in guarded.ask("status")[1]
    assert guarded.ask("undrain", "shop", guarded.server, "--token", TOKEN)[0] == 0
    code, text = guarded.ask("drain", "shop", guarded.server, "--token", "a guess that is wrong")
    assert (code, text) == (1, "error: wrong token\n")


def test_what_is_missing_is_told_without_the_password(guarded: Guarded) -> None:
    code, text = guarded.ask("status", login="")
    assert code == 1 and "answers 401: a middleware stands in front of the API; give a name and a password" in text
    code, text = guarded.ask("status", login="ann:wrong@")
    assert code == 1 and "answers 401" in text and "wrong" not in text
    code, text = guarded.ask("status", trusted=False)
    assert code == 1 and "is not trusted: " in text and "SSL_CERT_FILE" in text and "p%40ss" not in text


def test_the_token_is_taken_beside_a_login(guarded: Guarded) -> None:
    url, trusted = (
        f"https://127.0.0.1:{guarded.port}/api/token",
        ssl.create_default_context(cafile=guarded.by.certificate),
    )

    def status(**headers: str) -> int:
        login = None if "Authorization" in headers else ("ann", PASSWORD)
        return httpx.get(url, headers=headers, auth=login, verify=trusted).status_code

    assert status(**{"X-Lbcore-Token": TOKEN}) == 200
    assert status(**{"X-Lbcore-Token": "a guess that is wrong"}) == status() == 403
    assert status(Authorization=f"Bearer {TOKEN}") == 401  # no login


@pytest.mark.parametrize("base", ["", "/lb"])
def test_a_command_asks_at_a_unix_socket(tmp_path: Path, base: str) -> None:
    """Who may ask is said by the mode of the file."""
    path = tmp_path / "api.sock"
    points = {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": f"unix:{path}?mode=0600"}}
    with contextlib.closing(Backend("one")) as one:
        services = {"shop": {"loadBalancer": {"servers": [{"url": one.url}, {"url": f"{one.url}/b"}]}}}
        dynamic = {"http": {"routers": {"all": {"rule": "PathPrefix(`/`)", "service": "shop"}}, "services": services}}
        api = {"insecure": True, "token": TOKEN, **({"basePath": base} if base else {})}
        url = f"unix:{path}:{base}" if base else f"unix:{path}"
        with running(tmp_path, dynamic, static={"entryPoints": points, "api": api}) as lb:
            lb.runs(1)
            for arguments, said in (
                (["status"], "shop@file"),
                (["drain", "shop", f"{one.url}/b", "--token", TOKEN], "drains"),
                (["reload", "--wait", "--token", TOKEN], ""),
            ):
                done = CliRunner().invoke(main, [*arguments, "--api", url])
                assert done.exit_code == 0 and said in done.output, done.output
        done = CliRunner().invoke(main, ["status", "--api", url])
        assert done.exit_code == 1 and f"error: no answer from {url}: " in done.output
