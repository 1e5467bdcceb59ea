"""Work in an order of tasks, of which only those are done again that a change concerns. No I/O.

    a task looks at cells ─► and writes cells, at which tasks after it may look

Of several that write one cell, the first one counts. A task sees what tasks before it have written, and itself. When it
is done again and has written something else, the tasks after it that have looked there are done again, too: so the
result is that of doing everything anew, in its order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

Cell = Hashable
Order = tuple[Any, ...]  # sorts tasks, and tells them apart
_EMPTY: Mapping[Cell, Any] = MappingProxyType({})
_NOTHING: Any = object()  # no value; a cell may hold None


class Task:
    """A piece of work, and what came of it the last time.

    work     what it needs; the ledger does not look at that.
    looked   cells whose value it has used.
    asked    cells of which it has used only whether there is a value.
    written  what it has written.
    noted    what it has added to cells that several tasks fill.
    told     the kinds of what it tells whoever has it done.
    """

    __slots__ = ("asked", "looked", "noted", "order", "told", "work", "written")

    def __init__(self, order: Order, work: Any) -> None:
        self.order = order
        self.work = work
        self.looked: tuple[Cell, ...] = ()
        self.asked: tuple[Cell, ...] = ()
        self.written: Mapping[Cell, Any] = _EMPTY
        self.noted: Mapping[Cell, Any] = _EMPTY
        self.told: tuple[str, ...] = ()


class _Run:
    """What a task that is under way has done so far."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.looked: set[Cell] = set()
        self.asked: set[Cell] = set()
        self.written: dict[Cell, Any] = {}
        self.noted: dict[Cell, list[Any]] = {}
        self.told: dict[str, list[Any]] = {}


