"""Keys of other proxies are named with what they are here."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from lbcore.config.decode import keys_of, plain
from lbcore.config.dynamic import DynamicConfig, Middleware, Router
from lbcore.config.load import parse_dynamic
from lbcore.config.middlewares.headers import Headers
from lbcore.config.services.health_check import HealthCheck, PassiveHealthCheck
from lbcore.config.services.load_balancer import LoadBalancer, Server
from lbcore.config.services.sticky import Sticky
from lbcore.config.static.servers_transport import ForwardingTimeouts
from lbcore.config.tls import Certificate
from lbcore.config.words import WORDS, plain_word
from lbcore.errors import ConfigError

BALANCER = {"servers": [{"url": "http://10.0.0.1"}]}


def faults(**balancer: Any) -> str:
    services = {"s": {"loadBalancer": {**BALANCER, **balancer}}}
    config, _ = parse_dynamic(json.dumps({"http": {"services": services}}))
    return " ".join(config.http.services["s"].faults)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("balance", "here this is strategy of a loadBalancer: wrr, leastconn"),
        ("lb_policy", "here this is strategy of a loadBalancer"),
        ("max-fails", "here this is passiveHealthCheck"),
        ("upstream", "here this is the servers of a service"),
        ("timeout", "here this is timeout of a service"),
        ("maxConn", "here this is maxConnections"),
        ("slow_start", "did you mean slowStart?"),
        ("server", "did you mean servers?"),
        ("bogus", "known here: "),
    ],
)
def test_what_a_key_of_another_proxy_is_here(key: str, hint: str) -> None:
    assert hint in faults(**{key: "x"})


def test_what_is_named_is_there() -> None:
    """Each name in a hint that is written as keys are is a key, or a value, of what it is said to be of."""
    models = (DynamicConfig, Router, LoadBalancer, Server, HealthCheck, PassiveHealthCheck, Sticky, Headers)
    known = {key for model in (*models, ForwardingTimeouts, Certificate, Middleware) for key in keys_of(model)}
    known |= {"loadBalancer", "failover", "fallback", "serversTransports", "timeout", "service"}
    known |= set(keys_of(plain(keys_of(DynamicConfig)["http"])))
    for hint in set(WORDS.values()):
        named = set(re.findall(r"\b[a-z]+(?:[A-Z]\w+)\b", hint))
        named |= set(re.findall(r"the middlewares? (\w+)", hint))
        assert named <= known, (hint, named - known)


def test_words_are_in_the_form_in_which_they_are_looked_for() -> None:
    assert [word for word in WORDS if word != plain_word(word)] == []


def test_what_the_workload_api_gives_is_no_option() -> None:
    with pytest.raises(ConfigError, match="unknown key 'identity'"):
        parse_dynamic('{"tls": {"identity": {"certificateText": "x"}}}')
