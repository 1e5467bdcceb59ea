"""The language of conditions."""

from __future__ import annotations

import re
from typing import Any

import pytest

from lbcore.middleware.expression import Function, compile_condition

FUNCTIONS = {
    "Ratio": Function(float, (), lambda: lambda seen: seen["ratio"]),
    "Codes": Function(float, (int, int), lambda first, last: lambda seen: (last - first) / 100),
    "Count": Function(int, (), lambda: lambda seen: seen["count"]),
    "At": Function(int, (float,), lambda share: lambda seen: int(share)),
    "Method": Function(str, (), lambda: lambda seen: seen["method"]),
    "Failed": Function(bool, (), lambda: lambda seen: seen["failed"]),
}
SEEN = {"ratio": 0.5, "count": 3, "method": "GET", "failed": True}


def holds(text: str, **seen: Any) -> bool:
    return compile_condition(text, FUNCTIONS)({**SEEN, **seen})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Ratio() > 0.3", True),
        ("Ratio()>0.3", True),
        ("Ratio() > .6", False),
        ("Ratio() >= 0.5 && Ratio() <= 5e-1", True),
        ("Ratio() == 0.5 || Count() == 4", True),
        ("Ratio() != 0.5 || Count() == 4", False),
        ("Count() < 3 || Failed() && Count() == 3", True),
        ("(Count() < 3 || Failed()) && Count() == 4", False),
        ("!Failed() || !!Failed()", True),
        ("!(Count() == 3)", False),
        ("!Failed() && Count() == 3", False),
        ('Method() == "GET"', True),
        ("Method() != `GET`", False),
        ("Codes(100, 150) > 0.4", True),
        ("At(50) == 50 && At(99.9) == 99", True),
        ("Count() > -1", True),
        ("Ratio() > 0", True),
        ("\n Failed() \n&& \t Failed()\n", True),
        ("(((Failed())))", True),
        ("Failed() == Failed()", True),
        ("// half of it\nRatio() /* of all */ >= 0.5 && // and\n Failed() // so", True),
        ("/* a\n // b */Method() != `// no comment` && Method() != \"/* nor this */\"", True),
        ("Codes(100, 150,) > 0.4", True),
    ],
)
def test_conditions(text: str, value: bool) -> None:
    assert holds(text) is value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "lacks a value"),
        ("Ratio()", "is a value, not a condition"),
        ("Ratio() >", "lacks a value"),
        ("Ratio > 1", "lacks '('"),
        ("Nope() > 1", "unknown function"),
        ("Ratio() > 1 Count()", "is not understood"),
        ("Ratio() & Count()", "is not understood"),
        ("Ratio() > 0.3 /* and", "is not understood"),
        ("Ratio() / 2 > 0.3", "is not understood"),
        ("Ratio(,) > 0.3", "lacks a value"),
        ("// nothing", "lacks a value"),
        ("Ratio(1) > 1", "other arguments"),
        ("Codes(1.5, 2) > 1", "other arguments"),
        ("Codes(1) > 1", "other arguments"),
        ("Codes(Count(), 1) > 1", "lacks a value"),
        ("Method() > `a`", "compares str and str"),
        ("Method() == 1", "compares str and int"),
        ("Failed() < Failed()", "compares bool and bool"),
        ("!Count()", "negates"),
        ("Count() && Failed()", "joins values"),
        ("(Failed()", "lacks ')'"),
        ("'a' == Method()", "is not understood"),
        ("(" * 60 + "Failed()" + ")" * 60, "nested too deep"),
        ("Failed() || " * 1000 + "Failed()", "more than 4096 characters"),
    ],
)
def test_what_is_no_condition(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        holds(text)