class Ledger:
    """All tasks, and what is in cells.

    changed  cells that tasks have written, or write no more, since this was cleared.
    """

    def __init__(self) -> None:
        self.changed: dict[Cell, None] = {}
        self._now = _Run(())
        self._tasks: dict[Order, Task] = {}
        self._values: dict[Cell, _Entry] = {}
        self._notes: dict[Cell, dict[Order, list[Any]]] = {}
        self._looking = _Users()
        self._asking = _Users()
        self._due: list[Order] = []
        self._is_due: set[Order] = set()
        self._told: dict[str, dict[Order, list[Any]]] = {}

    # What tasks do

    def first(self, cell: Cell) -> Any:
        """What the present task sees in a cell; None: nothing."""
        self._now.looked.add(cell)
        return self._seen(cell)

    def has(self, cell: Cell) -> bool:
        """Whether the present task sees something in a cell."""
        self._now.asked.add(cell)
        return self._seen(cell) is not None

    def look(self, cell: Cell) -> None:
        """Have the present task done again when this cell, which no task writes, is touched."""
        self._now.looked.add(cell)

    def write(self, cell: Cell, value: Any) -> None:
        """Write a cell, which the present task has found empty, or has written."""
        self._now.written[cell] = value

    def note(self, cell: Cell, value: Any) -> None:
        """Add to what tasks put into a cell together."""
        self._now.noted.setdefault(cell, []).append(value)

    def notes(self, cell: Cell) -> list[Any]:
        """What tasks before the present one have added to a cell, in their order."""
        self._now.looked.add(cell)
        entries = self._notes.get(cell, {})
        return [value for order in sorted(entries) if order < self._now.order for value in entries[order]]

    def tell(self, kind: str, value: Any) -> None:
        """Tell whoever has the tasks done something."""
        self._now.told.setdefault(kind, []).append(value)

    def _seen(self, cell: Cell) -> Any:
        if (entry := self._values.get(cell)) is not None:
            found = entry.before(self._now.order)
            if found is not _NOTHING:
                return found
        return self._now.written.get(cell)

    # What surrounds them

    def set(self, order: Order, work: Any) -> None:
        """Add a task, or have one done again with other work."""
        task = self._tasks.get(order)
        if task is None:
            self._tasks[order] = Task(order, work)
        else:
            task.work = work
        self._want(order)

    def end(self, order: Order) -> None:
        """Remove a task, and what it has written."""
        task = self._tasks.pop(order, None)
        if task is not None:
            self._follow(task, _Run(order))

    def touch(self, cell: Cell) -> None:
        """Have tasks done again that have looked at a cell."""
        for order in self._looking.of(cell):
            self._want(order)

    def run(self, do: Callable[[Any], None]) -> None:
        """Do all tasks that are due: `do` gets their work."""
        while self._due:
            order = heapq.heappop(self._due)
            self._is_due.discard(order)
            if (task := self._tasks.get(order)) is not None:
                self._now = _Run(order)
                do(task.work)
                self._follow(task, self._now)

    def value(self, cell: Cell) -> tuple[Order, Any] | None:
        """What is in a cell after all tasks, and which of them has written that; None: nothing."""
        entry = self._values.get(cell)
        return None if entry is None else entry.first()

    def told(self, kind: str, ordered: bool = True) -> list[Any]:
        """What all tasks tell, in their order if that is asked for."""
        found = self._told.get(kind, {})
        return [value for order in (sorted(found) if ordered else found) for value in found[order]]

    def _want(self, order: Order) -> None:
        if order not in self._is_due:
            self._is_due.add(order)
            heapq.heappush(self._due, order)

    def _follow(self, task: Task, run: _Run) -> None:
        """Record what a task has done, and have the tasks after it done again that look at what is other now."""
        order = task.order
        self._looking.move(order, set(task.looked), run.looked)
        self._asking.move(order, set(task.asked), run.asked)
        for cell in {**task.written, **run.written}:
            old, new = task.written.get(cell, _NOTHING), run.written.get(cell, _NOTHING)
            if old is _NOTHING or new is _NOTHING:
                self._want_after(order, self._asking.of(cell))
            elif old == new:
                run.written[cell] = old  # what stays is the same object
                continue
            self._put(cell, order, new)
            self.changed[cell] = None
            self._want_after(order, self._looking.of(cell))
        for cell in {**task.noted, **run.noted}:
            old, new = task.noted.get(cell, _NOTHING), run.noted.get(cell, _NOTHING)
            if old is _NOTHING or new is _NOTHING or old != new:
                self._add(cell, order, new)
                self._want_after(order, self._looking.of(cell))
        task.looked, task.asked = tuple(run.looked), tuple(run.asked)
        task.written, task.noted = run.written or _EMPTY, run.noted or _EMPTY
        for kind in task.told:
            del self._told[kind][order]
        for kind, values in run.told.items():
            self._told.setdefault(kind, {})[order] = values
        task.told = tuple(run.told)

    def _add(self, cell: Cell, order: Order, value: Any) -> None:
        entries = self._notes.setdefault(cell, {})
        entries[order] = value
        if value is _NOTHING:
            del entries[order]
            if not entries:
                del self._notes[cell]

    def _put(self, cell: Cell, order: Order, value: Any) -> None:
        entry = self._values.get(cell)
        if entry is None:
            self._values[cell] = _Entry(order, value)
        elif not entry.put(order, value):
            del self._values[cell]

    def _want_after(self, order: Order, users: Iterable[Order]) -> None:
        for user in users:
            if user > order:
                self._want(user)


class _Entry:
    """What tasks have written to one cell: usually one of them. `more`: the others, by their order."""

    __slots__ = ("more", "order", "value")

    def __init__(self, order: Order, value: Any) -> None:
        self.order, self.value = order, value
        self.more: dict[Order, Any] | None = None

    def put(self, order: Order, value: Any) -> bool:
        """Set or remove what one task has written. Returns whether anything is left."""
        every = {self.order: self.value, **(self.more or {})}
        every[order] = value
        if value is _NOTHING:
            del every[order]
        if not every:
            return False
        self.order = min(every)
        self.value = every.pop(self.order)
        self.more = every or None
        return True

    def before(self, order: Order) -> Any:
        return self.value if self.order < order else _NOTHING

    def first(self) -> tuple[Order, Any]:
        return self.order, self.value


class _Users:
    """Tasks by cell: usually one, which is kept without a set around it."""

    def __init__(self) -> None:
        self._of: dict[Cell, Order | set[Order]] = {}

    def of(self, cell: Cell) -> Iterable[Order]:
        """The tasks at a cell."""
        found = self._of.get(cell, ())
        return found if isinstance(found, set) else (found,) if found else ()

    def move(self, order: Order, before: set[Cell], after: set[Cell]) -> None:
        """Record at which cells a task is now."""
        for cell in before - after:
            found = self._of[cell]
            if isinstance(found, set):
                found.discard(order)
            if not isinstance(found, set) or not found:
                del self._of[cell]
        for cell in after - before:
            found = self._of.get(cell, ())
            if isinstance(found, set):
                found.add(order)
            else:
                self._of[cell] = {found, order} if found else order
