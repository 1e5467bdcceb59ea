"""The reference of all keys of both configurations, as pages of the site, from the models, which know type and default.

What a key means stands in docs/reference/static.txt and dynamic.txt, by the model that has it.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic_core import PydanticUndefined

from lbcore.config.decode import is_model, plain
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.model import Model, fields_of
from lbcore.config.static import StaticConfig
from lbcore.config.units import format_duration

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ROOT / "docs" / "reference"
ROOTS: dict[str, type[Model]] = {"static": StaticConfig, "dynamic": DynamicConfig}
NAME = "NAME"
INTROS = {
    "static": "The keys that are read once, at the start: from a file, from flags, or from the environment. "
    "[Configuration](../configuration.md) explains how they are read, [Providers](../providers.md) the sources of the "
    "dynamic configuration.",
    "dynamic": "The keys that are followed while lbcore runs. These pages explain how they behave: "
    "[routers](../routers.md), [middlewares](../middlewares.md), [services](../services.md), [layer 4](../layer4.md), "
    "[TLS](../tls.md).",
}


@dataclass
class Meanings:
    """The texts of a file, by model and key. `+` in front marks an extension."""

    texts: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def read(cls) -> Meanings:
        """All files."""
        found, model = cls(), ""
        for kind in ROOTS:
            for line in (TEXTS / f"{kind}.txt").read_text().splitlines():
                if line.startswith("["):
                    model = line.strip("[]")
                elif line and not line.startswith("#"):
                    key, _, text = line.partition(": ")
                    found.texts[model, key] = text
        return found

    def of(self, owner: type[Model], key: str) -> str:
        """The text of a key, or nothing."""
        module = owner.__module__.removeprefix("lbcore.config.")
        return self.texts.get((f"{module}.{owner.__name__}", key)) or self.texts.get((owner.__name__, key), "")


@dataclass(frozen=True)
class Key:
    """A key of a section: `model` is the one that defines it, `below` the section that it holds, if it holds one."""

    name: str
    model: type[Model]
    kind: str
    default: str
    below: type[Model] | None


@dataclass(frozen=True)
class Section:
    """A model, where it first stands, and its keys."""

    path: str
    model: type[Model]
    keys: list[Key]


def sections(kind: str) -> list[Section]:
    """All sections of a configuration, in the order of their keys; each model once."""
    found: dict[type[Model], Section] = {}

    def walk(model: type[Model], path: str) -> None:
        if model in found:
            return
        keys = [key_of(model, name, info) for name, info in fields_of(model).items()]
        found[model] = Section(path, model, keys)
        for key in keys:
            if key.below is not None:
                below = f"{path}.{key.name}" if path else key.name
                walk(key.below, below + (f".{NAME}" if key.kind.startswith("map") else ""))

    walk(ROOTS[kind], "")
    return list(found.values())


def key_of(model: type[Model], name: str, info: Any) -> Key:
    """One key."""
    owner = next(base for base in model.__mro__ if name in inspect.get_annotations(base))
    below = section_of(info.annotation)
    return Key(info.alias or name, owner, kind_of(info.annotation, info.metadata), default_of(info, below), below)


def section_of(annotation: Any) -> type[Model] | None:
    """The model in an annotation: of the key itself, or of the elements of its map or list."""
    annotation = plain(annotation)
    if is_model(annotation):
        return annotation  # type: ignore[no-any-return]
    return next((below for part in get_args(annotation) if (below := section_of(part))), None)


def kind_of(annotation: Any, metadata: Any = ()) -> str:
    """The type of a value, in words."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return kind_of(inner, [*metadata, *more])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return " or ".join(dict.fromkeys(kind_of(part, metadata) for part in parts))
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts if part != "")
    if origin is list or origin is tuple:
        return f"list of {plural(kind_of(parts[0]))}"
    if origin is dict:
        return f"map of {plural(kind_of(parts[1]))}"
    if is_model(annotation):
        return "section"
    words = {bool: "boolean", int: "number", float: "number", str: "text", timedelta: "duration"}
    return words.get(annotation, "any") + limits(metadata)


def plural(kind: str) -> str:
    """Several of a kind."""
    return kind if kind.startswith("`") or kind.endswith("s") else f"{kind.partition(',')[0]}s"


