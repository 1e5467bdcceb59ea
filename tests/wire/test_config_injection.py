"""Line ends in values of the configuration, from a template or a label: refused, or they end no line on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from tests.support.instance import eventually
from tests.support.recorder import through
from tests.support.wire import edge
from tests.wire.test_hostile_at_middlewares import CONTROL, INJECTED, Raw

EVIL = "x\r\nX-Injected: 1\r\n\r\nGET /smuggled HTTP/1.1"
MIDDLEWARES: dict[str, dict[str, Any]] = {
    "addPrefix": {"prefix": f"/{EVIL}"},
    "replacePath": {"path": f"/{EVIL}"},
    "replacePathRegex": {"regex": "^/(.*)$", "replacement": f"/{EVIL}/$1"},
    "redirectRegex": {"regex": "^.*$", "replacement": f"https://a.test/{EVIL}"},
    "redirectScheme": {"scheme": f"https{EVIL}"},
    "redirectScheme to a port": {"scheme": "https", "port": f"443{EVIL}"},
    "headers of requests": {"customRequestHeaders": {"X-A": EVIL}},
    "headers by their names": {"customRequestHeaders": {f"X-A: 1{EVIL}": "1"}},
    "headers of answers": {"customResponseHeaders": {"X-A": EVIL}},
    "headers for browsers": {"customFrameOptionsValue": EVIL, "contentSecurityPolicy": EVIL, "referrerPolicy": EVIL},
    "headers for pages": {"accessControlAllowOriginList": [EVIL], "accessControlExposeHeaders": [EVIL]},
    "basicAuth": {"users": ["ann:$apr1$abcdefgh$l3iMXVuMfVuqmSzeJyWPH/"], "realm": EVIL},
    "basicAuth to servers": {"users": ["ann:$apr1$abcdefgh$l3iMXVuMfVuqmSzeJyWPH/"], "headerField": f"X{EVIL}"},
    "digestAuth": {"users": ["ann:x:" + "0" * 32], "realm": EVIL},
    "apiKey": {"keys": ["ann:0123456789abcdef"], "realm": EVIL},
    "jwtAuth": {"secret": "s" * 32, "realm": EVIL},
    "requestID": {"headerName": f"X{EVIL}"},
    "errors": {"status": ["200"], "service": "all", "query": f"/{EVIL}"},
    "forwardAuth": {"address": f"{{url}}/{EVIL}"},
    "requestRedirect": {"path": f"/{EVIL}"},
    "requestRedirect to a host": {"hostname": f"a.test{EVIL}"},
    "urlRewrite": {"path": f"/{EVIL}", "hostname": f"a.test{EVIL}"},
    "requestHeaderModifier": {"set": {"X-A": EVIL}, "add": {"X-B": EVIL}},
    "responseHeaderModifier": {"set": {"X-A": EVIL}, "add": {"X-B": EVIL}},
}


SERVICES: dict[str, dict[str, Any]] = {
    "name of a cookie": {"sticky": {"cookie": {"name": f"c{EVIL}"}}},
    "same site of a cookie": {"sticky": {"cookie": {"sameSite": f"lax{EVIL}"}}},
    "path of a cookie": {"sticky": {"cookie": {"path": f"/{EVIL}"}}},
    "domain of a cookie": {"sticky": {"cookie": {"domain": f"a.test{EVIL}"}}},
    "path of a check": {"healthCheck": {"path": f"/{EVIL}", "interval": "20ms"}},
    "host of a check": {"healthCheck": {"path": "/", "hostname": f"a.test{EVIL}", "interval": "20ms"}},
    "method of a check": {"healthCheck": {"path": "/", "method": f"GET / HTTP/1.1{EVIL}", "interval": "20ms"}},
    "headers of a check": {"healthCheck": {"path": "/", "headers": {"X-A": EVIL}, "interval": "20ms"}},
    "host of a server": {"passHostHeader": False},
}


@pytest.mark.parametrize("kind", SERVICES)
def test_a_value_of_a_service_ends_no_line(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    server = Raw()
    dynamic = through(server.url, {"addPrefix": {"prefix": "/a"}})
    balancer = dynamic["http"]["services"]["all"]["loadBalancer"]
    balancer |= SERVICES[kind]
    if "server" in kind:
        balancer["servers"] = [{"url": f"{server.url}/{EVIL}", "preservePath": True}]
    is_served(server, dynamic, lambda: len(server.heads) > 1 or "of the check holds line breaks" in caplog.text)


@pytest.mark.parametrize("kind", MIDDLEWARES)
def test_a_value_of_the_configuration_ends_no_line(kind: str) -> None:
    server = Raw()
    options = {
        key: value.replace("{url}", server.url) if isinstance(value, str) else value
        for key, value in MIDDLEWARES[kind].items()
    }
    is_served(server, through(server.url, {kind.partition(" ")[0]: options}))


def is_served(server: Raw, dynamic: dict[str, Any], checked: Callable[[], bool] = lambda: True) -> None:
    """The configuration is refused, or all that clients and servers get has the lines that it should have.

    checked  whether a health check has come, or was not sent.
    """
    try:
        DynamicConfig.model_validate(dynamic)
    except ValueError:
        server.close()
        return
    has_check = "healthCheck" in dynamic["http"]["services"]["all"]["loadBalancer"]
    try:
        with edge(dynamic) as lb:
            client = lb.client()
            client.send(b"GET /p HTTP/1.1\r\nHost: a.test\r\nOrigin: https://b.test\r\nConnection: close\r\n\r\n")
            answer = client.to_the_end()
            if has_check and b" 404 " not in answer:  # the router runs, and so do checks
                eventually(checked, "a check")
    finally:
        server.close()
    head, _, _ = answer.partition(b"\r\n\r\n")
    for text in (head, *(asked[:-4] for asked in server.heads)):
        lines = text.split(b"\r\n")
        assert not any(CONTROL.search(line) or INJECTED.search(line) for line in lines), text
        assert not any(line.startswith(b"GET /smuggled") for line in lines), text
    assert answer.count(b"HTTP/1.1 ") == 1, answer
