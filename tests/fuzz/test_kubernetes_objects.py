"""Objects of a cluster of any shape: each is out alone, and nothing fails. Kinds without a schema hold what people write."""

# ruff: noqa: E501
from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway, KubernetesIngress
from lbcore.provider.follow import Reading
from lbcore.provider.kubernetes.crd import reading_of
from lbcore.provider.kubernetes.draft import Memory
from lbcore.provider.kubernetes.gateway import outcome_of as outcome_of_gateways
from lbcore.provider.kubernetes.gateway_model import Point
from lbcore.provider.kubernetes.ingress import outcome_of as outcome_of_ingresses
from lbcore.provider.kubernetes.status import timeless
from lbcore.provider.kubernetes.store import Outcome
from tests.differential.test_kubernetes import ACROSS, GATEWAYS, INGRESSES, OBJECTS
from tests.fuzz.effort import FACTOR, SEED
from tests.integration.gateway_cases import ROUTES
from tests.support.kubernetes import Thing, service, slice_of, snapshot_of

ROUNDS = round(80 * FACTOR)
JUNK: list[Any] = [None, True, 0, -1, 1.5, 2**70, "", "x", "-", "{}", [], [None], [[]], ["x"], {}, {"x": None}, {"name": 1}, {"name": "x", "port": []}, "a" * 3000, "\x00", "é\ud7ff"]
POINTS = [Point(name, port, False, False) for name, port in (("web", 80), ("other", 81), ("tcp", 82))]


def documents(text: str) -> list[Thing]:
    return [thing for thing in yaml.safe_load_all(text) if thing]


BASE = [service("web"), slice_of("web", ["127.0.0.2"], 80), service("api", 8080), slice_of("api", ["127.0.0.3"], 80)]
BASE += [{"kind": "Secret", "metadata": {"name": "users"}, "data": {"f": "YTpi"}}, {"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.9"}]}}]
text = GATEWAYS
for point, number in (("WEB", 80), ("OTHER", 81), ("TCP", 82)):
    text = text.replace(f"port: {point}", f"port: {number}")
WORLDS = {
    "kubernetescrd": documents(OBJECTS) + documents(ACROSS),
    "kubernetes": documents(INGRESSES),
    "kubernetesgateway": documents(text) + [{**thing, "spec": {**thing["spec"], "parentRefs": [{"name": "gw"}]}} for thing in ROUTES],
}


def outcome(world: str, things: list[Thing], memory: Memory) -> Outcome:
    snapshot = snapshot_of(*things)
    if world == "kubernetescrd":
        settings = KubernetesCrd(allow_cross_namespace=True, allow_external_name_services=True)
        return Outcome(reading_of(snapshot, settings, memory))
    if world == "kubernetes":
        options = KubernetesIngress.model_validate({"ingressEndpoint": {"publishedService": "default/web"}})
        return outcome_of_ingresses(snapshot, options, memory)
    return outcome_of_gateways(snapshot, KubernetesGateway(experimental_channel=True), POINTS, memory)


def read(world: str, things: list[Thing]) -> Reading:
    found = outcome(world, things, Memory())
    for wanted in found.statuses:
        wanted.make({})
        wanted.make({"parents": "x", "conditions": [1], "listeners": [{}], "ancestors": [{"controllerName": 1}]})
    return found.reading


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places in an object but its kind and name."""
    if way not in ((), ("metadata",), ("metadata", "name"), ("metadata", "namespace"), ("kind",), ("apiVersion",)):
        yield way
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in children:
        yield from places(item, (*way, key))


def spoil(chance: random.Random, thing: Thing) -> Thing:
    found = copy.deepcopy(thing)
    for _ in range(chance.choice((1, 1, 2, 5))):
        ways = list(places(found))
        if not ways:
            break
        *before, last = chance.choice(ways)
        inner: Any = found
        for key in before:
            inner = inner[key]
        if chance.random() < 0.15 and isinstance(inner, dict) and before != ["metadata"]:
            inner[chance.choice(("", "x", "name", "port", "spec"))] = copy.deepcopy(chance.choice(JUNK))
        else:
            inner[last] = copy.deepcopy(chance.choice(JUNK))
    return found


@pytest.mark.parametrize("world", WORLDS)
def test_objects_of_any_shape(world: str) -> None:
    things = [*BASE, *WORLDS[world]]
    chance = random.Random(f"{world} {SEED}")
    sound = read(world, copy.deepcopy(things)).config
    for _ in range(ROUNDS):
        at = chance.randrange(len(things))
        spoilt = copy.deepcopy(things)
        spoilt[at] = spoil(chance, spoilt[at])
        try:
            config = read(world, spoilt).config
        except Exception as error:
            raise AssertionError(f"{spoilt[at]}: {type(error).__name__}: {error}") from error
        if spoilt[at]["kind"] in ("IngressRoute", "Ingress", "HTTPRoute", "Middleware"):
            about = things[at]["metadata"]
            own = f"{spoilt[at]['kind']} {about.get('namespace', 'default')}/{about['name']}"
            for name, router in sound.http.routers.items():
                if router.place != own and "default-router" not in name:
                    assert name in config.http.routers, (name, spoilt[at])


def changed(chance: random.Random, things: list[Thing], sound: list[Thing]) -> list[Thing]:
    """Other objects: some spoilt, mended, gone, new, older, or with names that read like those of others."""
    found = list(things)
    for _ in range(chance.choice((1, 1, 1, 2, 6))):
        at = chance.randrange(len(found))
        way = chance.randrange(7)
        if way == 0:
            found[at] = spoil(chance, found[at])
        elif way == 1 and len(found) > 3:
            del found[at]
        elif way == 2:
            found[at] = copy.deepcopy(found[at])
            found[at]["metadata"]["creationTimestamp"] = f"20{chance.randrange(10, 30)}-01-01T00:00:00Z"
        elif way == 3:  # `a-b/c` and `a/b-c` are one name
            twin = copy.deepcopy(found[at])
            name, namespace = str(twin["metadata"]["name"]), str(twin["metadata"].get("namespace") or "default")
            twin["metadata"] |= {"namespace": f"{namespace}-{name}", "name": "x"} if chance.random() < 0.5 else {"namespace": namespace, "name": f"{name}-x"}
            found.append(twin)
        elif way == 4:
            found[at] = copy.deepcopy(found[chance.randrange(len(found))])
        else:
            found.append(copy.deepcopy(chance.choice(sound)))
    return list({(thing["kind"], thing["metadata"].get("namespace") or "default", thing["metadata"]["name"]): thing for thing in found if isinstance(thing.get("metadata"), dict)}.values())


@pytest.mark.parametrize("world", WORLDS)
def test_a_change_leads_to_what_beginning_anew_leads_to(world: str) -> None:
    chance = random.Random(f"{world} {SEED} changes")
    sound = [*BASE, *WORLDS[world]]
    snapshot_of(*sound)  # which gives them namespaces
    for _ in range(max(1, round(3 * FACTOR))):
        things, memory = copy.deepcopy(sound), Memory()
        outcome(world, things, memory)
        for _ in range(40):
            things = changed(chance, things, sound)
            after, anew = outcome(world, things, memory), outcome(world, things, Memory())
            assert after.reading.config == anew.reading.config
            assert after.reading.problems == anew.reading.problems
            assert after.reading.warnings == anew.reading.warnings
            made = [{each.text: timeless(each.make({})) for each in found.statuses} for found in (after, anew)]
            assert made[0] == made[1]
