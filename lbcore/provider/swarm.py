"""`providers.swarm`: the services of a Docker Swarm, by their labels, and the tasks that run for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any

from lbcore.config.static.providers import SwarmProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.combine import Part
from lbcore.provider.constraints import Subject
from lbcore.provider.docker import Options, options_of, service_name
from lbcore.provider.docker_api import REFUSED_S, DockerClient
from lbcore.provider.exposure import LABELS, ExposingStore, Round
from lbcore.provider.follow import Reading
from lbcore.provider.labels import Labelled, rule_data
from lbcore.provider.places import Network, choose
from lbcore.provider.trust import holds, own_container, trusted_socket
from lbcore.provider.web import AnswerError

Answer = dict[str, Any]
INGRESS = "ingress"  # the network of published ports, in which every service is that has some


class SwarmStore(ExposingStore):
    """The services of a Swarm. Raises ConfigError for settings that cannot be used."""

    _settings: SwarmProvider
    _client: DockerClient

    def __init__(self, settings: SwarmProvider) -> None:
        super().__init__("swarm", "swarm", settings, DockerClient("swarm", settings), LABELS)
        self._about_own = own_container()

    async def changes(self) -> AsyncIterator[None]:
        """See Store. Tasks have no events: these are seen by reading again."""
        was_told = False
        while True:
            try:
                async with self._client.events(("service", "node", "network")) as events:
                    self._client.has("events")
                    yield
                    async for _ in events:
                        yield
                return
            except AnswerError as error:
                every_s = self._settings.refresh_seconds.total_seconds()
                if not self._client.lacks("events", error, f"services are read every {every_s:g} s"):
                    raise
            if not was_told:
                was_told = True
                yield
            await asyncio.sleep(REFUSED_S)

    async def read(self) -> Reading:
        """See Store."""
        asked = ("/services", None), ("/tasks", {"filters": {"desired-state": ["running"]}}), ("/networks", None)
        answers = [*[await self._client.ask(path, query) for path, query in asked], await self._nodes()]
        if not all(isinstance(answer, list) for answer in answers):
            raise ConfigError([Problem("", "the answer is no list of services")])
        services, tasks, networks, nodes = answers
        return await asyncio.to_thread(self._reading, services, tasks, networks, nodes)

    async def _nodes(self) -> Any:
        """The nodes, of which nothing but the address is needed, and that by tasks in the network of the host alone."""
        try:
            return await self._client.ask("/nodes")
        except AnswerError as error:
            if not self._client.lacks("nodes", error, "tasks in the network of their host have no address"):
                raise
            return []

    def _reading(
        self, services: list[Answer], tasks: list[Answer], networks: list[Answer], nodes: list[Answer]
    ) -> Reading:
        found = Round()
        names = {each["Id"]: str(each["Name"]) for each in networks}
        addresses = {each["ID"]: str((each.get("Status") or {}).get("Addr") or "") for each in nodes}
        running: dict[str, list[Answer]] = {}
        for task in tasks:
            if (task.get("Status") or {}).get("State") == "running":
                running.setdefault(str(task.get("ServiceID")), []).append(task)
        for service in sorted(services, key=lambda each: str(each["ID"])):
            self._add(service, running.get(str(service["ID"]), []), names, addresses, found)
        config, disagreements = self._combiner.combine(found.parts)
        again_s = self._settings.refresh_seconds.total_seconds() if self._settings.watch else None
        return Reading(config, (*found.problems, *disagreements), tuple(found.warnings), again_s)

    def _add(
        self,
        service: Answer,
        tasks: list[Answer],
        names: Mapping[str, str],
        addresses: Mapping[str, str],
        found: Round,
    ) -> None:
        spec = service.get("Spec") or {}
        name, key = str(spec.get("Name") or ""), str(service["ID"])
        labels = {str(key): str(value) for key, value in (spec.get("Labels") or {}).items()}
        place = f"service {name}"
        try:
            options = options_of(labels, "swarm", self._settings.exposed_by_default, self._settings.network)
        except ValueError as error:
            found.problems.append(f"{place}: {error}")
            return
        if not options.enabled or not self._matches(Subject(labels)):
            return
        mode = str((spec.get("EndpointSpec") or {}).get("Mode") or "vip")
        if options.by_swarm and mode == "dnsrr":
            found.warnings.append(f"{place}: lbswarm has no effect with the endpoint mode dnsrr")
        by_swarm = options.by_swarm and mode == "vip"
        if by_swarm:
            virtual = (service.get("Endpoint") or {}).get("VirtualIPs") or []
            places = [(name, _networks(virtual, "NetworkID", names))]
        else:
            places = [
                (_name_of(task, spec), list(_of_task(task, names, addresses)))
                for task in sorted(tasks, key=lambda each: str(each["ID"]))
            ]
        places = [(called, inner) for called, networks in places if (inner := _inner(networks, options.network))]
        if not places and not self._settings.allow_empty_services:
            return
        age = (str(service.get("UpdatedAt") or ""), key)
        is_own = any(self._about_own.has(_container_of(task)) for task in tasks)
        trusted = is_own or holds(service, trusted_socket(self._settings.endpoint))
        normal = service_name(name, labels)
        for number, (called, networks) in enumerate(places or [(name, [])]):
            thing = Labelled(
                place,
                normal,
                labels,
                rule_data(normal, labels, called),
                bool(places),
                partial(self._address, name, networks, options, found),
                trusted,
            )
            said = self._reader.read(thing)
            if number == 0:
                found.note(said, labels)
            if said.config is not None:
                found.parts.append(Part(f"{name}.{number:06d}", said.config, age, bool(places)))

    def _address(
        self, name: str, networks: list[Network], options: Options, found: Round, port: str
    ) -> tuple[str, str]:
        if not port:
            raise ValueError("port is missing: set the label traefik.http.services.NAME.loadbalancer.server.port")
        network, is_wanted = choose(networks, options.network)
        assert network is not None
        warning = f"service {name} is not in network {options.network!r}: {network.name} is used"
        if not is_wanted and warning not in found.warnings:
            found.warnings.append(warning)
        return network.address, port


def _name_of(task: Answer, spec: Answer) -> str:
    """The name of a task of a service: by its place, or by its identity in one that runs on every node."""
    is_global = (spec.get("Mode") or {}).get("Global") is not None
    return f"{spec.get('Name')}.{task['ID'] if is_global else task.get('Slot')}"


def _inner(networks: list[Network], wanted: str) -> list[Network]:
    """Without the network of published ports, unless it is the wanted one, or there is no other."""
    return [network for network in networks if network.name == wanted or network.name != INGRESS] or networks


def _container_of(task: Answer) -> str:
    return str(((task.get("Status") or {}).get("ContainerStatus") or {}).get("ContainerID") or "")


def _of_task(task: Answer, names: Mapping[str, str], addresses: Mapping[str, str]) -> Iterator[Network]:
    """The networks of a task; for one in the network of its host, the address of the node."""
    for attached in task.get("NetworksAttachments") or []:
        network = attached.get("Network") or {}
        name = str((network.get("Spec") or {}).get("Name") or names.get(str(network.get("ID")), ""))
        if name == "host" and (address := addresses.get(str(task.get("NodeID")), "")):
            yield Network(name, address)
            continue
        if str(network.get("ID")) not in names:
            continue
        for address in attached.get("Addresses") or []:
            host, _, prefix = str(address).partition("/")
            yield Network(name, host, int(prefix or 0))


def _networks(virtual: list[Answer], key: str, names: Mapping[str, str]) -> list[Network]:
    found = []
    for each in virtual:
        name, (host, _, prefix) = names.get(str(each.get(key)), ""), str(each.get("Addr") or "").partition("/")
        if name and host:
            found.append(Network(name, host, int(prefix or 0)))
    return found
