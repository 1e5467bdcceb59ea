"""What is compared of two instances in a published set-up: their objects, and answers to requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import urllib.request
from typing import Any

from tests.differential.test_generated_labels import view
from tests.support.published import Place

KINDS = (*(f"http/{kind}" for kind in ("routers", "services", "middlewares")), "tcp/routers", "tcp/services")
# Of answers and objects, what is documented to differ, or differs by the time.
NOT_COMPARED = ("connection", "date", "transfer-encoding", "content-length", "keep-alive", "accept-ranges", "etag")
GONE = ("sslRedirect", "sslHost", "sslForceHost", "sslProxyHeaders")  # options of `headers` without effect
OWN_PAGE = re.compile("<title>(Traefik Proxy|lbcore)</title>|Codename")


def objects(port: int) -> dict[str, Any]:
    """All objects of providers, by kind and name."""
    found = {}
    with contextlib.suppress(OSError):
        for kind in (*KINDS, "udp/routers", "udp/services"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{kind}?per_page=1000", timeout=30) as answer:
                found |= {f"{kind} {thing['name']}": thing for thing in json.load(answer)}
    return {name: thing for name, thing in found.items() if not name.endswith("@internal")}


def ask(line: str, place: Place) -> str:
    """The answer to a request, without what is not compared."""
    scheme, point, host, path, *more = line.split(" ", 4)
    headers = {"Host": host, "Accept-Encoding": "identity", "User-Agent": "test"}
    headers |= dict([more[0].split(": ", 1)] if more else [])
    connection = http.client.HTTPConnection("127.0.0.1", place.ports[point], timeout=30)
    with contextlib.closing(connection):
        connection.connect()
        if scheme == "https":
            context = ssl._create_unverified_context()
            try:
                connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
            except ssl.SSLError as error:
                return f"no handshake: {error.reason}"
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode("latin-1")
        told = sorted((key.lower(), value) for key, value in answer.getheaders() if key.lower() not in NOT_COMPARED)
    if OWN_PAGE.search(body):
        return f"{answer.status}, a page of its own"
    text = json.dumps([answer.status, told, json.loads(body) if body.startswith("{") else body])
    text = re.sub(r'nonce=\\"[^"]*"|opaque=\\"[^"]*"|algorithm=\W*MD5\W*|"last-modified", "[^"]*"', "", text)
    for name, port in place.ports.items():
        text = text.replace(str(port), name)
    return text


def shown(thing: dict[str, Any]) -> dict[str, Any]:
    found = view(thing)
    found["entryPoints"] = sorted(found.get("entryPoints", []))
    for key in GONE:
        (found.get("headers") or {}).pop(key, None)
    if found["status"] == "disabled":
        found.pop("priority", None)  # Traefik tells none of routers without entry points
    if "mirroring" in found:  # of defaults, Traefik tells those of some providers
        found["mirroring"] = {"maxBodySize": -1, "mirrorBody": True, **found["mirroring"]}
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "SERVER", json.dumps(found)))


def split(theirs: dict[str, Any], ours: dict[str, Any], points: list[str]) -> set[str]:
    """Routers of which Traefik makes one for each entry point with settings of its own; lbcore has one for all."""
    found = set()
    for name in theirs.keys() - ours.keys():
        kind, _, router = name.partition(" ")
        for point in points:
            whole = f"{kind} {router.removeprefix(f'{point}-')}"
            if kind == "http/routers" and router.startswith(f"{point}-") and whole in ours:
                found |= {name, whole}
    return found
