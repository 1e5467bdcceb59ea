"""How a statement is timed: four to a turn of a loop over keys, as compiled code, with the least time of many rounds.

The loop is the same for everything that is compared, and costs about a nanosecond per statement.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from bench.micro import native

yardstick = native.load()
Loop = Callable[[Any], None]
Key = str | int | bytes
KEYS = 1024
ROUND_S = 0.002
STEPS = "abcd"


def compiled(statement: str, **names: Any) -> Loop:
    """A function that runs `statement` for each key of a sequence of fours; `key` in it stands for the key."""
    body = "".join(f"        {statement.replace('key', step)}\n" for step in STEPS)
    text = f"def loop(fours, {', '.join(f'{name}={name}' for name in names)}):\n"
    text += f"    for {', '.join(STEPS)} in fours:\n{body}"
    scope = dict(names)
    exec(compile(text, statement, "exec"), scope)
    loop: Loop = scope["loop"]
    return loop


def fours(keys: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [tuple(keys[i : i + 4]) for i in range(0, len(keys), 4)]


TEXTS: list[Key] = [f"user-{number}" for number in range(KEYS)]
NUMBERS: list[Key] = [(number * 0x9E3779B97F4A7C15) & ((1 << 63) - 1) for number in range(1, KEYS + 1)]
TEXT_FOURS, NUMBER_FOURS = fours(TEXTS), fours(NUMBERS)


def seconds(loop: Loop, argument: Any) -> float:
    before = time.perf_counter()
    loop(argument)
    return time.perf_counter() - before


def sized(loop: Loop, argument: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """As much of the keys, or as many times them, as a round of about ROUND_S takes."""
    loop(argument[:4])
    each = seconds(loop, argument[:4]) / 4
    count = max(1, int(ROUND_S / max(each, 1e-9)))
    if count <= len(argument):
        return argument[:count]
    return [four for part in repeat(argument, count // len(argument)) for four in part]


def least_ns(loops: Sequence[tuple[Loop, list[tuple[Any, ...]]]], rounds: int = 60) -> list[float]:
    """Nanoseconds per statement of several loops: the least of rounds that go from loop to loop."""
    work = [(loop, sized(loop, keys)) for loop, keys in loops]
    best = [float("inf")] * len(work)
    for _ in range(rounds):
        for index, (loop, keys) in enumerate(work):
            best[index] = min(best[index], seconds(loop, keys) / len(keys) / len(STEPS))
    return [value * 1e9 for value in best]


def allocations_per_op(loop: Loop, keys: list[tuple[Any, ...]]) -> float:
    """Allocations per statement; those of the loop itself, which is run over nothing, are taken off."""
    loop(keys)
    base = yardstick.allocations(loop, [])
    return float(yardstick.allocations(loop, keys) - base) / len(keys) / len(STEPS)
