"""What stands around Traefik or lbcore in a published set-up: servers, containers, a Swarm, a cluster."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.support import swarm_api
from tests.support.certificates import Files, certificate
from tests.support.docker import Docker, docker
from tests.support.kubernetes import kubernetes, slice_of
from tests.support.published import Place, SetUp
from tests.support.threaded import Quiet, ThreadedServer

# Ports that images expose.
EXPOSED = {
    "whoami": 80, "nginx": 80, "nextcloud": 80, "wordpress": 80, "vaultwarden": 80, "pihole": 80, "it-tools": 80,
    "jellyfin": 8096, "portainer": 9000, "gitea": 3000, "adminer": 8080, "grafana": 3000, "error-pages": 8080,
    "postgres": 5432, "mysql": 3306, "redis": 6379, "mongo": 27017, "oauth2": 4180, "ghost": 2368, "forward-auth": 4181,
    "goauthentik": 9000, "authelia": 9091, "tautulli": 8181, "prometheus": 9090, "traefik:": 80,
}  # fmt: skip
LOGIN = ("/api/verify", "/outpost.goauthentik.io/auth", "/oauth2/auth")


class Server(ThreadedServer):
    """It answers with what it was asked; where it is asked who somebody is, by the cookie `session=ok`."""

    def __init__(self, tls: Files | None = None) -> None:
        class Handler(Quiet):
            server_version, sys_version = "a-server", ""

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

        super().__init__(Handler, tls)


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
