"""Every key of the static configuration in YAML, TOML, flags and the environment: the same configuration arrives.

The keys come from the models. A key that is new, and that no value of VALUES fits, fails here by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin

import pytest

from lbcore.config.decode import is_model, keys_of, plain
from lbcore.config.load import parse_static
from lbcore.config.model import Model
from lbcore.config.sources import from_environment, from_flags
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError

Path = tuple[str | int, ...]
Leaf = tuple[Path, Any]

BASE: dict[str, Any] = {"entryPoints": {"web": {"address": ":80"}}}
# What a section needs beside the key that is tried.
BESIDE: dict[str, dict[str, Any]] = {
    "entryPoints.web": {"address": ":80"},
    "entryPoints.web.http.redirections.entryPoint": {"to": "web"},
    "entryPoints.web.proxyProtocol": {"insecure": "true"},
    "providers.file": {"filename": "a.yml"},
    "providers.http": {"endpoint": "http://a"},
    "providers.redis.sentinel": {"masterName": "m"},
    "providers.nomad": {"watch": "true"},
    "providers.kubernetesGateway.statusAddress.service": {"name": "a", "namespace": "b"},
    "explain": {"secret": "0123456789abcdef"},
}
# Values that are tried, by kind; the first that is accepted and has an effect counts.
VALUES: dict[Any, list[Any]] = {
    bool: [True, False],
    int: [7, 443, 0, 512, 200, 20000, 1 << 20],
    float: [0.5, 2.5],
    timedelta: ["7s", "90s"],
    str: [
        "value", "a.yml", "127.0.0.1:81", "http://a", "/path", "10.0.0.0/8", "file", "200", "0123456789abcdef", "v2",
        "EC256", "X-Name", "spiffe://domain/one", "unix:///run/one.sock",
    ],
}  # fmt: skip


def leaves(model: type[Model], path: Path = ()) -> Iterator[Leaf]:
    """The keys that hold no others, with their annotations."""
    for key, annotation in keys_of(model).items():
        yield from below((*path, key), plain(annotation))


def below(path: Path, annotation: Any) -> Iterator[Leaf]:
    origin = get_origin(annotation)
    if is_model(annotation):
        inner = list(leaves(annotation, path))
        yield from inner or [(path, annotation)]
    elif origin is dict and is_model(plain(get_args(annotation)[1])):
        name = "web" if path == ("entryPoints",) else "one"
        yield from below((*path, name), plain(get_args(annotation)[1]))
    elif origin is list and is_model(plain(get_args(annotation)[0])):
        yield from below((*path, 0), plain(get_args(annotation)[0]))
    else:
        yield path, annotation


def candidates(annotation: Any) -> list[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if is_model(annotation):
        return [{}]
    if origin is Literal:
        return list(parts)
    if origin is dict:
        return [{"one": value} for value in candidates(plain(parts[1]))]
    if origin in (list, tuple):
        return [[value] for value in candidates(plain(parts[0]))]
    if len(parts) > 1:
        return [value for part in parts if part is not type(None) for value in candidates(plain(part))]
    return VALUES[annotation]


def nested(path: Path, value: Any) -> dict[str, Any]:
    """A configuration with one key, and what it needs."""
    config: dict[str, Any] = json.loads(json.dumps(BASE))
    here: Any = config
    for at, key in enumerate(path):
        where = ".".join(map(str, path[:at]))
        if where in BESIDE and isinstance(here, dict):
            for name, item in BESIDE[where].items():
                here.setdefault(name, item)
        last = at == len(path) - 1
        following: Any = value if last else [] if isinstance(path[at + 1], int) else {}
        if isinstance(here, list):
            here.append(following)
            here = here[0]
        else:
            here[key] = following if last else here.get(key, following)
            here = here[key]
    return config


def settings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """A configuration as flat keys."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from settings(item, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from settings(item, (*path, f"[{index}]"))
    elif isinstance(value, list):
        yield path, ",".join(map(text, value))
    else:
        yield path, text(value)