def limits(metadata: Any) -> str:
    """The least and greatest number."""
    names = ("ge", "le", "lt", "gt")
    found = {name: getattr(part, name) for part in flat(metadata) for name in names if hasattr(part, name)}
    low = found.get("ge", found["gt"] + 1 if "gt" in found else None)
    high = found.get("le", found["lt"] - 1 if "lt" in found else None)
    if high is not None and abs(high) >= 1 << 31:
        high = None
    if low is not None and abs(low) >= 1 << 31:
        low = None
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", from {low}" if low is not None else f", to {high}" if high is not None else ""


def flat(metadata: Any) -> Iterator[Any]:
    """The limits in the annotations of a field."""
    for part in metadata:
        yield from flat(part.metadata) if hasattr(part, "metadata") else [part]


def default_of(info: Any, below: type[Model] | None) -> str:
    """The default, as it is written in a file."""
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or value in ("", [], {}) or isinstance(value, Model):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, (list, tuple)):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def anchor(path: str) -> str:
    """The anchor of a section."""
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "top"


def examples() -> dict[str, str]:
    """Files that show a section, by its path: parts of docs/reference/examples.yml, each behind `--- # path`."""
    text = (TEXTS / "examples.yml").read_text()
    parts = re.findall(r"^--- # (\S+)\n(.*?)(?=^--- #|\Z)", text, re.MULTILINE | re.DOTALL)
    return {path: part.strip("\n") for path, part in parts}


def page(kind: str) -> str:
    """The page of a configuration, in Markdown."""
    meanings, shown, found = Meanings.read(), examples(), sections(kind)
    places = {section.model: section.path for section in found if section.keys}
    lines = [f"# The {kind} configuration", "", INTROS[kind], ""]
    lines += ["⁺ marks extensions: Traefik refuses a file that has them. All keys exist since version 0.1.", ""]
    for section in found:
        if not section.keys:
            continue
        title = section.path or "The top level"
        depth = "##" if section.path.count(".") < 2 else "###"
        label = ".".join(title.split(".")[-2 if title.endswith(NAME) else -1 :])
        heading = f"{title} {{ #top }}"
        if section.path:
            heading = f'`{title}` {{ #{anchor(section.path)} data-toc-label="{label}" }}'
        lines += [f"{depth} {heading}", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key in section.keys:
            text = meanings.of(key.model, key.name)
            mark = " ⁺" if text.startswith("+ ") else ""
            kind_text = key.kind
            if key.below is not None and key.below in places:
                kind_text = re.sub("sections?", rf"[\g<0>](#{anchor(places[key.below])})", kind_text)
            cells = (f"`{key.name}`{mark}", kind_text, key.default, text.removeprefix("+ "))
            lines.append("| " + " | ".join(cell.replace("|", "&#124;") for cell in cells) + " |")
        lines += [f"| `{key}` | – | – | {text} |" for key, text in others(section.model)]
        lines.append("")
        if section.path in shown:
            lines += ["```yaml", shown[section.path], "```", ""]
    return "\n".join(lines)


def others(model: type[Model]) -> Iterator[tuple[str, str]]:
    """Keys that lbcore knows without an option behind them: old names, what has no effect, and what it lacks."""
    for key, new in model.renamed.items():
        yield key, f"The old name of `{new}`."
    for key, hint in model.ignored.items():
        yield key, f"Has no effect, with a warning: {hint}."
    for key, hint in model.missing.items():
        yield key, f"Not supported: {hint}."


def unexplained() -> list[str]:
    """Keys without a text, and texts without a key."""
    meanings = Meanings.read()
    wanted = {(key.model, key.name) for kind in ROOTS for section in sections(kind) for key in section.keys}
    missing = [f"{model.__name__}.{name} has no text" for model, name in wanted if not meanings.of(model, name)]
    names = {(form, name) for model, name in wanted for form in forms(model)}
    missing += [f"{model}.{name} is no key" for model, name in meanings.texts if (model, name) not in names]
    return sorted(missing)


def forms(model: type[Model]) -> tuple[str, str]:
    """The names by which a text may call a model."""
    return model.__name__, f"{model.__module__.removeprefix('lbcore.config.')}.{model.__name__}"


if __name__ == "__main__":
    print("\n".join(unexplained()) or "every key has a text")
