"""Mistakes in a file that is loaded for the first time: nobody gets by other routers to what was to be guarded."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbcore.config.load import parse_dynamic
from lbcore.errors import ConfigError
from tests.support.certificates import Files, certificate
from tests.support.tls import trusting
from tests.support.wire import TIMEOUT_S, Edge, Server, edge, serving
from tests.wire.test_tls import over_tls, status

POINTS = {name: {"address": "127.0.0.1:0"} for name in ("web", "tcp", "admin")}
POINTS["web"]["asDefault"] = True  # type: ignore[assignment]
FILE = """
http:
  routers:
    all: {rule: "PathPrefix(`/`)", priority: 1, service: app, entryPoints: [web, admin]}
    guarded: {rule: "Path(`/guarded`)", entryPoints: [web], priority: 99, middlewares: [chain], service: app}
    inside: {rule: "Path(`/inside`)", service: above}
    parent: {rule: "PathPrefix(`/tree`)"}
    child: {rule: "Path(`/tree/child`)", parentRefs: [parent], middlewares: [deny], service: app}
    rest: {rule: "PathPrefix(`/tree`)", priority: 1, parentRefs: [parent], service: app}
    over-tls: {rule: "PathPrefix(`/`)", priority: 1, tls: {}, service: app}
    mutual: {rule: "Host(`b.test`) && Path(`/x`)", tls: {options: mutual}, service: app}
  services:
    app: {loadBalancer: {servers: [{url: "URL"}]}}
    guarded: {loadBalancer: {servers: [{url: "URL"}]}, middlewares: [deny]}
    above: {weighted: {services: [{name: guarded, weight: 1}]}}
  middlewares:
    chain: {chain: {middlewares: [pass, deny]}}
    pass: {headers: {customRequestHeaders: {X-Passed: "1"}}}
    deny: {ipAllowList: {sourceRange: [10.9.0.0/16], rejectStatusCode: 404}}
tcp:
  routers:
    all: {rule: "HostSNI(`*`)", entryPoints: [tcp], priority: 1, service: app}
    local: {rule: "ClientIP(`127.0.0.1`)", entryPoints: [tcp], middlewares: [deny], service: app}
    tls: {rule: "HostSNI(`*`)", entryPoints: [tcp], priority: 1, tls: {}, service: app}
    other: {rule: "HostSNI(`b.test`)", entryPoints: [tcp], tls: {options: mutual}, service: app}
  services:
    app: {loadBalancer: {servers: [{address: "ADDRESS"}]}}
  middlewares:
    deny: {ipAllowList: {sourceRange: [10.9.0.0/16]}}
tls:
  certificates: [{certFile: "CERT", keyFile: "KEY"}]
  options:
    mutual: {clientAuth: {caFiles: ["CERT"], clientAuthType: RequireAndVerifyClientCert}}
