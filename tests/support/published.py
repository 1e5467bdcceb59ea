"""Whole set-ups as people publish them, in one text each, made to run here: ports, sockets and servers are others.

A text has parts that begin with a line `>>> NAME`:

    compose.yaml, stack.yml   services with labels; of the one with Traefik's image the command and the environment
    cluster.yaml              objects of Kubernetes
    traefik.yml, traefik.toml the static configuration, if it is not in that command
    ask                       requests: `http|https ENTRYPOINT HOST PATH [HEADER: VALUE]`
    map, env, .env            paths of the container, by lines `PATH=FOLDER`; environment; that of Compose
    more                      objects that lbcore has in addition, disabled or for what is, and that are not compared

All other parts are files.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support.ports import free_port

NO_FILES = ("ask", "env", ".env", "map", "more", "compose.yaml", "stack.yml", "cluster.yaml")
STATIC = ("data/traefik.yml", "traefik.yml", "traefik.yaml", "traefik.toml")
NO_AUTHORITY = "https://127.0.0.1:9/directory"  # nobody orders a certificate
OUTSIDE = r"(?:10|172|192)\.\d+\.\d+\.\d+"
Things = dict[str, Any]


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _texts(value: Any) -> dict[str, str]:
    """A list `KEY=VALUE`, or a mapping, as Compose reads it."""
    if isinstance(value, list):
        return {key: text for key, _, text in (str(each).partition("=") for each in value)}
    words = {True: "true", False: "false", None: ""}
    return {str(key): words[each] if each in (True, False, None) else str(each) for key, each in (value or {}).items()}


class SetUp:
    """One of them."""

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        self.parts: dict[str, str] = {}
        for part in re.split(r"^>>> ", file.read_text(), flags=re.M)[1:]:
            name, _, text = part.partition("\n")
            self.parts[name.strip()] = text

    def lines(self, part: str) -> list[str]:
        return [line for line in self.parts.get(part, "").splitlines() if line.strip()]

    @cached_property
    def compose(self) -> Things:
        """The file of Compose, with its variables in it."""
        variables = _pairs(self.parts.get(".env", ""))
        text = (self.parts.get("compose.yaml") or self.parts.get("stack.yml", "{}")).replace("$$", "\0")
        text = re.sub(r"\$\{(\w+)}|\$(\w+)", lambda found: variables.get(found[1] or found[2], ""), text)
        return yaml.safe_load(text.replace("\0", "$")) or {}

    @property
    def services(self) -> dict[str, Things]:
        found: dict[str, Things] = self.compose.get("services", {})
        return found

    @property
    def project(self) -> str:
        return str(self.compose.get("name", self.name))

    @property
    def proxy(self) -> Things:
        """The service that is the proxy."""
        is_it = re.compile(r"(.*/)?traefik(:|$)")
        return next((service for service in self.services.values() if is_it.match(service["image"])), {})

    def labels(self, service: Things) -> dict[str, str]:
        return _texts(service.get("labels") or (service.get("deploy") or {}).get("labels"))

    def container(self, service: str) -> str:
        return str(self.services[service].get("container_name", f"{self.project}-{service}-1"))

    def network(self, name: str) -> str:
        """The name of a network, as Docker has it."""
        said = (self.compose.get("networks") or {}).get(name) or {}
        return str(said.get("name") or (name if said.get("external") else f"{self.project}_{name}"))

    def networks(self, service: Things) -> list[str]:
        return [self.network(name) for name in service.get("networks") or ["default"]]


@dataclass
class Place:
    """Where a set-up is to run.

    http, https  ports of the servers that stand for all others.
    endpoints    by provider, in lower case.
    """

    folder: Path
    http: int
    https: int
    endpoints: Mapping[str, str]
    ports: dict[str, int] = field(default_factory=dict)  # by entry point

    @cached_property
    def api(self) -> int:
        return free_port()

    def address(self, point: str, said: str) -> str:
        """The address of an entry point, in place of the one that is said."""
        port = self.ports.setdefault(point, free_port())
        return f"127.0.0.1:{port}{'/udp' if said.endswith('/udp') else ''}"

    def servers(self, text: str, names: Sequence[str] = ()) -> str:
        """A text with the servers that are here in place of those elsewhere."""
        text = re.sub(rf"http://{OUTSIDE}(:\d+)?", f"http://127.0.0.1:{self.http}", text)
        text = re.sub(rf"https://{OUTSIDE}(:\d+)?", f"https://127.0.0.1:{self.https}", text)
        for name in ("auth", *names):
            text = re.sub(rf"http://{re.escape(name)}:\d+", f"http://127.0.0.1:{self.http}", text)
        return re.sub(rf"(address\s*[:=]\s*[\"']?){OUTSIDE}:\d+", rf"\g<1>127.0.0.1:{self.http}", text)


@dataclass
class Start:
    """How a set-up starts: by a file, or by flags and the environment. `cwd`: where."""

    file: Path | None
    flags: list[str]
    environ: dict[str, str]
    cwd: Path


def start_of(set_up: SetUp, place: Place) -> Start:
    """Write the files of a set-up."""
    proxy = set_up.proxy
    paths = {"": ""} | _pairs(set_up.parts.get("map", ""))
    for volume in proxy.get("volumes", []):
        here, there = volume.split(":")[:2]
        if here.startswith("./"):
            paths[there] = here.removeprefix("./")
    del paths[""]
    for path in paths.values():
        if not Path(path).suffix:
            (place.folder / path).mkdir(parents=True, exist_ok=True)

    def here(text: str) -> str:
        for path in sorted(paths, key=len, reverse=True):
            end = rf"(?<![\w/.]){re.escape(path.rstrip('/'))}(?=[/\"'\s,\]}}]|$)"
            text = re.sub(end, str(place.folder / paths[path]), text, flags=re.M)
        return text

    for name, text in set_up.parts.items():
        if name not in NO_FILES:
            file = place.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(place.servers(here(text)))
    environ = _pairs(set_up.parts.get("env", "")) | _texts(proxy.get("environment"))
    name = next((name for name in STATIC if name in set_up.parts), "")
    if name:
        file = place.folder / name
        text = file.read_text()
        file.write_text(_of_toml(text, place) if name.endswith("toml") else _of_yaml(text, place))
        return Start(file, [], environ, file.parent)
    command = proxy.get("command") or []
    flags = command if isinstance(command, list) else command.split() if "`" in command else shlex.split(command)
    if not flags:
        return Start(None, [], _of_environ(environ, place), place.folder)
    return Start(None, _of_flags([here(flag) for flag in flags], place), environ, place.folder)


def _of_yaml(text: str, place: Place) -> str:
    static = yaml.safe_load(text)
    for name, point in static["entryPoints"].items():
        point["address"] = place.address(name, point["address"])
    static["entryPoints"]["traefik"] = {"address": f"127.0.0.1:{place.api}"}
    static["api"] = {**(static.get("api") or {}), "insecure": True}
    for name, settings in (static.get("providers") or {}).items():
        if endpoint := place.endpoints.get(name.lower()):
            token = {"token": "of-a-test"} if name.startswith("kubernetes") else {}
            static["providers"][name] = {**(settings or {}), "endpoint": endpoint, **token}
    for resolver in (static.get("certificatesResolvers") or {}).values():
        if "acme" in resolver:
            resolver["acme"]["caServer"] = NO_AUTHORITY
    return yaml.safe_dump(static, sort_keys=False)


def _of_toml(text: str, place: Place) -> str:
    for name, point in tomllib.loads(text)["entryPoints"].items():
        said = point["address"]
        text = text.replace(f'address = "{said}"', f'address = "{place.address(name, said)}"', 1)
    text = text if "[api]\n" in text else f"{text}\n[api]\n"
    text = text.replace("[api]\n", "[api]\n  insecure = true\n")
    text = re.sub(r'endpoint = "unix:[^"]*"', f'endpoint = "{place.endpoints.get("docker", "")}"', text)
    text = re.sub(r"(\[certificatesResolvers\.\S+\.acme]\n)", rf'\1  caServer = "{NO_AUTHORITY}"\n', text)
    return f'{text}\n[entryPoints.traefik]\n  address = "127.0.0.1:{place.api}"\n'


def _of_flags(flags: Sequence[str], place: Place) -> list[str]:
    found, resolvers, providers = [], set(), set()
    for flag in flags:
        if said := re.match(r"--certificatesresolvers\.([\w-]+)\.acme", flag, re.I):
            resolvers.add(said[1])
        if said := re.match(r"--providers\.(docker|swarm)", flag, re.I):
            providers.add(said[1].lower())
        if said := re.match(r"--entrypoints\.([\w-]+)\.address=(.*)", flag, re.I):
            found.append(f"--entryPoints.{said[1]}.address={place.address(said[1].lower(), said[2])}")
        elif not re.match(r"--providers\.(docker|swarm)\.endpoint|--configfile|--api\.insecure", flag, re.I):
            found.append(flag)
    found += [f"--certificatesResolvers.{name}.acme.caServer={NO_AUTHORITY}" for name in sorted(resolvers)]
    found += [f"--providers.{name}.endpoint={place.endpoints[name]}" for name in sorted(providers)]
    if "traefik" in place.ports:  # it is said where the API is
        place.__dict__["api"] = place.ports["traefik"]
        return [*found, "--api.insecure=true"]
    return [*found, f"--entryPoints.traefik.address=127.0.0.1:{place.api}", "--api.insecure=true"]


def _of_environ(environ: Mapping[str, str], place: Place) -> dict[str, str]:
    found = dict(environ)
    for name, said in environ.items():
        if point := re.fullmatch(r"TRAEFIK_ENTRYPOINTS_(\w+)_ADDRESS", name):
            found[name] = place.address(point[1].lower(), said)
    found["TRAEFIK_ENTRYPOINTS_TRAEFIK_ADDRESS"] = f"127.0.0.1:{place.api}"
    found["TRAEFIK_PROVIDERS_DOCKER_ENDPOINT"] = place.endpoints["docker"]
    return found
