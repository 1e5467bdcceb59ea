"""`providers.docker` beside a real dockerd: what is served, and what happens when containers and the daemon come and go."""

# ruff: noqa: E501
from __future__ import annotations

import asyncio
import http.client
import json
import re
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from lbcore.config.static.providers import DockerProvider, SwarmProvider
from lbcore.provider import docker as docker_provider
from lbcore.provider import swarm as swarm_provider
from lbcore.provider.follow import Store
from lbcore.provider.trust import Own, own_container
from tests.support.command import run_command
from tests.support.docker import Docker, Guard, Podman, docker, guarded
from tests.support.instance import Instance, eventually, running
from tests.support.ports import free_port


@pytest.fixture(scope="module")
def engine() -> Iterator[Docker]:
    with docker() as found:
        yield found


@pytest.fixture(autouse=True)
def without_containers(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "engine" in request.fixturenames:
        engine: Docker = request.getfixturevalue("engine")
        for container in engine.ask("GET", "/containers/json", all=1):
            engine.remove(container["Id"])


def points(extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}, **(extra or {})}


@contextmanager
def instance(folder: Path, url: str, settings: Mapping[str, Any] | None = None, **static: Any) -> Iterator[Instance]:
    """lbcore that follows a Docker."""
    provider = {"endpoint": url, **(settings or {})}
    configuration = {
        "entryPoints": points(),
        "api": {"insecure": True},
        "providers": {"providersThrottleDuration": "0s", "docker": provider},
        **static,
    }
    with running(folder, None, workers=1, static=configuration) as found:
        yield found


def ask(port: int, host: str, path: str = "/") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def status(lb: Instance, host: str) -> int:
    return ask(lb.port, host)[0]


def api(lb: Instance, path: str) -> Any:
    port = int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1])
    code, text = ask(port, "localhost", path)
    return json.loads(text) if code == 200 else None


def becomes(lb: Instance, host: str, wanted: int) -> None:
    eventually(lambda: status(lb, host) == wanted, f"{wanted} for {host}")


def servers(lb: Instance, name: str) -> list[str] | None:
    """The servers of a service; None until all workers run the configuration that the API shows."""
    service = api(lb, f"/api/http/services/{name}@docker")
    state = api(lb, "/api/state")
    if service is None or any(worker["generation"] != state["reload"]["generation"] for worker in state["workers"]):
        return None
    return [server["url"] for server in service["loadBalancer"].get("servers", [])]


def labels(name: str, port: int = 0, **more: str) -> dict[str, str]:
    found = {f"traefik.http.routers.{name}.rule": f"Host(`{name}`)"}
    if port:
        found[f"traefik.http.services.{name}.loadbalancer.server.port"] = str(port)
    return {**found, **{f"traefik.http.{key}".replace("__", "."): value for key, value in more.items()}}


class Watch:
    """Asks for a host all the time, and keeps the statuses of the answers."""

    def __init__(self, lb: Instance, host: str) -> None:
        self.seen: set[int] = set()
        self.count = 0
        self._end = threading.Event()

        def work() -> None:
            while not self._end.wait(0.005):
                self.seen.add(status(lb, host))
                self.count += 1

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def end(self) -> set[int]:
        self._end.set()
        self._thread.join()
        return self.seen