"""
GUARDED = '"Path(`/guarded`)", entryPoints: [web], priority: 99, middlewares: [chain], service: app'
MISTAKES = {
    "": "",
    # A router
    "priority: 99, middlewares: [chain]": [
        "priority: 99, middlewars: [chain]", "priority: 99, middlewares: {a: chain}", "priority: 99, middleware: chain",
        "priority: 99, middlewares: [chian]", "prioritty: 99, middlewares: [chain]",
        "priority: x, middlewares: [chain]",
        "priority: 99, middlewares: [[chain]]",
    ],
    f"guarded: {{rule: {GUARDED}}}": [
        f"guarded: {{rules: {GUARDED}}}", f"guarded: {{rule: [{GUARDED}]}}",
        f"guarded: {{guarded: {{rule: {GUARDED}}}}}",
        f"guarded: [{{rule: {GUARDED}}}]",
        f"guarded: {{rule: {GUARDED}, bogus: 1}}",
    ],
    "entryPoints: [web], priority": [
        "entryPoint: [web], priority", "entryPoints: {a: web}, priority", "entrypints: [web, admin], priority",
    ],
    "middlewares: [chain], service: app": ["middlewares: [chain], service: nobody",
    "middlewares: [chain], servce: app"],
    # What it refers to
    "middlewares: [pass, deny]": [
        "middlewares: [pass, dney]", "middlewars: [pass, deny]", "middlewares: [pass, deny, chain]",
        "middlewares: {pass: deny}",
    ],
    "ipAllowList: {sourceRange: [10.9.0.0/16], rejectStatusCode: 404}": [
        "ipAllowlst: {sourceRange: [10.9.0.0/16]}", "ipAllowList: {sourceRnge: [10.9.0.0/16]}", "ipAllowList: {}",
        "ipAllowList: {sourceRange: [nothing]}", "ipAllowList: {sourceRange: [10.9.0.0/16], rejectStatusCode: none}",
        "ipAllowList: {sourceRange: [10.9.0.0/16]}, basicAuth: {users: []}", "ipAllowList: [10.9.0.0/16]",
        "chain: {middlewares: [chain]}", "bogus: 1", "",
    ],
    '{url: "URL"}]}, middlewares: [deny]': [
        '{url: "URL"}]}, middlewars: [deny]', '{url: "URL"}]}, middlewares: [dney]',
        '{url: "URL"}, 7]}, middlewares: [deny]',
        '{ulr: "URL"}]}, middlewares: [deny]',
    ],
    "weighted: {services: [{name: guarded, weight: 1}]}": [
        "weighted: {services: [{nmae: guarded, weight: 1}]}", "weighted: {services: {name: guarded}}",
        "weigthed: {services: [{name: guarded, weight: 1}]}",
    ],
    # Trees
    "parentRefs: [parent], middlewares: [deny]": [
        "parentRefs: [[parent]], middlewares: [deny]", "parentRefs: {a: parent}, middlewares: [deny]",
        "parentRef: [parent], middlewares: [deny]", "parentRefs: [parent], middlewares: [dney]",
        "parentRefs: [parent], middlewars: [deny]", "parentRefs: [parent], tls: {}, middlewares: [deny]",
    ],
    # TLS
    "tls: {options: mutual}, service: app}\n  services": [
        "tls: {optoins: mutual}, service: app}\n  services", "tsl: {options: mutual}, service: app}\n  services",
        "tls: mutual, service: app}\n  services", "tls: [mutual], service: app}\n  services",
        "tls: {options: [mutual]}, service: app}\n  services", "tls: {options: mutaul}, service: app}\n  services",
        "tls: {opts: x}, service: app}\n  services", "tls: {options: mutual}, service: nobody}\n  services",
        "tls: {options: mutual}, servce: app}\n  services",
        "tls: {options: mutual, domains: [{x: y}]}, service: app}\n  services",
    ],
    "clientAuth: {caFiles: [\"CERT\"], clientAuthType: RequireAndVerifyClientCert}": [
        "clientauht: {caFiles: [\"CERT\"], clientAuthType: RequireAndVerifyClientCert}",
        "clientAuth: {caFile: [\"CERT\"], clientAuthType: RequireAndVerifyClientCert}",
        "clientAuth: {caFiles: [\"CERT\"], clientAuthtype: Required}",
        "clientAuth: {caFiles: [], clientAuthType: RequireAndVerifyClientCert}",
    ],
    # Layer 4
    "entryPoints: [tcp], middlewares: [deny]": [
        "entryPoints: [tcp], middlewars: [deny]", "entryPoints: [tcp], middlewares: [dney]",
        "entryPoint: [tcp], middlewares: [deny]", "entryPoints: [tcp], middlewares: {a: deny}",
    ],
    'rule: "ClientIP(`127.0.0.1`)"': ['rules: "ClientIP(`127.0.0.1`)"'],
    "middlewares:\n    deny: {ipAllowList: {sourceRange: [10.9.0.0/16]}}": [
        "middlewares:\n    deny: {ipAllowList: {sourceRnge: [10.9.0.0/16]}}",
        "middlewares:\n    deny: {ipAllowList: {sourceRange: [nothing]}}", "middlewares:\n    deny: {inFlightCon: {}}",
    ],
    'entryPoints: [tcp], tls: {options: mutual}': [
        'entryPoints: [tcp], tls: {optoins: mutual}', 'entryPoints: [tcp], tls: {options: mutaul}',
        'entryPoints: [tcp], tsl: {options: mutual}', 'entryPoints: [tcp], tls: {options: mutual}, bogus: 1',
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificate(tmp_path_factory.mktemp("certificates"), "edge", "a.test", "b.test")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def is_served(lb: Edge, path: str, point: str = "web") -> bool:
    with contextlib.closing(lb.client(point)) as peer:
        try:
            return peer.ask(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())[0].split()[1] == "200"
        except (EOFError, ConnectionError):
            return False


def over(lb: Edge, point: str, name: str, host: str, path: str = "/") -> bool:
    """Whether a client without a certificate is served."""
    address = lb.proxy.addresses[point]
    assert not isinstance(address, str)
    try:
        with socket.create_connection(address, TIMEOUT_S) as plain:
            with trusting().wrap_socket(plain, server_hostname=name) as sock:
                sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                return sock.recv(12) == b"HTTP/1.1 200"
    except (ssl.SSLError, ConnectionError, EOFError):
        return False


@pytest.mark.parametrize(("sound", "wrong"), [(old, new) for old, all_ in MISTAKES.items() for new in all_ or [""]])
def test_a_mistake_opens_nothing(files: Files, server: Server, sound: str, wrong: str) -> None:
    assert sound in FILE
    text = FILE.replace(sound, wrong, 1) if sound else FILE
    for name, value in {"URL": server.url, "ADDRESS": server.url.removeprefix("http://")}.items():
        text = text.replace(name, value)
    text = text.replace('"CERT"', f'"{files.certificate}"').replace('"KEY"', f'"{files.key}"')
    config, _ = parse_dynamic(text)
    with edge(config, entry_points=POINTS) as lb:
        found = {path for path in ("/guarded", "/inside", "/tree/child") if is_served(lb, path)}
        found |= {f"{point} {sni} {host}" for point, sni, host in (
            ("web", "b.test", "b.test"), ("web", "b.test", "a.test"), ("web", "a.test", "b.test"), ("tcp", "b.test",
            ""),
        ) if over(lb, point, sni, host, "/x")}  # fmt: skip
        if is_served(lb, "/", "tcp"):
            found.add("tcp")
        assert not found
        if "clientA" not in sound:  # without options that can be used, some hosts have no handshake
            assert is_served(lb, "/other")
            assert status(over_tls(lb, "a.test"), "a.test") == "200"
        assert bool(lb.proxy.disabled) == bool(sound)


MISPLACED = {
    "routers": "a: {rule: \"Path(`/a`)\", service: s}\n    middlewares: [deny]",
    "routers, mapped": "a: {rule: \"Path(`/a`)\", service: s}\n    tls: {options: mutual}",
    "services": "s: {loadBalancer: {servers: [{url: \"http://a.test\"}]}}\n    middlewares: [deny]",
}


@pytest.mark.parametrize("section", MISPLACED)
def test_a_key_that_stands_a_level_too_high_refuses_the_file(section: str) -> None:
    """The object to which it belongs would run without it."""
    with pytest.raises(ConfigError, match="is a key, not a name"):
        parse_dynamic(f"http:\n  {section.partition(',')[0]}:\n    {MISPLACED[section]}\n")


def test_options_without_their_client_authentication_refuse_the_file() -> None:
    with pytest.raises(ConfigError, match="is a key, not a name"):
        parse_dynamic("tls:\n  options:\n    mutual: {sniStrict: true}\n    clientAuth: {caFiles: [x]}\n")


def test_an_object_with_the_name_of_a_key_is_one() -> None:
    text = """
