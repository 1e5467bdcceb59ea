"""Templates of Traefik: dynamic files, and default rules of providers. No I/O but the environment, by `env`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Any

from lbcore.template import syntax
from lbcore.template.builtin import BUILTIN
from lbcore.template.render import Rendered, render
from lbcore.template.sprig import MISSING, SPRIG
from lbcore.template.syntax import TemplateError
from lbcore.template.values import ValueProblem

UNSUPPORTED = "not supported by this version of lbcore"


def normalize(text: Any) -> str:
    """Letters and digits, with one dash in place of each run of others."""
    if not isinstance(text, str):
        raise ValueProblem("wrong type for value; expected string")
    return "-".join("".join(each if each.isalnum() else " " for each in text).split())


def _split(text: Any, separator: Any) -> list[str]:
    """Go's strings.Split, which takes the place of sprig's function in files."""
    if not isinstance(text, str) or not isinstance(separator, str):
        raise ValueProblem("wrong type for value; expected string")
    return text.split(separator) if separator else list(text)


RULE_FUNCTIONS: dict[str, Callable[..., Any]] = {**BUILTIN, **SPRIG, "normalize": normalize}
FILE_FUNCTIONS: dict[str, Callable[..., Any]] = {**RULE_FUNCTIONS, "split": _split}


def _refusal(known: Collection[str]) -> Callable[[str], tuple[str, str]]:
    def refuse(name: str) -> tuple[str, str]:
        if name in MISSING:
            return f"the template function {name} is {UNSUPPORTED}", "write the value itself"
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        return f"there is no template function {name}", f"did you mean {close[0]}?" if close else ""

    return refuse


def render_file(text: str) -> Rendered:
    """The text of a dynamic file. Raises TemplateError."""
    if "{{" not in text:
        return Rendered(text, [])
    template = syntax.parse(text, FILE_FUNCTIONS, _refusal(FILE_FUNCTIONS))
    return render(template, False, FILE_FUNCTIONS)


class Rule:
    """A rule with templates in it, for objects that a provider finds. Raises TemplateError if it is none."""

    def __init__(self, text: str) -> None:
        self._template = syntax.parse(text, RULE_FUNCTIONS, _refusal(RULE_FUNCTIONS))

    def rendered(self, data: Any) -> str:
        """The rule of one object. Raises TemplateError."""
        return render(self._template, data, RULE_FUNCTIONS).text


__all__ = ["Rendered", "Rule", "TemplateError", "normalize", "render_file"]
