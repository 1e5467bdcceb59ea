"""A tree of text to a configuration model, with every problem at once. No I/O."""

from __future__ import annotations

import difflib
import types
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError

from lbcore.config.model import Model
from lbcore.config.tree import Path, Tree, dotted
from lbcore.errors import ConfigError, Problem

M = TypeVar("M", bound=Model)
EXTENSIONS = "lbcore"


def decode(tree: Tree, model: type[M]) -> tuple[M, list[Problem]]:
    """The model and the warnings. Keys are matched without case; `lbcore:` is merged over the rest.

    Raises ConfigError with all problems, each with its line.
    """
    decoder = _Decoder(tree)
    data = decoder.top(model)
    found: M | None = None
    try:
        found = model.model_validate(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            decoder.invalid(detail)
    if decoder.problems or found is None:
        raise ConfigError(sorted(decoder.problems, key=lambda problem: (problem.line or 0, problem.path)))
    return found, decoder.warnings


def keys_of(model: type[Model]) -> dict[str, Any]:
    """Annotation by key."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def nearest(key: str, keys: list[str]) -> str:
    """A hint naming the key that was probably meant, or all when none is near."""
    lower = {name.lower(): name for name in keys}
    close = difflib.get_close_matches(key.lower(), list(lower), n=1, cutoff=0.6)
    return f"did you mean {lower[close[0]]}?" if close else "known here: " + ", ".join(sorted(keys))


def plain(annotation: Any) -> Any:
    """Without `| None` and `Annotated`."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return plain(rest[0]) if len(rest) == 1 else annotation
    return annotation


class _Decoder:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.source: dict[Path, Path] = {}  # canonical path to the path as written

    def problem(self, path: Path, text: str, hint: str = "") -> None:
        self.problems.append(
            Problem(dotted(path), text, hint, self.tree.file, self.tree.line(self.source.get(path, path)))
        )

    def top(self, model: type[Model]) -> dict[str, Any]:
        keys = {key.lower() for key in keys_of(model)} | {key.lower() for key in model.unsupported}
        content: dict[str, Any] = {}
        extensions: Any = None
        for key, value in self.tree.content.items():
            if key.lower() == EXTENSIONS:
                extensions = value
            elif key.lower() in keys:
                content[key] = value
            elif not key.startswith("x-"):
                known = [*keys_of(model), EXTENSIONS]
                line = self.tree.line((key,))
                self.warnings.append(Problem(key, "unknown key, ignored", nearest(key, known), self.tree.file, line))
        data = self.mapping(content, model, (), ())
        if isinstance(extensions, dict):
            data = _merge(data, self.mapping(extensions, model, (), (EXTENSIONS,)))
        elif extensions is not None:
            self.problem((EXTENSIONS,), "needs keys and values")
        return data

    def value(self, value: Any, annotation: Any, path: Path, written: Path) -> Any:
        self.source[path] = written
        annotation = plain(annotation)
        origin = get_origin(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Model):
            if value is None:
                value = {}
            if isinstance(value, dict):
                return self.mapping(value, annotation, path, written)
            return self.mismatch(path, value, "keys and values")
        if origin is dict:
            if value is None:
                return {}
            if not isinstance(value, dict):
                return self.mismatch(path, value, "names and values")
            inner = get_args(annotation)[1]
            return {name: self.value(item, inner, (*path, name), (*written, name)) for name, item in value.items()}
        if origin is list:
            if value is None:
                return []
            if not isinstance(value, list):
                return self.mismatch(path, value, "a list")
            inner = get_args(annotation)[0]
            return [self.value(item, inner, (*path, index), (*written, index)) for index, item in enumerate(value)]
        if isinstance(value, (dict, list)):
            return self.mismatch(path, value, "a single value")
        return "" if value is None else value

    def mismatch(self, path: Path, value: Any, wanted: str) -> None:
        got = "keys and values" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
        self.problem(path, f"needs {wanted}, not {got}")

    def mapping(self, value: dict[str, Any], model: type[Model], path: Path, written: Path) -> dict[str, Any]:
        if not value and not model.may_be_empty:
            self.problem(path, f"{path[-1]} cannot be a standalone element: it needs at least one key")
        keys = keys_of(model)
        lower = {key.lower(): key for key in keys}
        refused = {key.lower(): key for key in model.unsupported}
        found: dict[str, Any] = {}
        for key, item in value.items():
            here = (*written, key)
            name = lower.get(key.lower())
            if name is None:
                self.source[here] = here
                if key.lower() in refused:
                    self.problem(here, f"{refused[key.lower()]} is not supported by this version of lbcore")
                else:
                    self.problem(here, f"unknown key {key!r}", nearest(key, list(keys)))
            elif name in found:
                self.source[here] = here
                self.problem(here, f"the same key as {name}, written differently")
            else:
                decoded = self.value(item, keys[name], (*path, name), here)
                if decoded is not None and not (decoded == "" and item is None):
                    found[name] = decoded
        return found

    def invalid(self, detail: Any) -> None:
        path = tuple(part for part in detail["loc"] if part != "[key]")
        if any(problem.path and dotted(path).startswith(problem.path) for problem in self.problems):
            return None
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "missing":
            return self.problem(path, "is missing")
        if kind == "value_error":
            return self.problem(path, str(context["error"]))
        if kind == "literal_error":
            return self.problem(path, f"has to be one of {context['expected']}")
        message = detail["msg"][:1].lower() + detail["msg"][1:]
        if isinstance(detail["input"], str):
            message = f"{detail['input']!r}: {message}"
        return self.problem(path, message)


def _merge(base: Any, over: Any) -> Any:
    """`over` wins; mappings are merged, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base[key], value) if key in base else value for key, value in over.items()}}
    return over
