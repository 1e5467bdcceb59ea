"""`providers.rest`: what is put is in force, or is refused with every reason; it is kept over restarts."""

from __future__ import annotations

import contextlib
import json
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.integration.test_docker import ask, becomes, points
from tests.support.instance import Backend, Instance, eventually, running
from tests.support.ports import free_port
from tests.support.traefik import start

TOKEN = "REST-SECRET-0123"


def configuration(url: str, *hosts: str, **more: Any) -> dict[str, Any]:
    routers = {host: {"rule": f"Host(`{host}`)", "service": "s"} for host in hosts}
    return {"http": {"routers": routers, "services": {"s": {"loadBalancer": {"servers": [{"url": url}]}}}, **more}}


@contextlib.contextmanager
def instance(place: Path, dynamic: Any = None, **rest: Any) -> Iterator[Instance]:
    folder = Path(tempfile.mkdtemp(dir=place))  # each has its own log
    static = {"entryPoints": points(), "api": {"insecure": True}, "providers": {"rest": rest}}
    if dynamic is not None:
        (folder / "file.yml").write_text(json.dumps(dynamic))
        static["providers"]["file"] = {"filename": str(folder / "file.yml")}
    with running(folder, None, workers=2, static=static) as lb:
        lb.runs(1)
        yield lb


def admin(lb: Instance) -> str:
    return "http://127.0.0.1:" + lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]


def put(lb: Instance, body: Any, token: str = TOKEN, method: str = "PUT", name: str = "rest") -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"{admin(lb)}/api/providers/{name}"
    return httpx.request(method, url, content=content, headers=headers, timeout=30, trust_env=False)


