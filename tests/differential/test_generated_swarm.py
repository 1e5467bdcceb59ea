"""Services of a Swarm that nobody has thought of: the same in real Traefik and in lbcore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.test_generated_labels import Case, both, compare
from tests.support.swarm_api import Thing, service, swarm_api, task

CASES = 80
NETWORKS = ("back", "front", "ingress")
STATES = ("running",) * 9 + ("starting", "failed", "complete")


class Place:
    """A case as a service: its labels, and where its tasks are."""

    def __init__(self, number: int, most: int) -> None:
        """`most`: tasks."""
        self.case = case = Case(3000 + number, 0.2)
        rng = case.rng
        labels = {key: value.replace("@docker", "@swarm") for key, value in case.labels().items()}
        layers = {key.split(".")[1] for key in labels if key.split(".")[1] in ("http", "tcp", "udp")} or {"http"}
        for layer in layers:
            names = [key.split(".")[3] for key in labels if key.startswith(f"traefik.{layer}.services.")]
            for name in names or [case.name]:  # a task exposes no ports
                if rng.random() < 0.95:
                    labels.setdefault(f"traefik.{layer}.services.{name}.loadbalancer.server.port", "80")
        wanted = rng.choice(("back", "front"))
        key = rng.choice(("traefik.swarm.network", "traefik.docker.network", "traefik.Swarm.Network"))
        labels[key] = wanted
        if rng.random() < 0.1:
            labels[rng.choice(("traefik.swarm.lbswarm", "traefik.docker.lbswarm"))] = "false"
        if rng.random() < 0.2:
            key = rng.choice(("traefik.swarm.lbswarm", "traefik.docker.lbswarm", "traefik.swarm.LBSwarm"))
            labels[key] = rng.choice(("true", "1", "yes"))
        if rng.random() < 0.1:
            labels |= {"com.docker.compose.service": "web", "com.docker.compose.project": case.name}
        self.labels = labels
        mode = rng.choice(("vip", "vip", "vip", "dnsrr", ""))
        # Where the wanted network is not among several, Traefik takes any.
        networks = rng.choice((("back", "front"), (wanted,), ("front",), ("ingress",), ("back", "front", "ingress")))
        name = rng.choice((case.name, f"shop_{case.name}", f"{case.name}.With_more"))
        virtual = {each: f"10.90.{number}.{at}/24" for at, each in enumerate(networks, 2)}
        self.service = service(name, labels, mode, virtual, rng.random() < 0.2)
        self.tasks: list[Thing] = []
        for slot in range(min(rng.choice((0, 1, 1, 1, 1, 2, 2, 3)), most)):
            at = {each: [f"10.91.{number}.{slot * 8 + n}/24"] for n, each in enumerate(networks, 2)}
            if rng.random() < 0.1 and len(networks) == 1:
                at[networks[0]] = []  # it has no address yet
            self.tasks.append(task(self.service, slot + 1, at, rng.choice(STATES)))


def test_a_proxy_that_passes_no_events_on(tmp_path: Path) -> None:
    labels = {"traefik.http.routers.sentinel.rule": "Host(`sentinel`)"}
    port = {"traefik.http.services.sentinel.loadbalancer.server.port": "80"}
    sentinel = service("sentinel", labels | port, "vip", {"back": "10.92.0.2/24"})
    tasks = [task(sentinel, slot, {"back": [f"10.92.0.{slot + 2}/24"]}) for slot in (1, 2)]
    with swarm_api([sentinel], tasks, NETWORKS, refuses=("/events",)) as url:
        theirs, ours = both(tmp_path, "swarm", {"endpoint": url})
    told = [found["http services"]["sentinel@swarm"]["loadBalancer"]["servers"] for found in (theirs, ours)]
    assert told[0] == told[1] and len(told[1]) == 2


RULES = ("", "Host(`{{ .ContainerName | lower }}.{{ .Name }}`)")


@pytest.mark.parametrize("rule", RULES, ids=["default", "of the task"])
def test_services(tmp_path: Path, rule: str) -> None:
    # Of tasks that say different things, Traefik takes none.
    places = [Place(number, 1 if rule else 3) for number in range(CASES)]
    labels = {"traefik.http.routers.sentinel.rule": "Host(`sentinel`)"}
    port = {"traefik.http.services.sentinel.loadbalancer.server.port": "80"}
    sentinel = service("sentinel", labels | port, "vip", {"back": "10.92.0.2/24"})
    services = [*(place.service for place in places), sentinel]
    tasks = [*(each for place in places for each in place.tasks), task(sentinel, 1, {"back": ["10.92.0.3/24"]})]
    with swarm_api(services, tasks, NETWORKS) as url:
        # In Traefik, a service without tasks is not there, whatever this option says.
        settings = {"endpoint": url, "allowEmptyServices": False, **({"defaultRule": rule} if rule else {})}
        theirs, ours = both(tmp_path, "swarm", settings)
    used = [compare(place.case, theirs, ours, place.labels) for place in places]
    assert sum(used) > CASES // 4
