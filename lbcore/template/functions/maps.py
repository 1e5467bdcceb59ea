"""The functions of sprig for maps. No I/O."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import is_empty, map_in, text_in
from lbcore.template.values import ValueProblem, text_of


def _dict(*pairs: Any) -> dict[str, Any]:
    keys = [text_of(key) for key in pairs[::2]]
    values = [*pairs[1::2], *[""] * (len(pairs) % 2)]
    return dict(zip(keys, values, strict=True))


def _set(items: Any, key: Any, value: Any) -> dict[str, Any]:
    map_in(items)[text_in(key)] = value
    found: dict[str, Any] = items
    return found


def _unset(items: Any, key: Any) -> dict[str, Any]:
    map_in(items).pop(text_in(key), None)
    found: dict[str, Any] = items
    return found


def _keys(*maps: Any) -> list[str]:
    return [key for items in maps for key in sorted(map_in(items))]


def _merged(target: Any, *sources: Any, over: bool = False) -> dict[str, Any]:
    found = map_in(target)
    for source in sources:
        for key, value in map_in(source).items():
            if isinstance(value, dict) and isinstance(found.get(key), dict):
                _merged(found[key], value, over=over)
            elif over or is_empty(found.get(key)):
                found[key] = value
    return found


def _dig(*path: Any) -> Any:
    if len(path) < 3:
        raise ValueProblem("needs a key, a default and a map")
    *keys, default, items = path
    for key in keys:
        if not isinstance(items, dict) or key not in items:
            return default
        items = items[key]
    return items


MAPS: dict[str, Callable[..., Any]] = {
    "dict": _dict,
    "get": lambda items, key: map_in(items).get(text_in(key), ""),
    "set": _set,
    "unset": _unset,
    "hasKey": lambda items, key: text_in(key) in map_in(items),
    "keys": _keys,
    "values": lambda items: [map_in(items)[key] for key in sorted(items)],
    "pluck": lambda key, *maps: [items[key] for items in map(map_in, maps) if key in items],
    "pick": lambda items, *names: {key: value for key, value in map_in(items).items() if key in names},
    "omit": lambda items, *names: {key: value for key, value in map_in(items).items() if key not in names},
    "merge": _merged,
    "mustMerge": _merged,
    "mergeOverwrite": lambda target, *sources: _merged(target, *sources, over=True),
    "mustMergeOverwrite": lambda target, *sources: _merged(target, *sources, over=True),
    "dig": _dig,
    "deepCopy": copy.deepcopy,
    "mustDeepCopy": copy.deepcopy,
}