def test_what_is_put_is_used_whole_or_refused_whole(tmp_path: Path) -> None:
    with contextlib.closing(Backend("one")) as one:
        storage = tmp_path / "state" / "rest.json"
        with instance(tmp_path, token=TOKEN, storage=str(storage)) as lb:
            # Programs write what is not there, too.
            nothing = {"tcp": {"routers": {}}, "udp": None, "tls": {}}
            wanted = {**configuration(one.url, "a", "b", middlewares={}), **nothing}
            wanted["http"]["routers"]["a"]["tls"] = None
            answer = put(lb, wanted)
            assert (answer.status_code, answer.json()) == (200, wanted)
            becomes(lb, "a", 200)
            assert stat.S_IMODE(storage.stat().st_mode) == 0o600
            for bad, reason in (
                (b"{", "no JSON"),
                (b"a: 1", "no JSON"),
                (b'{"http": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "no JSON: nested too deeply"),
                ({}, "nothing is configured: DELETE removes what is there"),
                ({"http": {"routers": {}}}, "nothing is configured: DELETE removes what is there"),
                ({"http": {"routers": {"x": None}}}, "http.routers.x: is empty"),
                ({"htp": {}}, "htp: unknown key"),
                ({"http": {"routers": {"x": {"rule": "Host(`x`)", "priority": "many"}}}}, "is not a whole number"),
                ({"http": {"routers": {"x": {"rule": "Host(`x`)", "service": "gone"}}}}, '"gone@rest" does not exist'),
                ({"http": {"routers": {"x": {"rule": "Host(x", "service": "s"}}}}, "rule"),
            ):
                answer = put(lb, bad)
                assert answer.status_code == 422, answer.text
                assert reason in "\n".join(answer.json()["problems"])
            for token in ("", "wrong-SECRET-0000"):
                assert put(lb, configuration(one.url, "c"), token).status_code == 403
                assert put(lb, b"", token, "DELETE").status_code == 403
            assert put(lb, wanted, name="file").status_code == 400
            answer = put(lb, b"", method="GET")
            assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, PUT")
            assert (ask(lb.port, "a")[0], ask(lb.port, "c")[0]) == (200, 404)
            assert "SECRET" not in lb.log + httpx.get(f"{admin(lb)}/api/rawdata", trust_env=False).text
        # After a restart it is there at once.
        with instance(tmp_path, token=TOKEN, storage=str(storage)) as lb:
            becomes(lb, "b", 200)
            assert put(lb, configuration(one.url, "c")).status_code == 200
            becomes(lb, "c", 200)
            becomes(lb, "b", 404)
            assert put(lb, b"", method="DELETE").status_code == 200
            becomes(lb, "c", 404)
        storage.write_text("{ broken")
        with instance(tmp_path, token=TOKEN, storage=str(storage)) as lb:
            lb.logged("rest.json: no JSON")
            assert put(lb, configuration(one.url, "d")).status_code == 200
            becomes(lb, "d", 200)


def test_what_cannot_be_stored_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with instance(tmp_path, token=TOKEN, storage=str(tmp_path / "file" / "rest.json")) as lb:
        answer = put(lb, configuration("http://127.0.0.1:1", "a"))
        assert answer.status_code == 500
        assert "nothing has changed" in answer.text
        assert ask(lb.port, "a")[0] == 404


def test_a_router_of_a_file_leads_to_the_provider(tmp_path: Path) -> None:
    """Without `insecure` only a client with the token can put, on whatever entry point and path."""
    file = {"http": {"routers": {"r": {"rule": "Host(`rest`)", "service": "rest@internal", "entryPoints": ["web"]}}}}
    with instance(tmp_path, file, token=TOKEN) as lb:
        url = f"http://127.0.0.1:{lb.port}/api/providers/rest"
        body = json.dumps(configuration("http://127.0.0.1:1", "a"))

        def answer(token: str) -> int:
            headers = {"Host": "rest", "Authorization": f"Bearer {token}"}
            return httpx.put(url, content=body, headers=headers, trust_env=False).status_code

        eventually(lambda: answer(TOKEN) == 200, "the provider is reached")
        assert answer("nothing") == 403
        becomes(lb, "a", 502)


def test_insecure_is_not_open_to_pages_in_browsers(tmp_path: Path) -> None:
    """A page reaches the address of the API by a name of its own (DNS rebinding): its origin is then the API's."""
    with instance(tmp_path, insecure=True) as lb:
        url, body = f"{admin(lb)}/api/providers/rest", configuration("http://127.0.0.1:1", "a")
        for headers in ({"Origin": admin(lb)}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://evil.example"}):
            answer = httpx.put(url, json=body, headers=headers, trust_env=False)
            assert answer.status_code == 403, headers
        assert httpx.put(url, json=body, trust_env=False).status_code == 200


def test_beside_traefik(tmp_path: Path) -> None:
    """`insecure`: without a token, on the entry point `traefik`; the same answers where both take what is put."""
    shown = {}
    body = configuration("http://127.0.0.1:1", "a", middlewares={"m": {"addPrefix": {"prefix": "/m"}}})
    for name in ("traefik", "lbcore"):
        port = free_port()
        static = {
            "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": f"127.0.0.1:{port}"}},
            "api": {"insecure": True},
            "providers": {"rest": {"insecure": True}},
        }
        process = start(name, tmp_path, static)
        base = f"http://127.0.0.1:{port}/api"
        try:

            def puts(base: str = base) -> httpx.Response | None:
                with contextlib.suppress(httpx.HTTPError):
                    answer = httpx.put(f"{base}/providers/rest", json=body, trust_env=False)
                    return answer if answer.status_code == 200 else None
                return None

            assert eventually(puts, f"{name} takes it").json()["http"]["routers"]["a"]["rule"] == "Host(`a`)"
            get = httpx.Client(base_url=base, trust_env=False)
            eventually(lambda get=get: get.get("/http/routers/a@rest").status_code == 200, "the router")  # type: ignore[misc]
            router = get.get("/http/routers/a@rest").json()
            names = [each["name"] for each in get.get("/http/routers").json()]
            unknown = httpx.put(f"{base}/providers/other", json=body, trust_env=False).status_code
            shown[name] = (router["rule"], router["service"], router["status"], names, unknown)
            get.close()
        finally:
            process.kill()
            process.wait(30)
    assert shown["lbcore"] == shown["traefik"]
