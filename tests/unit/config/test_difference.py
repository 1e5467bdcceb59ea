"""Mappings know what they change, and who refers to whom is followed from one configuration to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.difference import OF_KIND, PIECE, Users, changed_names, patched
from lbcore.config.dynamic import HttpConfig

NAMES = st.sampled_from("abcd")
VALUES = [object() for _ in range(3)]
REFERENCES = st.lists(st.sampled_from("mno"), max_size=3)
ROUTERS = st.builds(
    lambda service, steps: {"service": service, "middlewares": steps}, st.sampled_from(["", "s", "t"]), REFERENCES
)
SERVICES = st.one_of(
    st.builds(lambda steps: {"loadBalancer": {"serversTransport": "x"}, "middlewares": steps}, REFERENCES),
    st.builds(lambda some: {"weighted": {"services": [{"name": name} for name in some]}}, st.lists(NAMES, max_size=3)),
)
MIDDLEWARES = st.one_of(
    st.builds(lambda steps: {"chain": {"middlewares": steps}}, REFERENCES),
    st.builds(lambda asked: {"errors": {"status": ["500"], "service": asked, "query": "/"}}, NAMES),
)
CONFIGS = st.fixed_dictionaries(
    {
        kind: st.dictionaries(names.map(lambda name: f"{name}@file"), values, max_size=4)
        for kind, names, values in (
            ("routers", NAMES, ROUTERS),
            ("services", st.sampled_from("abst"), SERVICES),
            ("middlewares", st.sampled_from("mno"), MIDDLEWARES),
        )
    }
)


@given(
    st.lists(
        st.tuples(st.dictionaries(NAMES, st.sampled_from(VALUES)), st.lists(NAMES)),
        min_size=1,
        max_size=4,
    )
)
def test_a_mapping_knows_what_it_changes(steps: list[tuple[dict[str, object], list[str]]]) -> None:
    before: dict[str, object] = {}
    for changed, gone in steps:
        others = {name: value for name, value in changed.items() if before.get(name) is not value}
        after = patched(before, others, gone)
        plain = dict(after)
        assert [set(names) for names in changed_names(before, after)] == [
            {name for name, value in plain.items() if before.get(name) is not value},
            before.keys() - plain.keys(),
        ]
        assert [set(names) for names in changed_names(before, plain)] == [set(n) for n in changed_names(before, after)]
        before = after


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(a=1),
        lambda found: found.__setitem__("a", 1),
        lambda found: found.__delitem__("a"),
        lambda found: found.__ior__({"a": 1}),
        lambda found: found.setdefault("c", 1),
        lambda found: found.pop("a"),
        lambda found: found.popitem(),
        lambda found: found.clear(),
    ],
)
def test_a_mapping_that_knows_what_it_changes_stays_as_it_is(change: Callable[[Any], object]) -> None:
    before = {"a": 1, "b": 2}
    after = patched(before, {"a": 3}, ["b"])
    with pytest.raises(TypeError, match="make a copy"):
        change(after)
    assert after == {"a": 3} and changed_names(before, after) == (["a"], ["b"])


@given(st.lists(CONFIGS, min_size=2, max_size=4))
def test_who_refers_to_whom_is_followed(contents: list[dict[str, object]]) -> None:
    before = HttpConfig()
    users = Users.all(before)
    for content in contents:
        after = HttpConfig.model_validate(content)
        sections = {kind: (getattr(before, section), getattr(after, section)) for kind, section in OF_KIND.items()}
        touched = {kind: [name for names in changed_names(*both) for name in names] for kind, both in sections.items()}
        users = users.follow(before, after, touched)
        anew = Users.all(after)
        for kind in OF_KIND:
            assert {name: set(keys) for name, keys in users.of[kind].items()} == {
                name: set(keys) for name, keys in anew.of[kind].items()
            }
        before = after


def test_copies_of_large_tables_with_gaps_have_all_entries_in_their_order() -> None:
    before: Mapping[str, int] = {str(number): number for number in range(3 * PIECE + 7)}
    for number in range(0, 40, 4):
        after = patched(before, {f"new {number}": number, str(number + 1): -1}, [str(number)])
        left = {name: thing for name, thing in before.items() if name != str(number)}
        assert list(after.items()) == list((left | {str(number + 1): -1, f"new {number}": number}).items())
        before = after
