"""What the API of a Docker Engine tells of a Swarm, without one: real Traefik and lbcore both read it.

A real Swarm starts a container for each task, and gives each the state that it has; here services, tasks and networks
of any shape are there at once. Nothing is sent to their addresses.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Collection, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Thing = dict[str, Any]
VERSION = "1.44"  # of the API
AT = "2026-01-01T00:00:00Z"
NODE: Thing = {"ID": "node", "Spec": {}, "Status": {"State": "ready", "Addr": "127.0.0.1"}}


def identity(text: str) -> str:
    """An identity as Swarm has them, always the same for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:25]


def network(name: str) -> Thing:
    """A network of the Swarm."""
    return {"Id": identity(name), "Name": name, "Scope": "swarm", "Driver": "overlay", "Ingress": name == "ingress"}


def service(
    name: str, labels: Mapping[str, str], mode: str, virtual: Mapping[str, str], is_global: bool = False
) -> Thing:
    """A service: `mode` of its end point ("": none is told), and its virtual addresses by network."""
    kind: Thing = {"Global": {}} if is_global else {"Replicated": {"Replicas": 1}}
    spec: Thing = {"Name": name, "Labels": dict(labels), "TaskTemplate": {}, "Mode": kind}
    found: Thing = {"ID": identity(f"service {name}"), "CreatedAt": AT, "UpdatedAt": AT, "Spec": spec, "Endpoint": {}}
    if mode:
        spec["EndpointSpec"] = {"Mode": mode}
        addresses = [{"NetworkID": identity(each), "Addr": address} for each, address in virtual.items()]
        found["Endpoint"] = {"Spec": {"Mode": mode}, "VirtualIPs": addresses}
    return found


def task(of: Thing, slot: int, networks: Mapping[str, Sequence[str]], state: str = "running") -> Thing:
    """A task of a service: its addresses by network, and its state."""
    key = identity(f"{of['ID']}.{slot}")
    attached = [
        {"Network": {"ID": identity(name), "Spec": {"Name": name}}, "Addresses": list(addresses)}
        for name, addresses in networks.items()
    ]
    status = {"State": state, "Timestamp": AT, "ContainerStatus": {"ContainerID": identity(key)}}
    found = {"ID": key, "ServiceID": of["ID"], "Slot": slot, "NodeID": NODE["ID"], "DesiredState": "running"}
    return {**found, "CreatedAt": AT, "UpdatedAt": AT, "Spec": {}, "Status": status, "NetworksAttachments": attached}


@contextlib.contextmanager
def swarm_api(
    services: Sequence[Thing], tasks: Sequence[Thing], networks: Sequence[str], refuses: Collection[str] = ()
) -> Iterator[str]:
    """The API for a block: where it answers. `refuses`: paths that a proxy in front of it lets nobody ask."""
    lists = {
        "/services": list(services),
        "/tasks": list(tasks),
        "/networks": [network(name) for name in networks],
        "/nodes": [NODE],
    }
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def say(self, thing: Any, status: int = 200) -> None:
            body = json.dumps(thing).encode()
            self.send_response(404 if thing is None else status)
            self.send_header("Api-Version", VERSION)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.say({})

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            path = re.sub(r"^/v[\d.]+", "", url.path)
            if any(path == each or path.startswith(f"{each}/") for each in refuses):
                self.say({"message": "forbidden by administrative rules"}, 403)
            elif path == "/events":  # there are none
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                ended.wait()
                self.close_connection = True
            elif path in lists:
                filters = json.loads(dict(urllib.parse.parse_qsl(url.query)).get("filters", "{}"))
                wanted = filters.get("service")
                found = [each for each in lists[path] if not wanted or each.get("ServiceID") in wanted]
                self.say(found)
            elif path.startswith("/nodes/"):
                self.say(NODE if path == f"/nodes/{NODE['ID']}" else None)
            else:
                version = {"Version": "25.0.0", "ApiVersion": VERSION, "MinAPIVersion": "1.24"}
                self.say(version if path == "/version" else {})

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
