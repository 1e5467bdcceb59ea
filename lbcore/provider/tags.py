"""Services by their tags, as in Consul and Nomad: `traefik.http.routers.web.rule=Host(...)`. No I/O.

An instance of a service is what a container is for Docker; its tags are labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lbcore.config.flat import in_order
from lbcore.config.scalars import to_bool
from lbcore.provider.combine import Part
from lbcore.provider.constraints import Subject
from lbcore.provider.exposure import TAGS, Client, ExposingStore, Grace, Round
from lbcore.provider.follow import Reading
from lbcore.provider.labels import ROOT, Labelled, rule_data
from lbcore.template.engine import normalize

_PRIME, _BASIS, _MASK = 0x100000001B3, 0xCBF29CE484222325, (1 << 64) - 1  # of FNV-1 with 64 bits


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of a service.

    key    tells it from all others.
    age    a greater one is newer.
    is_up  whether it may get requests.
    """

    key: str
    service: str
    tags: tuple[str, ...]
    host: str
    port: int
    age: int
    is_up: bool


class TagStore(ExposingStore):
    """The base of stores of services with tags.

    kind  of the provider's own tags: `traefik.consulcatalog.canary`.
    Raises ConfigError for settings that cannot be used.
    """

    def __init__(self, provider: str, name: str, kind: str, settings: Any, client: Client) -> None:
        super().__init__(provider, name, settings, client, TAGS)
        self._kind = kind
        self._grace = Grace(settings.replace_grace)
        self._results: dict[str, tuple[Instance, Round]] = {}  # of instances, for as long as they stay the same

    def labels(self, tags: Iterable[str]) -> dict[str, str]:
        """Tags as labels."""
        found: dict[str, str] = {}
        prefix = f"{self._settings.prefix}."
        for tag in tags:
            key, equals, value = tag.partition("=")
            if equals and key.strip().startswith(prefix):
                found[f"{ROOT}.{key.strip().removeprefix(prefix)}"] = value.strip()
        return found

    def names(self, services: Iterable[tuple[str, Iterable[Any]]]) -> tuple[list[str], list[str]]:
        """Services of which an instance may be exposed, by the tags of all instances; and what is wrong with others."""
        names: set[str] = set()
        problems = []
        for name, tags in services:
            try:
                # Constraints are for each instance alone: a tag of another one must not hide it.
                said = [self.labels([str(tag)]) for tag in tags]
                if self._settings.exposed_by_default or any(self.enabled(labels) for labels in said):
                    names.add(name)
            except ValueError as error:
                problems.append(f"service {name}: {error}")
        return sorted(names), problems

    def exposes(self, tags: Sequence[str]) -> bool:
        """Whether these are the tags of what is exposed. Raises ValueError."""
        labels = self.labels(tags)
        if not self.enabled(labels) or (self._kind == "consulcatalog" and self.switch(labels, "connect")):
            return False
        return self._matches(Subject(labels, tags))

    def enabled(self, labels: dict[str, str]) -> bool:
        """What `traefik.enable` says."""
        return _switch(labels, f"{ROOT}.enable", self._settings.exposed_by_default)

    def switch(self, labels: dict[str, str], key: str) -> bool:
        """What a tag of the provider's own says."""
        return _switch(labels, f"{ROOT}.{self._kind}.{key}", False)

    def reading(self, instances: Iterable[Instance], again_s: float | None) -> Reading:
        """What all instances say."""
        found = Round()
        results: dict[str, tuple[Instance, Round]] = {}
        for instance in instances:
            known = self._results.get(instance.key)
            if known is None or known[0] != instance:
                known = (instance, self._read(instance))
            results[instance.key] = known
            found.add(known[1])
            for part in known[1].parts:
                self._grace.show(part)
        self._results = results
        gone_s = self._grace.add_gone(found.parts)
        config, disagreements = self._combiner.combine(found.parts)
        waits = [wait_s for wait_s in (again_s, gone_s) if wait_s is not None]
        # Instances of a service say the same, and are wrong in the same way.
        problems, warnings = dict.fromkeys((*found.problems, *disagreements)), dict.fromkeys(found.warnings)
        return Reading(config, tuple(problems), tuple(warnings), min(waits, default=None))

    def _read(self, instance: Instance) -> Round:
        found = Round()
        labels = self.labels(instance.tags)
        place = f"service {instance.service}"
        try:
            if not self.exposes(instance.tags):
                return found
            name = instance.service
            if self.switch(labels, "canary"):
                # A canary is a service of its own, with the name that Traefik gives it.
                name += f"-{fnv1(''.join(sorted(instance.tags)))}"
        except ValueError as error:
            found.problems.append(f"{place}: {error}")
            return found
        name = normalize(name)

        def address(port: str) -> tuple[str, str]:
            if not port and not instance.port:
                raise ValueError(f"port is missing: its instance {instance.key} has none, and no tag sets it")
            return instance.host, port or str(instance.port)

        data = rule_data(instance.service, labels)  # as it is registered: without the mark of a canary
        said = self._reader.read(Labelled(place, name, labels, data, instance.is_up, address))
        found.note(said, labels)
        if said.config is not None:
            age = (instance.age, instance.key)
            found.parts.append(Part(f"{instance.service} ({instance.key})", said.config, age, instance.is_up))
        return found


def _switch(labels: dict[str, str], label: str, default: bool) -> bool:
    # Of two spellings of one tag, the last one counts, as for all others.
    value = next((labels[key] for key in reversed(in_order(labels)) if key.lower() == label), None)
    try:
        return default if value is None else to_bool(value)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


def fnv1(text: str) -> int:
    """FNV-1 with 64 bits."""
    found = _BASIS
    for byte in text.encode():
        found = (found * _PRIME & _MASK) ^ byte
    return found
