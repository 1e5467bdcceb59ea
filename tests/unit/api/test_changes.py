"""What a reload has changed: each object, and one line for the log."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.api.changes import Changes, changes
from lbcore.config.load import dynamic_of
from lbcore.provider.merge import merge


def config(**parts: Any) -> Any:
    return merge({"file": dynamic_of(parts)})


def service(*urls: str) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url} for url in urls]}}


BEFORE = {
    "http": {
        "routers": {"a": {"rule": "Host(`a`)", "service": "s"}, "b": {"rule": "Host(`b`)", "service": "s"}},
        "services": {"s": service("http://one")},
    },
    "tcp": {
        "routers": {"t": {"rule": "HostSNI(`*`)", "service": "t"}},
        "services": {"t": {"loadBalancer": {"servers": [{"address": "one:1"}]}}},
    },
}


def test_objects_are_named_by_layer_and_kind() -> None:
    after = {
        "http": {
            "routers": {"a": BEFORE["http"]["routers"]["a"], "c": {"rule": "Host(`c`)", "service": "s"}},
            "services": {"s": service("http://one", "http://two")},
        },
        "udp": {"services": {"u": {"loadBalancer": {"servers": [{"address": "one:1"}]}}}},
        "tls": {"options": {"strict": {"minVersion": "VersionTLS13"}}},
    }
    found = changes(config(**BEFORE), config(**after))
    assert found.added == ("http/routers/c@file", "udp/services/u@file")
    assert found.removed == ("http/routers/b@file", "tcp/routers/t@file", "tcp/services/t@file")
    assert found.changed == ("http/services/s@file", "tls/options")
    assert found.summary() == (
        "router c@file added; UDP service u@file added; service s@file changed; TLS options changed; "
        "router b@file removed; TCP router t@file removed; TCP service t@file removed"
    )


def test_nothing_has_changed() -> None:
    found = changes(config(**BEFORE), config(**BEFORE))
    assert not found and found.summary() == ""


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a"], "middleware a removed"), (["a", "b"], "middlewares a, b removed"), ([*"abcd"], "4 middlewares removed")],
)
def test_many_objects_are_counted(names: list[str], text: str) -> None:
    assert Changes(removed=tuple(f"http/middlewares/{name}" for name in names)).summary() == text
