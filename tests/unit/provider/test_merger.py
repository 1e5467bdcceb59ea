"""Merging again and again gives what merging anew gives, and takes over what stays."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.load import dynamic_of
from lbcore.process.snapshot import to_json
from lbcore.provider.merge import Merger, merge

ROUTERS = st.dictionaries(
    st.sampled_from("xyz"),
    st.fixed_dictionaries(
        {"rule": st.sampled_from(["Host(`a`)", "Host(`b`)"]), "service": st.just("s")},
        optional={"priority": st.sampled_from([0, 1])},
    ),
    min_size=1,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "http": st.fixed_dictionaries({"routers": ROUTERS}),
        "tcp": st.just({"services": {"t": {"loadBalancer": {"servers": [{"address": "a:1"}]}}}}),
        "udp": st.just({"services": {"u": {"loadBalancer": {"servers": [{"address": "a:1"}]}}}}),
        "tls": st.sampled_from([{"options": {"o": {}}}, {"options": {"o": {"minVersion": "VersionTLS12"}}}]),
    },
)


@given(st.lists(st.dictionaries(st.sampled_from(["file", "redis"]), PARTS), min_size=1, max_size=6))
def test_merging_again_is_merging_anew(rounds: list[dict[str, Any]]) -> None:
    merger = Merger()
    for parts in rounds:
        configs = {provider: dynamic_of(content) for provider, content in parts.items()}
        again, anew = merger.merge(configs), merge(configs)
        assert to_json(again) == to_json(anew)
        assert again == anew


def test_what_is_read_anew_and_says_the_same_is_the_same_object() -> None:
    merger = Merger()
    content: dict[str, Any] = {
        "http": {
            "routers": {name: {"rule": "Host(`a`)", "service": "s"} for name in "xyz"},
            "services": {"s": {"loadBalancer": {"servers": [{"url": "http://a"}]}}},
        },
        "tls": {"options": {"o": {"minVersion": "VersionTLS12"}}},
    }
    before = merger.merge({"file": dynamic_of(copy.deepcopy(content))})
    content["http"]["routers"]["y"]["rule"] = "Host(`b`)"
    after = merger.merge({"file": dynamic_of(content)})
    routers = [config.http.routers for config in (before, after)]
    assert [name for name in routers[0] if routers[0][name] is not routers[1][name]] == ["y@file"]
    assert after.http.services is before.http.services
    assert after.tls is before.tls