def text(value: Any) -> str:
    return "true" if value == {} else str(value).lower() if isinstance(value, bool) else str(value)


def flags(config: dict[str, Any]) -> list[str]:
    return [f"--{'.'.join(path).replace('.[', '[')}={value}" for path, value in settings(config)]


def in_small_letters(given: list[str]) -> list[str]:
    return [key.lower() + equals + value for key, equals, value in (flag.partition("=") for flag in given)]


def environment(config: dict[str, Any]) -> dict[str, str]:
    found = {}
    for path, value in settings(config):
        found["TRAEFIK_" + "_".join(part.strip("[]") for part in path).upper()] = value
    return found


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def as_toml(config: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in config.items())


def accepted(path: Path, annotation: Any) -> dict[str, Any] | None:
    """The first configuration with this key that is accepted and has an effect."""
    for value in candidates(annotation):
        config = nested(path, value)
        without = nested(path[:-1], {}) if len(path) > 1 and not isinstance(path[-1], int) else BASE
        try:
            found = parse_static(json.dumps(config))[0]
        except ConfigError:
            continue
        try:
            if found == parse_static(json.dumps(without))[0]:
                continue
        except ConfigError:
            pass
        return config
    return None


KEYS = {path: annotation for path, annotation in leaves(StaticConfig) if path[0] not in StaticConfig.extensions}
SECTIONS = sorted({str(path[0]) for path in KEYS})
EXTENSIONS = {  # that Traefik does not have
    "entryPoints.web.transport.respondingTimeouts.headerTimeout",
    "entryPoints.web.transport.respondingTimeouts.minBodyRate",
    "entryPoints.web.http.maxHeaderLines",
    "entryPoints.web.udp.maxSessions",
    "providers.keepRunning",
    *(
        f"providers.kubernetesGateway.{key}"
        for key in ("allowExternalNameServices", "disableClusterScopeResources", "controllerName")
    ),
    "certificatesResolvers.one.acme.retryDelay",
    "serversTransport.forwardingTimeouts.readIdleTimeout",
    "serversTransport.forwardingTimeouts.pingTimeout",
    *(f"{part}.spiffe.{key}" for part in ("serversTransport", "tcpServersTransport.tls") for key in ("trustBundles",)),
    "api.token",
    "explain.header",
    "explain.secret",
    "bodyMemoryBytes",
}
WITHOUT_EFFECT = {  # that are accepted, and whose value is not kept
    "api.debug",
    "experimental.plugins.one.settings",
    "experimental.localPlugins.one.settings",
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_form_says_the_same(section: str) -> None:
    wrong: dict[str, Any] = {}
    for path, annotation in KEYS.items():
        if path[0] != section:
            continue
        key = ".".join(map(str, path))
        if (config := accepted(path, annotation)) is None:
            if key not in WITHOUT_EFFECT:
                wrong[key] = "no value of VALUES is accepted and has an effect"
            continue
        yaml, notes = parse_static(json.dumps(config))
        forms = {
            "toml": lambda c=config: parse_static(as_toml(c), "static.toml"),
            "flags": lambda c=config: from_flags(flags(c)),
            "flags in small letters": lambda c=config: from_flags(in_small_letters(flags(c))),
            "environment": lambda c=config: from_environment(environment(c)),
        }
        for form, read in forms.items():
            try:
                found, found_notes = read()
            except ConfigError as error:
                wrong[f"{key} {form}"] = str(error)
                continue
            if found.model_dump() != yaml.model_dump() and without_places(found) != without_places(yaml):
                wrong[f"{key} {form}"] = "another configuration"
            if [note.problem for note in found_notes] != [note.problem for note in notes]:
                wrong[f"{key} {form}"] = ([str(note) for note in found_notes], [str(note) for note in notes])
    assert wrong == {}


def without_places(config: StaticConfig) -> Any:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if key != "place"}
        return [strip(item) for item in value] if isinstance(value, list) else value

    return strip(config.model_dump())
