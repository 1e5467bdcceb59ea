"""The kinds of Kubernetes itself that every provider reads: services, their endpoints, secrets, ... No I/O."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lbcore.provider.kubernetes import tasks
from lbcore.provider.kubernetes.client import Thing
from lbcore.provider.kubernetes.shape import mapping, mappings
from lbcore.provider.kubernetes.tasks import Seen
from lbcore.provider.kubernetes.watch import Kind, about

PEM = "-----BEGIN"
AUTHORITIES = ("tls.ca", "ca.crt")
PAIR = ("tls.crt", "tls.key")


def _of_secret(thing: Thing) -> Thing:
    return {"data": thing.get("data"), "type": thing.get("type")}


def _of_map(thing: Thing) -> Thing:
    data = thing.get("data")
    return {"data": {key: data[key] for key in AUTHORITIES if key in data} if isinstance(data, dict) else None}


def _of_slice(thing: Thing) -> Thing:
    return {key: thing.get(key) for key in ("endpoints", "ports", "addressType")}


def _of_node(thing: Thing) -> Thing:
    return {"status": {"addresses": mapping(thing.get("status")).get("addresses")}}


SERVICES = Kind("Service", "services")
SLICES = Kind(tasks.SLICES, "endpointslices", "discovery.k8s.io", lingers=False, trim=_of_slice)
SECRETS = Kind("Secret", "secrets", selector="owner!=helm", trim=_of_secret)
MAPS = Kind("ConfigMap", "configmaps", trim=_of_map)
LEASES = Kind("Lease", "leases", "coordination.k8s.io")
NODES = Kind("Node", "nodes", scoped=False, lingers=False, trim=_of_node)


class Lacking(ValueError):
    """What an object refers to is not there (yet), or cannot be used."""


class Core:
    """Services, endpoints, secrets and nodes of one snapshot."""

    def __init__(self, snapshot: Seen) -> None:
        self._snapshot = snapshot

    def _find(self, kind: Kind, namespace: str, name: str) -> Thing:
        if not self._snapshot.reads(namespace):
            raise Lacking(f"namespace {namespace} is not among those that are read")
        thing = self._snapshot.find(kind.name, namespace, name)
        if thing is None:
            raise Lacking(f"{kind.name} {namespace}/{name} does not exist")
        return thing

    def service(self, namespace: str, name: str) -> Thing:
        """Raises Lacking, as all of these."""
        return self._find(SERVICES, namespace, name)

    def slices(self, namespace: str, name: str) -> list[Thing]:
        """The endpoints of a service."""
        return self._snapshot.slices(namespace, name)

    def node_addresses(self) -> Iterator[str]:
        """The addresses of all nodes inside of the cluster, in the order of their names."""
        nodes = sorted(self._snapshot.all(NODES.name), key=lambda node: str(about(node).get("name")))
        for node in nodes:
            for address in mappings(mapping(node.get("status")).get("addresses")):
                if address.get("type") == "InternalIP" and address.get("address"):
                    yield str(address["address"])

    def secret(self, namespace: str, name: str, only: Collection[str] = ()) -> dict[str, str]:
        """The contents of a secret. `only`: these keys of it; what stands beside them may be no text, as a keystore."""
        if not name:
            raise Lacking("the name of a secret is missing")
        return _texts(self._find(SECRETS, namespace, name), f"Secret {namespace}/{name}", only)

    def secret_type(self, namespace: str, name: str) -> str:
        return str(self._find(SECRETS, namespace, name).get("type") or "")

    def pair(self, namespace: str, name: str) -> tuple[str, str]:
        """The certificate and the key in a secret, as PEM."""
        data = self.secret(namespace, name, PAIR)
        for key in PAIR:
            _check(data.get(key, ""), f"Secret {namespace}/{name}: {key}")
        return data["tls.crt"], data["tls.key"]

    def authority(self, namespace: str, name: str, lenient: bool = True) -> str:
        """The authorities in a secret, as PEM. `lenient`: where it has one key, that counts, whatever its name."""
        data = self.secret(namespace, name, AUTHORITIES)
        found = next((data[key] for key in AUTHORITIES if key in data), None)
        if found is None and lenient and len(mapping(self._find(SECRETS, namespace, name).get("data"))) == 1:
            found = next(iter(self.secret(namespace, name).values()))
        if found is None:
            raise Lacking(f"Secret {namespace}/{name} has neither tls.ca nor ca.crt")
        return _check(found, f"Secret {namespace}/{name}")

    def map_authority(self, namespace: str, name: str) -> str:
        """The authorities in a ConfigMap, as PEM."""
        data = mapping(self._find(MAPS, namespace, name).get("data"))
        found = next((str(data[key]) for key in AUTHORITIES if key in data), None)
        if found is None:
            raise Lacking(f"ConfigMap {namespace}/{name} has neither tls.ca nor ca.crt")
        return _check(found, f"ConfigMap {namespace}/{name}")


def _texts(secret: Thing, named: str, only: Collection[str]) -> dict[str, str]:
    found = {}
    data = secret.get("data")
    for key, value in (data if isinstance(data, Mapping) else {}).items():
        if only and key not in only:
            continue
        try:
            found[str(key)] = base64.b64decode(str(value), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Lacking(f"{named}: {key} is no text in base64") from None
    return found


def _check(text: str, named: str) -> str:
    """Only PEM may stand where a file can be named: objects of a cluster do not get at files of this machine."""
    if PEM not in text:
        raise Lacking(f"{named} is {'no PEM' if text else 'missing or empty'}")
    return text


def port_of(service: Thing, wanted: str, protocol: str) -> Mapping[str, Any]:
    """The port of a service by number or name; of several with one number, that of the protocol. Raises Lacking."""
    spec = mapping(service.get("spec"))
    named = f"Service {about(service).get('namespace')}/{about(service).get('name')}"
    if not wanted or wanted == "0":
        raise Lacking(f"{named}: which port is meant is not said")
    ports = [port for port in mappings(spec.get("ports")) if isinstance(port, dict)]
    found = [port for port in ports if wanted in (str(port.get("port")), port.get("name"))]
    found.sort(key=lambda port: (port.get("protocol") or "TCP") != protocol)
    if found:
        return found[0]
    if spec.get("type") == "ExternalName" and wanted.isdigit():
        return {"port": int(wanted)}
    known = ", ".join(str(port.get("port")) + (f" {port['name']}" if port.get("name") else "") for port in ports)
    raise Lacking(f"{named} has no port {wanted}" + (f": it has {known}" if known else ""))
