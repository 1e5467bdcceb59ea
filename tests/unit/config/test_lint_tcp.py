"""What is strange about objects of TCP is told, as of those of HTTP."""

from __future__ import annotations

from typing import Any

from lbcore.config.lint import lint
from lbcore.config.load import dynamic_of, static_of
from lbcore.provider.merge import merge

STATIC = static_of({"entryPoints": {"web": {"address": ":0"}, "db": {"address": ":0"}}})
ALL = "HostSNI(`*`)"
SERVICE = {"loadBalancer": {"servers": [{"address": "127.0.0.1:53"}]}}


def test_routers_with_one_rule_and_transports_that_nobody_uses_are_told() -> None:
    routers = {
        "a": {"rule": ALL, "service": "s", "entryPoints": ["db"]},
        "b": {"rule": "HostSNI( `*` )", "service": "s", "entryPoints": ["db", "web"]},
        "c": {"rule": ALL, "service": "s", "entryPoints": ["db"], "tls": {}},
        "d": {"rule": ALL, "service": "s", "entryPoints": ["db"], "priority": 7},
        "lost": {"rule": ALL, "service": "nobody", "entryPoints": ["db"]},
    }
    used = {"loadBalancer": {**SERVICE["loadBalancer"], "serversTransport": "used"}}
    transports = {"used": {"dialTimeout": "3s"}, "idle": {"dialTimeout": "3s"}}
    tcp = {"routers": routers, "services": {"s": used}, "serversTransports": transports}
    # `b` has another entry point, `c` takes TLS, and `lost` cannot run.
    assert lint(merge({"file": dynamic_of({"tcp": tcp})}), STATIC) == [
        "dynamic.yml:1: tcp router a has the rule of d (dynamic.yml:1), which is asked first",
        "dynamic.yml:1: tcp servers transport idle is not used by any router",
    ]


def test_servers_that_are_left_out_are_told() -> None:
    def services(**servers: list[str]) -> dict[str, Any]:
        return {name: {"loadBalancer": {"servers": [{key: each} for each in given]}} for name, given in servers.items()}

    key = "address"
    layers: dict[str, Any] = {layer: {"services": services(s=["a:1", "b", ":2"])} for layer in ("tcp", "udp")}
    key = "url"
    layers["http"] = {"services": services(s=["http://a", "ftp://b", "x"], t=["ftp://b"])}
    assert [text for text in lint(merge({"file": dynamic_of(layers)}), STATIC) if "server gets" in text] == [
        "dynamic.yml:1: service s: a server's url 'ftp://b' is no http://host:port: the server gets no request",
        "dynamic.yml:1: service s: a server's url 'x' names no host: the server gets no request",
        "dynamic.yml:1: tcp service s: a server's address 'b' is no host:port: the server gets nothing",
        "dynamic.yml:1: udp service s: a server's address 'b' is no host:port: the server gets nothing",
    ]