http:
  routers: {tls: {rule: "Path(`/a`)", service: middlewares, bogus: 1}}
  services: {middlewares: {loadBalancer: {servers: [{url: "http://a.test", bogus: 1}]}}, weighted: {services: 7}}
  middlewares: {retry: {retry: {bogus: 1}}, compress: {bogus: 1}}
"""
    config, _ = parse_dynamic(text)
    assert all(each.faults for each in config.http.routers.values())
    assert len(config.http.services) == len(config.http.middlewares) == 2


def test_a_router_without_a_guard_that_cannot_run_leaves_its_requests_to_others(server: Server) -> None:
    """As in Traefik."""
    text = """
http:
  routers:
    all: {rule: "PathPrefix(`/`)", priority: 1, service: app}
    plain: {rule: "Path(`/plain`)", service: nobody}
  services:
    app: {loadBalancer: {servers: [{url: "URL"}]}}
"""
    config, _ = parse_dynamic(text.replace("URL", server.url))
    with edge(config) as lb:
        assert is_served(lb, "/plain")


def test_what_stands_in_its_place_answers_as_where_there_is_no_router(server: Server, tmp_path: Path) -> None:
    text = """
http:
  routers:
    all: {rule: "PathPrefix(`/`)", priority: 1, service: app}
    guarded: {rule: "Path(`/guarded`)", middlewares: [nothing], service: app}
    nowhere: {rule: "Path(`/nowhere`)", entryPoints: [other], middlewares: [nothing], service: app}
  services:
    app: {loadBalancer: {servers: [{url: "URL"}]}}
"""
    config, _ = parse_dynamic(text.replace("URL", server.url))
    log = tmp_path / "log"
    with edge(config, static={"accessLog": {"filePath": str(log), "format": "json"}}) as lb:
        first, headers, body = lb.ask(b"GET /guarded HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (first, body) == ("HTTP/1.1 404 Not Found", b"404 page not found\n")
        assert (headers["content-type"], headers["x-content-type-options"]) == ("text/plain; charset=utf-8", "nosniff")
        assert is_served(lb, "/nowhere")  # it names another entry point
        sound = {**config.model_dump(by_alias=True)}
        sound["http"]["routers"]["guarded"]["middlewares"] = []
        lb.apply(sound)
        assert is_served(lb, "/guarded")
    assert '"RouterName":"guarded@file"' in log.read_text().splitlines()[0]
