"""`providers.docker`: settings that cannot be used, TLS and credentials towards the API, and addresses."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bench.containers import Containers
from lbcore.config.load import parse_static
from lbcore.config.static.providers import ClientTls, DockerProvider
from lbcore.errors import ConfigError
from lbcore.provider.docker import LIST_S, DockerStore, options_of, service_name
from lbcore.provider.places import Network, binding_of, choose, is_near, lowest_port, networks_of
from lbcore.provider.registry import providers_of
from lbcore.provider.web import SIZE_LIMIT_BYTES, AnswerError, WebClient
from lbcore.tls.clients import context_of
from tests.support.certificates import authority, signed


def store(**settings: Any) -> DockerStore:
    return DockerStore(DockerProvider.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("{endpoint: 'ssh://host'}", "providers.docker.endpoint: ssh is not supported"),
        ("{endpoint: 'tcp://user:secret@host'}", "without user name"),
        ("{endpoint: nothing}", "providers.docker.endpoint: is no address"),
        ("{defaultRule: '{{ nofunc }}'}", "providers.docker.defaultRule: there is no template function nofunc"),
        ("{constraints: 'Tag(`a`)'}", "providers.docker.constraints: Tag is no function here"),
        ("{endpoint: 'tcp://h:1', tls: {ca: /nowhere}}", "docker.tls: cannot be used: ca: /nowhere cannot be read"),
        ("{endpoint: 'tcp://h:1', tls: {cert: /nowhere}}", "cert and key go together"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_start(settings: str, problem: str) -> None:
    static, _ = parse_static(f"providers: {{docker: {settings}}}")
    with pytest.raises(ConfigError) as caught:
        providers_of(static)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(ConfigError) as caught:
        store()
    assert str(caught.value) == (
        "providers.docker: needs the package httpx, which is missing (type: pip install 'lbcore[docker]')"
    )


def test_providers_are_asked_in_the_order_of_precedence() -> None:
    static, _ = parse_static("providers: {precedence: [file, Docker]}")
    assert [static.providers.rank(name) for name in ("a@file", "a@docker", "a@swarm")] == [0, 1, 2]
    static, _ = parse_static("ping: {}")
    assert static.providers.rank("a@swarm") < static.providers.rank("a@docker") < static.providers.rank("a@file")
    with pytest.raises(ConfigError, match="unknown provider 'dokcer'"):
        parse_static("providers: {precedence: [dokcer]}")


def test_networks_are_chosen_by_name_and_by_nearness() -> None:
    loopback, far = Network("z", "127.9.9.9", 8), Network("a", "203.0.113.9", 24)
    assert is_near(loopback)
    assert not is_near(far)
    assert choose([far, loopback], "") == (loopback, True)
    assert choose([far, loopback], "a") == (far, True)
    assert choose([far], "none") == (far, False)
    assert choose([], "") == (None, True)
    settings = {
        "Networks": {"b": {"IPAddress": "10.0.0.2", "IPPrefixLen": 16}, "a": {"GlobalIPv6Address": "fd00::2"}, "c": {}}
    }
    assert networks_of(settings) == [Network("a", "fd00::2"), Network("b", "10.0.0.2", 16)]


def test_ports() -> None:
    assert lowest_port({"8080/tcp": None, "443/tcp": None, "9000/udp": None}) == "443"
    assert lowest_port({}) == ""
    ports = {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "1"}], "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "2"}]}
    assert binding_of(ports, "80") is None
    assert binding_of(ports, "81") == ("127.0.0.1", "2")
    assert binding_of(ports, "82") is None


def test_options_in_labels() -> None:
    found = options_of({"Traefik.Enable": "false", "traefik.docker.network": "n"}, "docker", True, "m")
    assert (found.enabled, found.network) == (False, "n")
    assert options_of({}, "docker", False, "m").network == "m"
    with pytest.raises(ValueError, match="exclude each other"):
        options_of({"traefik.docker.network": "a", "traefik.swarm.network": "b"}, "swarm", True, "")
    with pytest.raises(ValueError, match=r"traefik\.enable: 'yes' is neither true nor false"):
        options_of({"traefik.enable": "yes"}, "docker", True, "")
    # A variable that is not set must not expose a container.
    for key in ("traefik.enable", "traefik.docker.allownonrunning"):
        with pytest.raises(ValueError, match="'' is neither true nor false"):
            options_of({key: ""}, "docker", True, "")
    for first, last in (("false", "true"), ("true", "false")):
        labels = {"traefik.enable": last, "traefik.Enable": first}
        assert options_of(labels, "docker", True, "").enabled is (last == "true")
    # A label without a value names no network, whatever the provider's option says.
    assert options_of({"traefik.docker.network": ""}, "docker", True, "m").network == ""
    assert service_name("/shop_1", {}) == "shop-1"
    compose = {"com.docker.compose.service": "web", "com.docker.compose.project": "my_shop"}
    assert service_name("x", compose) == "web-my-shop"


@pytest.mark.parametrize(
    ("own", "other", "address"), [("", "", "127.0.0.2"), ("b", "", "127.0.0.3"), ("b", "c", "127.0.0.4")]
)
def test_a_container_in_the_network_of_another_one_is_where_that_says(own: str, other: str, address: str) -> None:
    def container(name: str, network: str, mode: str, **more: Any) -> dict[str, Any]:
        labels = {"traefik.docker.network": network} if network else {}
        return {
            "Id": name * 64,
            "Name": f"/{name}",
            "Config": {"Labels": labels},
            "State": {"Status": "running"},
            "HostConfig": {"NetworkMode": mode},
            "NetworkSettings": {"Ports": {"80/tcp": None}, **more},
        }

    networks = {name: {"IPAddress": f"127.0.0.{at}"} for at, name in enumerate("abc", 2)}
    both = [container("1", own, f"container:{'2' * 64}"), container("2", other, "bridge", Networks=networks)]
    reading = DockerStore(DockerProvider())._reading({each["Id"]: each for each in both})
    balancer = reading.config.http.services["1"].load_balancer
    assert balancer is not None
    assert [server.url for server in balancer.servers] == [f"http://{address}:80"]


Handler = Callable[[str, dict[str, str]], tuple[int, bytes]]


def served(handler: Handler, test: Callable[[int], Awaitable[None]], context: ssl.SSLContext | None = None) -> None:
    """Run `test` with the port of a server that answers by `handler`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            status, body = handler(head[0].split()[1], headers)
            more = "Api-Version: 1.41\r\nDate: Sat, 28 Nov 2026 12:00:00 GMT\r\n"
            writer.write(
                f"HTTP/1.1 {status} X\r\n{more}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with server:
            await test(server.sockets[0].getsockname()[1])

    asyncio.run(main())


def test_an_answer_that_is_wrong_is_refused_with_its_reason() -> None:
    answers = {"/v1.41/a": (500, b'{"message": "the daemon\\n says no"}'), "/v1.41/b": (200, b"no json")}
    answers["/v1.41/c"] = (200, b"x" * (SIZE_LIMIT_BYTES + 1))
    answers["/v1.41/d"] = (200, b"[" * 100_000)

    def handle(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        return answers.get(path, (200, b"OK"))

    async def test(port: int) -> None:
        found = store(endpoint=f"tcp://127.0.0.1:{port}")
        for path, reason in (
            ("/a", "it answers 500: the daemon says no"),
            ("/b", "is no JSON"),
            ("/c", "larger than 64 MiB"),
            ("/d", "is no JSON: nested too deeply"),
        ):
            with pytest.raises(AnswerError, match=reason):
                await found._client.ask(path)
        await found.close()

    served(handle, test)


def test_a_server_that_says_nothing_is_given_up() -> None:
    async def main() -> None:
        held: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda reader, writer: held.append(writer), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            found = store(endpoint=f"tcp://127.0.0.1:{port}", httpClientTimeout="200ms")
            with pytest.raises(AnswerError, match="does not answer in time"):
                await found.read()
            await found.close()
            for writer in held:
                writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("as_text", [True, False])
def test_tls_with_a_certificate_of_the_client_and_a_password(as_text: bool, tmp_path: Path) -> None:
    ca = authority(tmp_path, "ca")
    server, client = signed(tmp_path, ca, "server", "IP:127.0.0.1"), signed(tmp_path, ca, "client")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(ca.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    seen: list[str] = []

    def handle(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        seen.append(headers.get("authorization", ""))
        return 200, b"[]" if path.endswith("json") or "?" in path else b"OK"

    def given(path: Path) -> str:
        return path.read_text() if as_text else str(path)

    async def test(port: int) -> None:
        tls = {"ca": given(ca.certificate), "cert": given(client.certificate), "key": given(client.key)}
        found = store(endpoint=f"tcp://127.0.0.1:{port}", tls=tls, username="me", password="secret")
        reading = await found.read()
        assert reading.config.is_empty
        await found.close()
        plain = store(endpoint=f"tcp://127.0.0.1:{port}", tls={"insecureSkipVerify": True})
        with pytest.raises(OSError):
            await plain.read()
        await plain.close()
        strict = store(endpoint=f"tcp://127.0.0.1:{port}", tls={})
        with pytest.raises(AnswerError, match=r"certificate verify failed|CERTIFICATE_VERIFY_FAILED"):
            await strict.read()
        await strict.close()

    served(handle, test, context)
    assert seen
    assert set(seen) == {f"basic {base64.b64encode(b'me:secret').decode().lower()}"}


def test_secrets_are_not_shown() -> None:
    settings = DockerProvider.model_validate({"password": "secret", "tls": {"key": "secret"}})
    assert "secret" not in repr(settings)
    with pytest.raises(ConfigError) as caught:
        context_of("providers.docker.tls", ClientTls(cert="-----BEGIN secret", key="-----BEGIN secret"))
    assert "secret" not in str(caught.value)
    client = WebClient("docker", "docker", "tcp://127.0.0.1:1", username="me", password="secret")
    assert "secret" not in client.place


def test_thousands_of_containers_cost_one_question_each_time() -> None:
    count, asked = 200, []
    lines = [{"Id": f"{n:064x}", "Status": "Up 1 second", "State": "running", "Labels": {}} for n in range(count)]

    def handle(path: str, headers: dict[str, str]) -> tuple[int, bytes]:
        asked.append(path)
        if path.startswith("/v1.41/containers/json"):
            return 200, json.dumps(lines).encode()
        identity = path.split("/")[3] if path.count("/") > 3 else ""
        details = {
            "Id": identity,
            "Name": f"/c{int(identity or '0', 16)}",
            "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "running"},
            "Config": {"Labels": {}},
            "HostConfig": {"NetworkMode": "n"},
            "NetworkSettings": {
                "Ports": {"80/tcp": None},
                "Networks": {"n": {"IPAddress": "10.0.0.1", "IPPrefixLen": 8}},
            },
        }
        return 200, json.dumps(details).encode()

    async def test(port: int) -> None:
        found = store(endpoint=f"tcp://127.0.0.1:{port}")
        first = await found.read()
        assert len(first.config.http.routers) == count
        before = len(asked)
        for line in lines:
            line["Status"] = "Up 2 seconds"
        assert (await found.read()).config == first.config
        assert len(asked) - before == 1
        lines[7]["Status"] = "Up 2 seconds (unhealthy)"
        await found.read()
        assert len(asked) - before == 3
        await found.close()

    served(handle, test)


def test_of_many_containers_those_that_events_name_are_asked_for() -> None:
    async def run() -> None:
        containers = Containers(80)
        containers.put({number: f"h{number}" for number in range(120)})
        found = store(endpoint=f"tcp://127.0.0.1:{containers.port()}")
        changes = found.changes()
        try:
            await anext(changes)
            first = (await found.read()).config.http
            assert len(first.routers) == 120
            assert containers.asked().count("containers/json") == 1
            containers.put({7: "other"})
            while len(found._dirty) < 2:  # the one that is gone, and the one in its place
                await anext(changes)
            second = (await found.read()).config.http
            asked = containers.asked()
            assert "containers/json" not in asked and len(asked) == 2
            assert second.routers["r7"].rule == "Host(`other`)"
            assert [name for name in first.routers if second.routers[name] is not first.routers[name]] == ["r7"]
            found._listed_at -= LIST_S
            assert (await found.read()).config.http == second
            assert "containers/json" in containers.asked()
        finally:
            await changes.aclose()
            await found.close()

    asyncio.run(run())
