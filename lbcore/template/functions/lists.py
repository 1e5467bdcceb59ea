"""The functions of sprig for lists. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import are_equal, check_length, is_empty, list_in, number_in, to_int
from lbcore.template.values import ValueProblem


def _until(count: Any) -> list[int]:
    return _until_step(0, count, -1 if number_in(count) < 0 else 1)


def _until_step(start: Any, stop: Any, step: Any) -> list[int]:
    first, last, by = number_in(start), number_in(stop), number_in(step)
    if by == 0 or (by > 0) != (last >= first):
        return []
    check_length(len(range(first, last, by)))
    return list(range(first, last, by))


def _seq(*bounds: Any) -> str:
    numbers = [number_in(bound) for bound in bounds]
    start, step, end = 1, 1, 0
    if len(numbers) == 1:
        end = numbers[0]
        step = -1 if end < start else 1
    elif len(numbers) == 2:
        start, end = numbers
        step = -1 if end < start else 1
    elif len(numbers) == 3:
        start, step, end = numbers
        if (end < start and step > 0) or step == 0:
            return ""
    else:
        return ""
    found = range(start, end + (1 if step > 0 else -1), step)
    check_length(len(found))
    return " ".join(map(str, found))


def _has(value: Any, items: Any) -> bool:
    return items is not None and any(are_equal(value, item) for item in list_in(items))


def _uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    for item in list_in(items):
        if not any(are_equal(item, known) for known in found):
            found.append(item)
    return found


def _slice(items: Any, *bounds: Any) -> list[Any]:
    values = list_in(items)
    start = to_int(bounds[0]) if bounds else 0
    end = to_int(bounds[1]) if len(bounds) > 1 else len(values)
    if not 0 <= start <= end <= len(values):
        raise ValueProblem("slice bounds out of range")
    return values[start:end]


def _chunk(size: Any, items: Any) -> list[Any]:
    number = number_in(size)
    if number < 1:
        raise ValueProblem("the size of a chunk is at least 1")
    values = list_in(items)
    return [values[at : at + number] for at in range(0, len(values), number)]


def _concat(*lists: Any) -> list[Any]:
    return [item for items in lists for item in list_in(items)]


LISTS: dict[str, Callable[..., Any]] = {
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "append": lambda items, value: [*list_in(items), value],
    "prepend": lambda items, value: [value, *list_in(items)],
    "first": lambda items: next(iter(list_in(items)), None),
    "last": lambda items: next(iter(list_in(items)[-1:]), None),
    "rest": lambda items: list_in(items)[1:],
    "initial": lambda items: list_in(items)[:-1],
    "reverse": lambda items: list_in(items)[::-1],
    "uniq": _uniq,
    "without": lambda items, *values: [
        item for item in list_in(items) if not any(are_equal(item, value) for value in values)
    ],
    "has": _has,
    "compact": lambda items: [item for item in list_in(items) if not is_empty(item)],
    "slice": _slice,
    "chunk": _chunk,
}
LISTS |= {f"must{name[0].upper()}{name[1:]}": call for name, call in LISTS.items() if name not in ("list", "tuple")}
LISTS |= {"push": LISTS["append"], "mustPush": LISTS["append"], "concat": _concat}
LISTS |= {"until": _until, "untilStep": _until_step, "seq": _seq}
