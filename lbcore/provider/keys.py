"""The configuration in the keys of a store: `traefik/http/routers/web/rule`. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.decode import decode, keys_of, known_to, nearest, plain
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.flat import FlatTree, in_order
from lbcore.config.report import lines
from lbcore.config.tree import Tree
from lbcore.errors import Problem
from lbcore.provider.follow import Reading


def reading_of(values: Mapping[str, str], root: str, place: str, again_s: float | None = None) -> Reading:
    """What the keys below `root` say. A key that belongs to no object is a problem of its own. Raises ConfigError.

    values  by whole key.
    place   for messages.
    """
    flat = FlatTree(DynamicConfig)
    sections = {key.lower() for key in known_to(DynamicConfig)}
    problems = []
    for key in in_order(values):
        parts = [part for part in key.removeprefix(f"{root}/").split("/") if part]
        if len(parts) < 2 or parts[0].lower() not in sections:
            continue  # somebody else's
        layer = plain(keys_of(DynamicConfig).get(parts[0].lower()))
        if layer is not None and parts[1].lower() not in known_to(layer):
            hint = nearest(parts[1], list(keys_of(layer)))
            problems.append(str(Problem(key, f"unknown key {parts[1]!r}", hint, place)))
            continue
        if layer is not None and len(parts) == 2:
            problems.append(str(Problem(key, "needs names below it, not a value", "", place)))
            continue
        if "\ufffd" in key + values[key]:
            problems.append(str(Problem(key, "not UTF-8", "", place)))
        try:
            flat.put(parts, values[key])
        except ValueError as error:
            problems.append(str(Problem(key, str(error), "", place)))
    tree = Tree(flat.content(), place, prefix=f"{root}/", separator="/")
    decoded = decode(tree, DynamicConfig)
    return Reading(decoded.model, tuple(problems), tuple(lines(decoded.warnings)), again_s)
