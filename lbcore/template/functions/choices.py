"""The functions of sprig that choose, compare and refuse values, or read the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import are_equal, is_empty, text_in
from lbcore.template.values import ValueProblem, kind_of, type_of


def _default(other: Any, *given: Any) -> Any:
    return other if not given or is_empty(given[0]) else given[0]


def _fail(text: Any) -> str:
    raise ValueProblem(text_in(text))


def _ternary(first: Any, second: Any, condition: Any) -> Any:
    if not isinstance(condition, bool):
        raise ValueProblem(f"wrong type for value; expected bool; got {type_of(condition)}")
    return first if condition else second


def _environment(text: Any) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: os.environ.get(found[1] or found[2], ""), text_in(text))


CHOICES: dict[str, Callable[..., Any]] = {
    "default": _default,
    "empty": is_empty,
    "coalesce": lambda *values: next((value for value in values if not is_empty(value)), None),
    "all": lambda *values: not any(map(is_empty, values)),
    "any": lambda *values: not all(map(is_empty, values)),
    "ternary": _ternary,
    "env": lambda name: os.environ.get(text_in(name), ""),
    "expandenv": _environment,
    "typeOf": type_of,
    "typeIs": lambda name, value: text_in(name) == type_of(value),
    "typeIsLike": lambda name, value: type_of(value) in (text_in(name), f"*{name}"),
    "kindOf": kind_of,
    "kindIs": lambda name, value: text_in(name) == kind_of(value),
    "deepEqual": are_equal,
    "fail": _fail,
}
