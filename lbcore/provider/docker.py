"""`providers.docker`: the containers of one Docker or Podman, by their labels."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lbcore.config.flat import in_order
from lbcore.config.scalars import to_bool
from lbcore.config.static.providers import DockerProvider
from lbcore.errors import ConfigError, Problem
from lbcore.provider.combine import Part
from lbcore.provider.constraints import Subject
from lbcore.provider.docker_api import REFUSED_S, DockerClient
from lbcore.provider.exposure import LABELS, ExposingStore, Grace, Round
from lbcore.provider.follow import Reading
from lbcore.provider.labels import Labelled, rule_data
from lbcore.provider.places import binding_of, choose, host_address, lowest_port, networks_of
from lbcore.provider.trust import holds, own_container, trusted_socket
from lbcore.provider.web import AnswerError
from lbcore.template.engine import normalize

AT_ONCE = 16  # details that are asked for at the same time
LIST_S = 10.0  # what events say is checked by a list after this time
# Events that may change what a container says or where it is. Others (a command in it, as of health checks) do not.
EVENTS = frozenset(
    ("start", "die", "stop", "kill", "destroy", "rename", "update", "pause", "unpause", "connect", "disconnect")
)
COMPOSE = ("com.docker.compose.service", "com.docker.compose.project")

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """The labels of a container that concern the provider itself."""

    enabled: bool
    network: str
    allows_stopped: bool = False
    by_swarm: bool = False


def options_of(labels: Mapping[str, str], kind: str, enabled: bool, network: str) -> Options:
    """The options in `traefik.enable`, `traefik.docker.*` and `traefik.swarm.*`. Raises ValueError."""
    # Of two spellings of one label, the last one counts, as for all others.
    lower = {key.lower(): labels[key] for key in in_order(labels) if key.lower().startswith("traefik.")}
    prefixes = ["docker"] if kind == "docker" else ["swarm", "docker"]
    used = {prefix for prefix in prefixes for key in lower if key.startswith(f"traefik.{prefix}.")}
    if len(used) > 1:
        raise ValueError("traefik.docker and traefik.swarm exclude each other")

    def of(key: str) -> str | None:
        return next((lower[name] for p in prefixes if (name := f"traefik.{p}.{key}") in lower), None)

    def switch(label: str, value: str | None, default: bool) -> bool:
        try:
            # An empty one is wrong, too: `traefik.enable=${PUBLIC}` without PUBLIC must not expose anything.
            return default if value is None else to_bool(value)
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from None

    return Options(
        switch("traefik.enable", lower.get("traefik.enable"), enabled),
        network if (named := of("network")) is None else named,
        switch("traefik.docker.allownonrunning", of("allownonrunning"), False),
        switch("traefik.swarm.lbswarm", of("lbswarm"), False),
    )


@dataclass(slots=True)
class _Known:
    """What was asked about a container, for as long as its line in the list stays as it is. None: it was in none."""

    line: Any
    details: Answer


class DockerStore(ExposingStore):
    """The containers of a Docker. Raises ConfigError for settings that cannot be used.

    While events come, only the containers that they name are asked for, however many others there are. A list shows now
    and then whether they have named all.
    """

    _settings: DockerProvider
    _client: DockerClient

    def __init__(self, settings: DockerProvider) -> None:
        super().__init__("docker", "docker", settings, DockerClient("docker", settings), LABELS)
        self._known: dict[str, _Known] = {}
        self._dirty: set[str] = set()  # containers of which an event has said something since the last reading
        self._grace = Grace(settings.replace_grace)
        self._results: dict[str, tuple[Answer, Round]] = {}  # of containers, for as long as their details are the same
        self._listens = False  # events come
        self._polls = False  # they are refused: lists are all that tells of changes
        self._silent: dict[str, str] = {}  # why containers cannot be asked about, by identity
        self._listed_at = float("-inf")
        self._moved = False  # networks have changed, and so what is near
        self._host: str | None = None
        self._about_own = own_container()
        self._trusted: tuple[str | None, str] = (None, "")  # the container of lbcore itself, and the daemon's socket

    async def changes(self) -> AsyncIterator[None]:
        """See Store."""
        was_told = False
        while True:
            try:
                async with self._client.events(("container", "network")) as events:
                    self._client.has("events")
                    self._listens, self._polls, self._listed_at = True, False, float("-inf")
                    yield
                    async for event in events:
                        action = str(event.get("Action") or event.get("status") or "").partition(":")[0]
                        if action in EVENTS or action.startswith("health_status"):
                            self._note(event)
                            yield
                return
            except AnswerError as error:
                if not self._client.lacks("events", error, f"containers are listed every {LIST_S:g} s"):
                    raise
            finally:
                self._listens = False
            if not was_told:
                self._polls = was_told = True
                yield
            await asyncio.sleep(REFUSED_S)

    def _note(self, event: Answer) -> None:
        """Note the containers that an event names."""
        actor = event.get("Actor") or {}
        is_network = event.get("Type") == "network"
        self._moved |= is_network
        named = [(actor.get("Attributes") or {}).get("container")]
        if not is_network:
            named += [event.get("id"), actor.get("ID")]
        self._dirty.update(str(each) for each in named if each)

    async def read(self) -> Reading:
        """See Store."""
        dirty, self._dirty = self._dirty, set()
        whole = not self._listens or time.monotonic() - self._listed_at >= LIST_S
        try:
            if whole:
                await self._look_at_all(dirty)
                self._listed_at = time.monotonic()
            else:
                await self._ask(dict.fromkeys(dirty))
        except BaseException:
            self._dirty |= dirty
            raise
        reading = await asyncio.to_thread(self._reading, {key: known.details for key, known in self._known.items()})
        if whole and not self._polls and not self._silent:
            return reading
        list_s = max(self._listed_at + LIST_S - time.monotonic(), 0.0)
        return replace(reading, again_s=list_s if reading.again_s is None else min(reading.again_s, list_s))

    async def _look_at_all(self, dirty: set[str]) -> None:
        """Ask for the details of all containers; those that a line in the list shows to be unchanged are known."""
        lines = await self._client.ask("/containers/json", {"all": "1"})
        if not isinstance(lines, list):
            raise ConfigError([Problem("", "the answer is no list of containers")])
        present = {str(line.get("Id")): _identity(line) for line in lines if isinstance(line, dict)}
        self._known = {key: each for key, each in self._known.items() if key in present}
        self._silent = {key: why for key, why in self._silent.items() if key in present}
        as_before = {key for key, each in self._known.items() if present[key] == each.line and key not in dirty}
        await self._ask({key: line for key, line in present.items() if key not in as_before})

    async def _ask(self, lines: Mapping[str, Any]) -> None:
        """Ask for the details of containers, each with its line in the list. One may be gone meanwhile.

        One about which the daemon fails (a layer of it is lost, it is being removed) hinders no others: what was known
        of it counts as long as it runs, and it is asked about again.
        """
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(key: str, line: Any) -> None:
            async with slots:
                try:
                    answer = await self._client.ask(f"/containers/{key}/json", missing=False)
                except AnswerError as error:
                    if error.status < 500 and error.status != 409:
                        raise
                    self._silent[key] = str(error)
                    if line is not None and line.get("State") not in (None, "running", "paused"):
                        self._known.pop(key, None)
                    elif key in self._known:
                        self._known[key] = _Known(None, self._known[key].details)
                    return
            self._silent.pop(key, None)
            if isinstance(answer, dict):
                self._known[key] = _Known(line, answer)
            else:
                self._known.pop(key, None)

        async with asyncio.TaskGroup() as group:
            for key, line in lines.items():
                group.create_task(ask(key, line))

    # In a thread, because there may be thousands

    def _reading(self, by_id: Mapping[str, Answer]) -> Reading:
        """What containers say, by their details."""
        found = Round()
        for key, why in sorted(self._silent.items()):
            found.problems.append(f"container {key[:12]} cannot be asked about: {why}")
        self._host = None
        trusted = self._about_own.among(by_id), trusted_socket(self._settings.endpoint)
        if self._moved or trusted != self._trusted:
            self._moved, self._trusted = False, trusted
            self._results = {}
        results: dict[str, tuple[Answer, Round]] = {}
        for key, each in sorted(by_id.items()):
            known = self._results.get(key)
            if known is None or known[0] is not each or _mode(each).startswith("container:"):
                known = (each, Round())
                self._add(each, by_id, known[1])
            results[key] = known
            found.add(known[1])
            if known[1].parts and _runs(each):
                self._grace.show(known[1].parts[0])
        self._results = results
        again_s = self._grace.add_gone(found.parts)
        config, disagreements = self._combiner.combine(found.parts)
        return Reading(config, (*found.problems, *disagreements), tuple(found.warnings), again_s)

    def _add(self, details: Answer, by_id: Mapping[str, Answer], found: Round) -> None:
        name = str(details.get("Name") or "").lstrip("/")
        labels = _labels(details)
        place = f"container {name}"
        try:
            options = options_of(labels, "docker", self._settings.exposed_by_default, self._settings.network)
        except ValueError as error:
            found.problems.append(f"{place}: {error}")
            return
        if not options.enabled or not self._matches(Subject(labels)):
            return
        state = details.get("State") or {}
        status, health = str(state.get("Status") or ""), str((state.get("Health") or {}).get("Status") or "")
        runs = _runs(details)
        if not runs and not options.allows_stopped:
            return
        is_up = status == "running" and health in ("", "none", "healthy")
        if not is_up and runs and not self._settings.allow_empty_services:
            self._grace.forget(str(details.get("Id")))
            return
        service = service_name(name, labels)
        thing = Labelled(
            place,
            service,
            labels,
            rule_data(service, labels, name),
            is_up,
            lambda port: self._address(details, options, port, by_id, found),
            str(details.get("Id")) == self._trusted[0] or holds(details, self._trusted[1]),
        )
        said = self._reader.read(thing)
        found.note(said, labels)
        if said.config is None:
            return
        key = str(details.get("Id"))
        age = (str(details.get("Created") or ""), key)
        found.parts.append(Part(f"{name} ({key[:12]})", said.config, age, is_up))

    def _address(
        self, details: Answer, options: Options, port: str, by_id: Mapping[str, Answer], found: Round, depth: int = 0
    ) -> tuple[str, str]:
        """Host and port at which a container is reached. Raises ValueError."""
        settings = details.get("NetworkSettings") or {}
        ports = settings.get("Ports") or {}
        port = port or lowest_port(ports)
        if self._settings.use_bind_port_ip and (bound := binding_of(ports, port)) is not None:
            return bound
        if not port:
            label = "traefik.http.services.NAME.loadbalancer.server.port"
            raise ValueError(f"port is missing: it exposes none, and no label {label} is set")
        mode = _mode(details)
        networks = networks_of(settings)
        if mode == "host" and not any(network.name == options.network for network in networks):
            return self._host_address(), port
        if mode.startswith("container:"):
            other = next((each for key, each in by_id.items() if _is_called(key, each, mode.partition(":")[2])), None)
            if other is None or depth > 2:
                raise ValueError(f"the container whose network it shares is not there: {mode.partition(':')[2][:12]}")
            # The networks are those of the other one, which may say which of them is meant.
            with contextlib.suppress(ValueError):
                if named := options_of(_labels(other), "docker", False, "").network:
                    options = replace(options, network=named)
            return self._address(other, options, port, by_id, found, depth + 1)
        network, is_wanted = choose(networks, options.network)
        if network is None:
            raise ValueError("it has no address in any network")
        if not is_wanted:
            name = str(details.get("Name") or "").lstrip("/")
            there = ", ".join(each.name for each in networks)
            found.warnings.append(
                f"container {name} is not in network {options.network!r}: {network.name} is used (it is in {there}; "
                "the name of a network of Compose begins with the project's)"
            )
        return network.address, port

    def _host_address(self) -> str:
        if self._host is None:
            self._host = host_address()
        return self._host


def service_name(name: str, labels: Mapping[str, str]) -> str:
    """The name of the service and router of a container: `service-project` of Compose, else its own."""
    service, project = (labels.get(key, "") for key in COMPOSE)
    return normalize(f"{service}_{project}" if service and project else name)


def _identity(line: Answer) -> Any:
    """What changes in a list when details may change: all but the time for which it runs, and sizes."""
    health = re.findall(r"\(([^)]*)\)", str(line.get("Status") or ""))
    return {**{key: value for key, value in line.items() if key not in ("Status", "SizeRw", "SizeRootFs")}, "": health}


def _runs(details: Answer) -> bool:
    state = details.get("State") or {}
    status = str(state.get("Status") or "")
    return status in ("running", "paused") or (not status and bool(state.get("Running")))


def _labels(details: Answer) -> dict[str, str]:
    return {str(key): str(value) for key, value in ((details.get("Config") or {}).get("Labels") or {}).items()}


def _mode(details: Answer) -> str:
    return str((details.get("HostConfig") or {}).get("NetworkMode") or "")


def _is_called(key: str, details: Answer, wanted: str) -> bool:
    return key.startswith(wanted) or str(details.get("Name") or "").lstrip("/") == wanted
