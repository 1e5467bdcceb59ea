"""Which of Traefik's keys lbcore has: a page of the site, from the models.

docs/reference/traefik-static.txt has the flags of Traefik's static configuration, as `traefik --help` prints them;
tests/differential/test_traefik_keys.py compares it with the real program. Keys of the dynamic configuration come from
the models alone: those that are no extensions are Traefik's, and those that lbcore lacks are named there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import reference

from lbcore.config.decode import is_model, keys_of, plain
from lbcore.config.model import Model

FLAGS = Path(__file__).resolve().parents[1] / "docs" / "reference" / "traefik-static.txt"
INTRO = """# Traefik's keys

Which keys of Traefik 3.7 lbcore has. A key that is not there is named when a file has it, with what to do instead;
nothing is ignored in silence. What differs in behaviour is in [Differences](../differences.md).
"""


def state_of(flag: str) -> tuple[str, str]:
    """`yes`, `no effect`, or `no`, and the reason; of a key of the static configuration."""
    if flag == "configfile":
        return "yes", "`lbcore run --configFile`"
    annotation: Any = reference.ROOTS["static"]
    for part in flag.replace("[n]", "").split("."):
        annotation = plain(annotation)
        if get_origin(annotation) is list:
            annotation = plain(get_args(annotation)[0])
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
            continue
        if not is_model(annotation):
            return "yes", ""
        model: type[Model] = annotation
        found = {key.lower(): value for key, value in keys_of(model).items()}
        for state, keys in (("no", model.missing), ("no effect", model.ignored)):
            named = {key.lower(): text for key, text in keys.items()}
            if part in named:
                return state, named[part]
        old = {key.lower(): text for key, text in model.renamed.items()}
        if part in old:
            return "yes", f"now `{old[part]}`"
        if part not in found:
            return ("yes", "") if model.unread else ("no", "")
        annotation = found[part]
    return "yes", ""


def flags() -> list[str]:
    """Traefik's flags."""
    return [line for line in FLAGS.read_text().splitlines() if line and not line.startswith("#")]


def static_rows() -> Iterator[tuple[str, str, str]]:
    """A row for each key; what lies below a section that is not there has none of its own."""
    without: list[str] = []
    for flag in flags():
        if any(flag.startswith(f"{section}.") for section in without):
            continue
        state, reason = state_of(flag)
        if state != "yes":
            without.append(flag)
        yield flag, state, reason


def dynamic_rows() -> Iterator[tuple[str, str, str]]:
    """A row for each section of the dynamic configuration, with Traefik's keys in it."""
    meanings = reference.Meanings.read()
    for section in reference.sections("dynamic"):
        known = [key for key in section.keys if not meanings.of(key.model, key.name).startswith("+ ")]
        if known and not all(meanings.of(key.model, key.name).startswith("+ ") for key in section.keys):
            yield section.path or "the top level", "yes", ", ".join(f"`{key.name}`" for key in known)
        for state, keys in (("no", section.model.missing), ("no effect", section.model.ignored)):
            for key, text in keys.items():
                yield f"{section.path}.{key}".lstrip("."), state, text


def page() -> str:
    """The page, in Markdown."""
    rows = list(static_rows())
    lines = [INTRO, "## The static configuration", ""]
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for row in rows:
        groups.setdefault(row[0].split(".")[0].partition("[")[0], []).append(row)
    lines += ["As flags; files and variables have the same names.", ""]
    for name, group in groups.items():
        lines += [f"### {name}", "", "| key | lbcore | |", "|---|---|---|"]
        lines += [f"| `{key}` | {state} | {reason} |" for key, state, reason in group]
        lines.append("")
    lines += ["## The dynamic configuration", "", "| section | lbcore | keys, or what to do instead |", "|---|---|---|"]
    lines += [f"| `{path}` | {state} | {text} |" for path, state, text in dynamic_rows()]
    return "\n".join([*lines, ""])
