"""Constraints choose by labels and tags."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from lbcore.provider.constraints import ConstraintError, Subject, parse_constraints

LABELS = ("Label", "LabelRegex")
SUBJECT = Subject({"a": "1", "tier": "eu-west"}, ("blue",))


@pytest.mark.parametrize(
    ("text", "is_true"),
    [
        ("", True),
        ("Label(`a`, `1`)", True),
        ('Label("a","2")', False),
        ("Label(`none`, ``)", True),
        ("LabelRegex(`none`, `.*`)", True),
        ("LabelRegex(`tier`, `west$`)", True),
        ("!Label(`a`, `1`)", False),
        ("!(Label(`a`,`2`) || Label(`a`,`3`)) && LabelRegex(`tier`,`^eu`)", True),
        ("Label(`a`,`1`) || Label(`a`,`2`) && Label(`a`,`3`)", True),
        ("(Label(`a`,`1`) || Label(`a`,`2`)) && Label(`a`,`3`)", False),
        (r'LabelRegex("t\x69er", "^eu\u002d\\w+$",)', True),
    ],
)
def test_labels(text: str, is_true: bool) -> None:
    assert parse_constraints(text, LABELS)(SUBJECT) is is_true


def test_tags() -> None:
    tags = ("Tag", "TagRegex")
    assert parse_constraints("Tag(`blue`) && TagRegex(`^bl`) && !Tag(`red`)", tags)(SUBJECT)


@pytest.mark.parametrize(
    "text",
    ["Label(`a`)", "Label(a, `b`)", "Tag(`a`)", "Label(`a`,`b`) &&", "(Label(`a`,`b`)", "Label(`a`,`b`) x", "&", "Label(`a`,`b`",
     "LabelRegex(`a`, `(`)", "!" * 200, "(" * 200, "Label(`a`,`b`) Label(`a`,`b`)",
     r'LabelRegex("a", "\.")'],
)  # fmt: skip
def test_bad(text: str) -> None:
    with pytest.raises(ConstraintError):
        parse_constraints(text, LABELS)