def test_containers_are_served_as_they_come_and_go(engine: Docker, tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    engine.run("one", labels("shop", one), port=one)
    with instance(tmp_path, engine.url) as lb:
        becomes(lb, "shop", 200)
        engine.run("two", labels("shop", two), port=two)
        eventually(lambda: len(servers(lb, "shop") or ()) == 2, "two servers")
        assert {ask(lb.port, "shop")[1] for _ in range(8)} == {"one", "two"}
        engine.remove("one")
        eventually(lambda: servers(lb, "shop") == [f"http://127.0.0.1:{two}"], "one server")
        assert {ask(lb.port, "shop")[1] for _ in range(4)} == {"two"}
        assert status(lb, "other") == 404
        engine.remove("two")
        becomes(lb, "shop", 503)


def test_a_container_that_is_replaced_answers_503_and_never_404(engine: Docker, tmp_path: Path) -> None:
    port, more = free_port(), {"replaceGrace": "1h"}
    engine.run("web", labels("web", port), port=port)
    with instance(tmp_path, engine.url, more) as lb:
        becomes(lb, "web", 200)
        watch = Watch(lb, "web")
        engine.ask("POST", "/containers/web/stop", t=1)
        eventually(lambda: 503 in watch.seen, "503")
        engine.ask("POST", "/containers/web/start")
        becomes(lb, "web", 200)
        engine.remove("web")
        becomes(lb, "web", 503)
        engine.run("web", labels("web", port), port=port)
        becomes(lb, "web", 200)
        assert watch.end() <= {200, 502, 503}


def test_the_routers_of_a_container_that_does_not_come_back_go(engine: Docker, tmp_path: Path) -> None:
    stays, goes = free_port(), free_port()
    engine.run("stays", labels("stays", stays), port=stays)
    engine.run("goes", labels("goes", goes), port=goes)
    with instance(tmp_path, engine.url, {"replaceGrace": "100ms"}) as lb:
        becomes(lb, "goes", 200)
        engine.remove("goes")
        becomes(lb, "goes", 404)
        assert status(lb, "stays") == 200


def test_a_differing_label_removes_nothing(engine: Docker, tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    engine.run("one", labels("shop", one, services__shop__loadbalancer__passhostheader="true"), port=one)
    with instance(tmp_path, engine.url) as lb:
        becomes(lb, "shop", 200)
        watch = Watch(lb, "shop")
        changed = {**labels("shop", two, services__shop__loadbalancer__passhostheader="false"),
                   "traefik.http.routers.shop.rule": "Host(`shop`) || Host(`new`)"}  # fmt: skip
        engine.run("two", changed, port=two)
        becomes(lb, "new", 200)
        assert len(servers(lb, "shop") or ()) == 2
        assert watch.end() == {200}
        lb.logged(r"router shop is defined differently by two \(\w+\) and by one")
        lb.logged(r"service shop is defined differently by two \(\w+\) and by one")


def test_health_decides_who_gets_requests(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("sick", labels("sick", port), port=port, health="test -e /tmp/ok")
    with instance(tmp_path, engine.url) as lb:
        becomes(lb, "sick", 503)
        engine.execute("sick", "touch", "/tmp/ok")
        becomes(lb, "sick", 200)
        engine.execute("sick", "rm", "/tmp/ok")
        becomes(lb, "sick", 503)
        engine.execute("sick", "touch", "/tmp/ok")
        becomes(lb, "sick", 200)
        # A request that comes before this is noticed waits for the container.
        engine.ask("POST", "/containers/sick/pause")
        eventually(lambda: servers(lb, "sick") == [], "no server")
        assert status(lb, "sick") == 503
        engine.ask("POST", "/containers/sick/unpause")
        becomes(lb, "sick", 200)


def test_without_empty_services_what_is_not_ready_is_not_there(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("good", labels("good", port), port=port)
    engine.run("sick", labels("sick", port), health="test -e /tmp/ok")
    with instance(tmp_path, engine.url, {"allowEmptyServices": False}) as lb:
        becomes(lb, "good", 200)
        assert status(lb, "sick") == 404


def test_networks_are_chosen_and_followed(engine: Docker, tmp_path: Path) -> None:
    engine.make_network("lbt-a", "172.29.61.0/24")
    engine.make_network("lbt-b", "172.29.62.0/24")
    mine = {**labels("net", 80), "traefik.docker.network": "lbt-b"}
    identity = engine.run("net", mine, network="lbt-a")
    with instance(tmp_path, engine.url) as lb:
        eventually(lambda: servers(lb, "net") == ["http://172.29.61.2:80"], "the only network")
        lb.logged(r"container net is not in network 'lbt-b': lbt-a is used")
        engine.ask("POST", "/networks/lbt-b/connect", {"Container": identity})
        eventually(lambda: servers(lb, "net") == ["http://172.29.62.2:80"], "the wanted network")
        engine.ask("POST", "/networks/lbt-b/disconnect", {"Container": identity})
        eventually(lambda: servers(lb, "net") == ["http://172.29.61.2:80"], "the network that is left")
        bound = {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(free_port())}]}
        port = bound["80/tcp"][0]["HostPort"]
        engine.run("bound", labels("bound"), network="lbt-a", exposed=("80/tcp", "8080/tcp"), bindings=bound)
        eventually(lambda: servers(lb, "bound") == ["http://172.29.61.3:80"], "the lowest port")
    with instance(tmp_path / "..", engine.url, {"useBindPortIP": True}) as lb:
        eventually(lambda: servers(lb, "bound") == [f"http://127.0.0.1:{port}"], "the address of the host")


def test_only_the_object_of_a_bad_label_is_refused(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("good", labels("good", port), port=port)
    engine.run(
        "bad",
        {
            **labels("bad", port),
            "traefik.http.routers.bad.prioritty": "1",
            "traefik.http.routers.fine.rule": "Host(`fine`)",
        },
    )
    engine.run("typo", {"traefik.http.routes.x.rule": "Host(`typo`)"})
    with instance(tmp_path, engine.url, metrics={"prometheus": {}}) as lb:
        for host in ("good", "fine"):
            becomes(lb, host, 200)
        assert status(lb, "bad") == 404
        text = r"container bad: traefik.http.routers.bad.prioritty: unknown key 'prioritty' \(did you mean priority\?\)"
        lb.logged(text)
        lb.logged(r"container typo: traefik.http.routes: unknown key 'routes' \(did you mean routers\?\)")
        shown = ask(int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1]), "localhost", "/metrics")[1]
        assert 'lbcore_provider_problems{provider="docker"} 1.0' in shown
        assert 'lbcore_provider_failures_total{provider="docker"} 1.0' in shown
        assert 'lbcore_provider_objects{provider="docker"} 5.0' in shown
        assert 'lbcore_provider_age_seconds{provider="docker"}' in shown
        (state,) = api(lb, "/api/providers")
        assert (state["name"], state["failures"]) == ("docker", 1)
        assert "container typo" in state["problems"][0]
        assert "container bad" in api(lb, "/api/http/routers/bad@docker")["error"][0]
        port = int(lb.logged(r"entry point traefik listens on \S+:(\d+)")[1])
        shown = run_command("status", "--api", f"http://127.0.0.1:{port}")
        assert shown.returncode == 2
        assert "provider docker: " in shown.stdout
        assert "1 problem" in shown.stdout
        assert "container typo" in shown.stdout


def test_labels_of_a_container_that_has_the_socket_may_name_files(engine: Docker, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("me:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/\n")
    for name, mounts in (("proxy", {str(engine.socket): "/var/run/docker.sock"}), ("other", {})):
        more = {
            f"traefik.http.middlewares.{name}.basicauth.usersfile": str(tmp_path / "users"),
            f"traefik.http.routers.{name}.middlewares": name,
        }
        port = free_port()
        engine.run(name, {**labels(name, port), **more}, port=port, mounts=mounts)
    with instance(tmp_path, f"unix://{engine.socket}") as lb:
        becomes(lb, "proxy", 401)
        assert status(lb, "other") == 404
        lb.logged(r"container other: \S+basicauth.usersfile: labels may not name files .*labelFiles: \[\S+\] allows")


def test_a_container_finds_itself(engine: Docker, tmp_path: Path) -> None:
    copy = "cat /proc/self/cgroup > /seen/cgroup; cat /proc/self/mountinfo > /seen/mountinfo; : > /seen/done; "
    copy = copy.replace("cat", "/bin/busybox cat")
    (tmp_path / "seen").mkdir()
    identity = engine.run("me", {}, network="none", mounts={str(tmp_path / "seen"): "/seen"}, first=copy)
    engine.run("other", {}, network="none")
    eventually((tmp_path / "seen" / "done").exists, "the container has copied what it sees")
    keys = [each["Id"] for each in engine.ask("GET", "/containers/json")]
    found = {key: engine.ask("GET", f"/containers/{key}/json") for key in keys}
    own = own_container(tmp_path / "seen", tmp_path / "none")
    assert len(found) == 2
    assert own.among(found) == identity
    assert Own(shared=own.shared).among(found) == identity


def test_a_container_that_sends_requests_back_is_asked_once(engine: Docker, tmp_path: Path) -> None:
    with instance(tmp_path, engine.url) as lb:
        back = {"traefik.http.services.loop.loadbalancer.server.port": str(lb.port)}
        engine.run("loop", back)
        becomes(lb, "loop", 400)
        port = free_port()
        engine.run("straight", {"traefik.http.services.straight.loadbalancer.server.port": str(port)}, port=port)
        becomes(lb, "straight", 200)


def test_rules_and_constraints_of_the_provider(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    own = {"traefik.http.services.s.loadbalancer.server.port": str(port)}
    engine.run(
        "compose_1",
        {**own, "tier": "eu", "com.docker.compose.service": "web", "com.docker.compose.project": "shop"},
        port=port,
    )
    engine.run("other", {"tier": "us", "traefik.http.routers.other.rule": "Host(`other`)"}, exposed=("80/tcp",))
    engine.run("off", {"tier": "eu", "traefik.enable": "false"}, exposed=("80/tcp",))
    settings = {
        "constraints": "LabelRegex(`tier`, `^e`)",
        "defaultRule": 'Host(`{{ .Name }}.{{ index .Labels "tier" }}`) && Header(`x`, `{{ .ContainerName }}`) || Host(`web`)',
    }
    with instance(tmp_path, engine.url, settings) as lb:
        becomes(lb, "web", 200)
        (router,) = [each for each in api(lb, "/api/http/routers") if each["provider"] == "docker"]
        assert router["name"] == "web-shop@docker"
        assert router["rule"] == "Host(`web-shop.eu`) && Header(`x`, `compose_1`) || Host(`web`)"


def test_references_and_middlewares_over_providers(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("app", {**labels("app", port), "traefik.http.routers.app.middlewares": "cut@file",
                       "traefik.http.middlewares.mark.headers.customresponseheaders.X-Mark": "1"}, port=port)  # fmt: skip
    (tmp_path / "dyn.yml").write_text(
        "http:\n  middlewares: {cut: {stripPrefix: {prefixes: [/cut]}}}\n"
        "  routers:\n"
        "    a: {rule: Host(`{{ normalize `from.file` }}`), service: app@docker, middlewares: [mark@docker]}\n"
        "    a0: {rule: Host(`app`), service: none}\n"
        "  services: {none: {loadBalancer: {servers: []}}}\n"
    )
    providers = {"docker": {"endpoint": engine.url}, "file": {"filename": str(tmp_path / "dyn.yml")}}
    with instance(tmp_path, engine.url, providers=providers) as lb:
        becomes(lb, "from-file", 200)
        # Of two routers with the same rule, Docker's is asked first ...
        assert ask(lb.port, "app", "/cut/index.html") == (200, "app")
    (tmp_path / "again").mkdir()
    # ... unless the file comes first. What an entry point names without a provider is of the router's provider.
    web = {"address": "127.0.0.1:0", "http": {"middlewares": ["mark"]}}
    more = {"entryPoints": points({"web": web}), "providers": {**providers, "precedence": ["file"]}}
    with instance(tmp_path / "again", engine.url, **more) as lb:
        eventually(lambda: api(lb, "/api/http/routers/app@docker"), "the router of the container")
        assert api(lb, "/api/http/routers/app@docker")["status"] == "enabled"
        error = api(lb, "/api/http/routers/a0@file")["error"][0]
        assert error == 'middleware "mark@file" does not exist'
        assert status(lb, "app") == 200
    more["entryPoints"] = points()
    (tmp_path / "last").mkdir()
    with instance(tmp_path / "last", engine.url, **more) as lb:
        becomes(lb, "app", 503)


def test_a_daemon_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "dyn.yml").write_text(
        "http: {routers: {f: {rule: Host(`file`), service: f}}, services: {f: {loadBalancer: {servers: []}}}}"
    )
    daemon, port = free_port(), free_port()
    providers = {
        "providersThrottleDuration": "0s",
        "docker": {"endpoint": f"tcp://127.0.0.1:{daemon}"},
        "file": {"filename": str(tmp_path / "dyn.yml")},
    }
    with instance(tmp_path, "", providers=providers) as lb:
        becomes(lb, "file", 503)  # although Docker is not there
        lb.logged(r"provider docker: http://127.0.0.1:\d+: connection refused, nothing of it runs")
        engine = Docker(daemon)
        try:
            engine.run("app", labels("app", port), port=port)
            becomes(lb, "app", 200)
            engine.stop()
            eventually(lambda: api(lb, "/api/providers")[1]["problems"], "a problem")
            assert api(lb, "/api/http/routers/app@docker")["status"] == "enabled"
            assert status(lb, "app") in (200, 502, 503)
            engine.process = engine._started()
            engine.ask("POST", "/containers/app/start")
            becomes(lb, "app", 200)
            eventually(lambda: not api(lb, "/api/providers")[1]["problems"], "no problem")
        finally:
            engine.close()
        assert len([line for line in lb.log.splitlines() if "provider docker" in line and "ERROR" in line]) <= 8


def test_a_proxy_that_passes_no_events_on(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("one", labels("one", port), port=port)
    with guarded(engine.port, {"/events": 403}) as guard, instance(tmp_path, guard.url) as lb:
        becomes(lb, "one", 200)
        engine.run("two", labels("two", port))
        becomes(lb, "two", 200)
        engine.remove("two")
        becomes(lb, "two", 503)
        assert len(re.findall("events cannot be had: it answers 403; containers are listed every 10 s", lb.log)) == 1
        (state,) = api(lb, "/api/providers")
        assert state["problems"] == []


def test_a_proxy_that_passes_nothing_on_any_more(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("one", labels("one", port), port=port)
    with guarded(engine.port) as guard, instance(tmp_path, guard.url) as lb:
        becomes(lb, "one", 200)
        guard.refuses["/containers"] = 403
        engine.run("two", labels("two", port))
        lb.logged("provider docker: .*it answers 403.*, what runs stays")
        assert status(lb, "one") == 200
        assert "it answers 403" in api(lb, "/api/providers")[0]["problems"][0]
        guard.refuses.clear()
        becomes(lb, "two", 200)
        eventually(lambda: not api(lb, "/api/providers")[0]["problems"], "no problem")


@pytest.mark.parametrize("kind", ["docker", "swarm"])
def test_events_that_are_refused_are_asked_for_again(
    engine: Docker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(docker_provider, "REFUSED_S", 0.1)
    monkeypatch.setattr(swarm_provider, "REFUSED_S", 0.1)
    container = engine.create("late", {"traefik.enable": "true"})

    async def follow(guard: Guard) -> None:
        store: Store
        if kind == "docker":
            store = docker_provider.DockerStore(DockerProvider(endpoint=guard.url))
        else:
            store = swarm_provider.SwarmStore(SwarmProvider(endpoint=guard.url))
        changes = store.changes()
        assert isinstance(changes, AsyncGenerator)
        await anext(changes)  # it begins, without events
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.5)  # some more refusals
        assert not following.done()
        guard.refuses.clear()
        await following  # all is to be read again, because nothing has told what has changed before
        if kind == "docker":
            await asyncio.to_thread(engine.ask, "POST", f"/containers/{container}/start")
            await anext(changes)
        await changes.aclose()
        await store.close()

    with guarded(engine.port, {"/events": 403}) as guard:
        asyncio.run(asyncio.wait_for(follow(guard), 60))
    said = [record.getMessage() for record in caplog.records if "events" in record.getMessage()]
    assert ["cannot be had" in said[0], *(line.endswith("events can be had now") for line in said[1:])] == [True, True]


def test_a_container_about_which_the_daemon_fails_hinders_no_other(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    known = engine.run("known", labels("known", port), port=port)
    with guarded(engine.port) as guard, instance(tmp_path, guard.url) as lb:
        becomes(lb, "known", 200)
        fresh = engine.create("fresh", labels("fresh", port))
        guard.refuses = {f"/{known}/json": 500, f"/{fresh}/json": 500}
        engine.ask("POST", f"/containers/{fresh}/start")
        engine.ask("POST", f"/containers/{known}/rename", name="renamed")
        engine.run("other", labels("other", port))
        becomes(lb, "other", 200)
        lb.logged(f"container {fresh[:12]} cannot be asked about: it answers 500")
        lb.logged(f"container {known[:12]} cannot be asked about: it answers 500")
        assert (status(lb, "known"), status(lb, "fresh")) == (200, 404)
        guard.refuses = {}
        becomes(lb, "fresh", 200)
        eventually(lambda: api(lb, "/api/providers")[0]["problems"] == [], "no problem")


def test_check_shows_what_a_live_docker_would_give(engine: Docker, tmp_path: Path) -> None:
    port = free_port()
    engine.run("app", labels("app", port), port=port)
    engine.run(
        "bad", {"traefik.http.routers.bad.rule": "Hots(`a`)", "traefik.http.services.b.loadbalancer.server.port": "1"}
    )
    (tmp_path / "static.yml").write_text(
        f"entryPoints: {{web: {{address: ':0'}}}}\nproviders: {{docker: {{endpoint: 'unix://{engine.socket}'}}}}\n"
    )
    for more in ([str(tmp_path / "static.yml")], ["--endpoint", engine.url]):
        shown = run_command("check", "--provider", "docker", *more)
        assert shown.returncode == 1
        assert f"router app: Host(`app`) -> app (http://127.0.0.1:{port})" in shown.stdout
        assert "2 routers, 2 services, 0 middlewares, 1 disabled" in shown.stdout
        assert "error: router bad@docker is disabled: container bad: traefik.http.routers.bad.rule: error while parsing" in shown.stderr
    shown = run_command("check", "--provider", "docker", "--endpoint", "unix:///nowhere")
    assert shown.stderr.splitlines()[0] == "error: provider docker: no such file or directory"
    shown = run_command("check", tmp_path / "static.yml")
    assert "lbcore check --provider docker" in shown.stdout
    assert shown.returncode == 0, shown.stderr


def test_podman_is_followed_by_the_same_api(tmp_path: Path) -> None:
    engine, port = Podman(), free_port()
    try:
        engine.run("pod", labels("pod", port), port=port)
        with instance(tmp_path, engine.url) as lb:
            becomes(lb, "pod", 200)
            engine.ask("POST", "/containers/pod/stop", t=1)
            becomes(lb, "pod", 503)
            engine.ask("POST", "/containers/pod/start")
            becomes(lb, "pod", 200)
    finally:
        engine.close()
