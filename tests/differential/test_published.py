"""Whole set-ups as people publish them, in real Traefik and in lbcore: the same objects run, with the same answers."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.differential.test_generated_labels import view
from tests.support import swarm_api
from tests.support.certificates import Files, certificate
from tests.support.command import Command
from tests.support.docker import Docker, docker
from tests.support.kubernetes import kubernetes, slice_of
from tests.support.published import Place, SetUp, start_of
from tests.support.traefik import NAMES, TRAEFIK, Process

SET_UPS = sorted((Path(__file__).parent / "published").glob("*.txt"))
LONGEST_S, STEADY_S = 60.0, 2.0  # of a start; what does not change for so long is all that there is
# Ports that images expose.
EXPOSED = {
    "whoami": 80, "nginx": 80, "nextcloud": 80, "wordpress": 80, "vaultwarden": 80, "pihole": 80, "it-tools": 80,
    "jellyfin": 8096, "portainer": 9000, "gitea": 3000, "adminer": 8080, "grafana": 3000, "error-pages": 8080,
    "postgres": 5432, "mysql": 3306, "redis": 6379, "mongo": 27017, "oauth2": 4180, "ghost": 2368, "forward-auth": 4181,
    "goauthentik": 9000, "authelia": 9091, "tautulli": 8181, "prometheus": 9090, "traefik:": 80,
}  # fmt: skip
KINDS = (*(f"http/{kind}" for kind in ("routers", "services", "middlewares")), "tcp/routers", "tcp/services")
# Of answers and objects, what is documented to differ, or differs by the time.
NOT_COMPARED = ("connection", "date", "transfer-encoding", "content-length", "keep-alive", "accept-ranges", "etag")
GONE = ("sslRedirect", "sslHost", "sslForceHost", "sslProxyHeaders")  # options of `headers` without effect
OWN_PAGE = re.compile("<title>(Traefik Proxy|lbcore)</title>|Codename")
LOGIN = ("/api/verify", "/outpost.goauthentik.io/auth", "/oauth2/auth")


class Server:
    """It answers with what it was asked; where it is asked who somebody is, by the cookie `session=ok`."""

    def __init__(self, tls: Files | None = None) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "a-server", ""

            def log_message(self, *arguments: Any) -> None:
                pass

            def do_GET(self) -> None:
                headers = dict(sorted((key.lower(), value) for key, value in self.headers.items()))
                body = json.dumps({"path": self.path, "headers": headers}).encode()
                status, more = 200, {"X-Powered-By": "test"}
                if self.path.startswith(LOGIN) or "X-Forwarded-Uri" in self.headers:
                    more = {"Remote-User": "ann", "X-Forwarded-User": "ann", "X-authentik-username": "ann"}
                    if "session=ok" not in self.headers.get("Cookie", ""):
                        status, more = 302, {"Location": "https://login.example.com/"}
                self.send_response(status)
                for key, value in more.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class World:
    """What all set-ups share. A dockerd starts with the first one that has containers."""

    def __init__(self, folder: Path) -> None:
        self.stack = contextlib.ExitStack()
        self.plain, self.secure = Server(), Server(certificate(folder, "server", "server.test"))
        self.stack.callback(self.plain.close)
        self.stack.callback(self.secure.close)
        self._engine: Docker | None = None

    @property
    def engine(self) -> Docker:
        if self._engine is None:
            self._engine = self.stack.enter_context(docker())
        return self._engine

    def join(self, name: str) -> str:
        """A network of containers, which is there afterwards."""
        if name not in self.engine.networks:
            self.engine.make_network(name, f"172.29.{80 + len(self.engine.networks)}.0/24")
        return name


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    found = World(tmp_path_factory.mktemp("world"))
    with found.stack:
        yield found


@contextlib.contextmanager
def containers(world: World, set_up: SetUp, place: Place) -> Iterator[None]:
    """The services of a set-up, as Compose would start them. Each answers with its name on its ports."""
    engine, made = world.engine, []
    try:
        for name, service in set_up.services.items():
            container = set_up.container(name)
            others = [*set_up.services, *map(set_up.container, set_up.services)]
            labels = {key: place.servers(value, others) for key, value in set_up.labels(service).items()}
            named = [int(value) for key, value in labels.items() if key.lower().endswith("loadbalancer.server.port")]
            exposed = next((port for image, port in EXPOSED.items() if image in service["image"]), 0)
            labels |= {"com.docker.compose.service": name, "com.docker.compose.project": set_up.project}
            mode = service.get("network_mode", "")
            networks = [] if mode else [world.join(network) for network in set_up.networks(service)]
            if mode.startswith("service:"):
                mode = f"container:{set_up.container(mode.partition(':')[2])}"
            ports = (named or [exposed]) if networks else [0]
            first = "".join(f"/bin/busybox httpd -p {port} -h /www; " for port in ports[1:])
            how = {"exposed": (f"{exposed}/tcp",)} if exposed and networks else {}
            engine.run(container, labels, port=ports[0], network=mode or networks[0], first=first, **how)
            made.append(container)
            for network in networks[1:]:
                engine.ask("POST", f"/networks/{network}/connect", {"Container": container})
        yield
    finally:
        for container in made:
            engine.remove(container)


def swarm(set_up: SetUp, stack: contextlib.ExitStack) -> str:
    """The services of a set-up in the API of a Swarm."""
    services, tasks = [], []
    for number, (name, service) in enumerate(set_up.services.items()):
        networks, deploy = set_up.networks(service), service["deploy"]
        virtual = dict.fromkeys(networks, f"10.90.{number}.2/24")
        is_global = deploy.get("mode") == "global"
        services.append(swarm_api.service(f"stack_{name}", set_up.labels(service), "vip", virtual, is_global))
        for slot in range(1, 1 + deploy.get("replicas", 1)):
            addresses = {network: [f"10.91.{number}.{slot + 2}/24"] for network in networks}
            tasks.append(swarm_api.task(services[-1], slot, addresses))
    networks = sorted({network for service in set_up.services.values() for network in set_up.networks(service)})
    return stack.enter_context(swarm_api.swarm_api(services, tasks, networks))


def cluster(set_up: SetUp, place: Place, stack: contextlib.ExitStack) -> dict[str, str]:
    """The objects of a set-up in an API server, each service with one pod."""
    found = stack.enter_context(kubernetes())
    things = place.servers(set_up.parts["cluster.yaml"])
    found.apply(things)
    for thing in yaml.safe_load_all(things):
        if thing["kind"] == "Service" and "selector" in thing["spec"]:
            about = thing["metadata"]
            slices = slice_of(about["name"], ["127.0.0.1"], 1, about.get("namespace", "default"))
            slices["ports"] = [{"name": port.get("name", ""), "port": place.http} for port in thing["spec"]["ports"]]
            found.apply(slices)
    return dict.fromkeys(("kubernetescrd", "kubernetesingress", "kubernetesgateway"), found.url)


def begin(name: str, set_up: SetUp, place: Place) -> Process:
    how = start_of(set_up, place)
    environ = {key: value for key, value in os.environ.items() if not key.startswith("TRAEFIK_")} | how.environ
    with (place.folder / "output").open("wb") as log:
        if name == "lbcore":
            arguments = ["run", "--workers", "1", *(how.flags if how.file is None else ["--config", str(how.file)])]
            return Command(arguments, cwd=how.cwd, env=environ, stdout=log, stderr=log)
        command = [str(TRAEFIK), *(how.flags if how.file is None else [f"--configFile={how.file}"])]
        return subprocess.Popen(command, cwd=how.cwd, env=environ, stdout=log, stderr=log)


def objects(port: int) -> dict[str, Any]:
    """All objects of providers, by kind and name."""
    found = {}
    with contextlib.suppress(OSError):
        for kind in (*KINDS, "udp/routers", "udp/services"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{kind}?per_page=1000", timeout=30) as answer:
                found |= {f"{kind} {thing['name']}": thing for thing in json.load(answer)}
    return {name: thing for name, thing in found.items() if not name.endswith("@internal")}


def settled(processes: dict[str, Process], places: dict[str, Place]) -> dict[str, dict[str, Any]]:
    """The objects of both, once both have the same ones, or no more come."""
    end, before, since = time.monotonic() + LONGEST_S, {}, time.monotonic()
    while time.monotonic() < end:
        for name, process in processes.items():
            assert process.poll() is None, f"{name} has ended: {(places[name].folder / 'output').read_text()}"
        found = {name: objects(places[name].api) for name in processes}
        names = {name: sorted(things) for name, things in found.items()}
        steady_s = 0.2 if names["traefik"] == names["lbcore"] else STEADY_S
        if names != before:
            before, since = names, time.monotonic()
        elif all(names.values()) and time.monotonic() - since > steady_s:
            return found
        time.sleep(0.1)
    raise AssertionError(f"there is no end of changes, or nothing: {before}")


def ask(line: str, place: Place) -> str:
    """The answer to a request, without what is not compared."""
    scheme, point, host, path, *more = line.split(" ", 4)
    headers = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "test"}
    headers |= dict([more[0].split(": ", 1)] if more else [])
    connection = http.client.HTTPConnection("127.0.0.1", place.ports[point], timeout=30)
    with contextlib.closing(connection):
        connection.connect()
        if scheme == "https":
            context = ssl._create_unverified_context()
            try:
                connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
            except ssl.SSLError as error:
                return f"no handshake: {error.reason}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode("latin-1")
        told = sorted((key.lower(), value) for key, value in answer.getheaders() if key.lower() not in NOT_COMPARED)
    if OWN_PAGE.search(body):
        return f"{answer.status}, a page of its own"
    text = json.dumps([answer.status, told, json.loads(body) if body.startswith("{") else body])
    text = re.sub(r'nonce=\\"[^"]*"|opaque=\\"[^"]*"|algorithm=\W*MD5\W*|"last-modified", "[^"]*"', "", text)
    for name, port in place.ports.items():
        text = text.replace(str(port), name)
    return text


def shown(thing: dict[str, Any]) -> dict[str, Any]:
    found = view(thing)
    found["entryPoints"] = sorted(found.get("entryPoints", []))
    for key in GONE:
        (found.get("headers") or {}).pop(key, None)
    if found["status"] == "disabled":
        found.pop("priority", None)  # Traefik tells none of routers without entry points
    if "mirroring" in found:  # of defaults, Traefik tells those of some providers
        found["mirroring"] = {"maxBodySize": -1, "mirrorBody": True, **found["mirroring"]}
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "SERVER", json.dumps(found)))


def split(theirs: dict[str, Any], ours: dict[str, Any], points: list[str]) -> set[str]:
    """Routers of which Traefik makes one for each entry point with settings of its own; lbcore has one for all."""
    found = set()
    for name in theirs.keys() - ours.keys():
        kind, _, router = name.partition(" ")
        for point in points:
            whole = f"{kind} {router.removeprefix(f'{point}-')}"
            if kind == "http/routers" and router.startswith(f"{point}-") and whole in ours:
                found |= {name, whole}
    return found


@pytest.mark.parametrize("file", SET_UPS, ids=lambda file: file.stem)
def test_the_same_runs_and_answers(world: World, tmp_path: Path, file: Path) -> None:
    set_up = SetUp(file)
    places: dict[str, Place] = {}
    processes: dict[str, Process] = {}
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            endpoints: dict[str, str] = {}
            place = places[name] = Place(tmp_path / name, world.plain.port, world.secure.port, endpoints)
            place.folder.mkdir()
            if "compose.yaml" in set_up.parts:
                endpoints["docker"] = world.engine.url
            if "stack.yml" in set_up.parts:
                endpoints["swarm"] = swarm(set_up, stack)
            if "cluster.yaml" in set_up.parts:
                endpoints |= cluster(set_up, place, stack)
        if "compose.yaml" in set_up.parts:
            stack.enter_context(containers(world, set_up, places["traefik"]))
        for name in NAMES:
            processes[name] = begin(name, set_up, places[name])
            stack.callback(processes[name].wait, 30)
            stack.callback(processes[name].send_signal, signal.SIGTERM)
        found = settled(processes, places)
        theirs, ours = found["traefik"], found["lbcore"]
        several = split(theirs, ours, list(places["lbcore"].ports))
        more = set(set_up.lines("more"))
        assert theirs.keys() - ours.keys() - several == set()
        assert ours.keys() - theirs.keys() - several == more
        for name in (theirs.keys() & ours.keys()) - several:
            assert shown(ours[name]) == shown(theirs[name]), name
        for line in set_up.lines("ask"):
            assert ask(line, places["lbcore"]) == ask(line, places["traefik"]), line
