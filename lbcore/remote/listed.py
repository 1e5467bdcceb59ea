"""Routers and servers as lists for a terminal, laid out by its width. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from lbcore.remote.show import Node, plain_table, status_text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

WIDE = 120  # columns that all of a row has room in
NARROW = 76  # columns that the numbers of a row have room in beside its names
COLORS = {"enabled": "green", "warning": "yellow"}
# What a server does: titles of columns, and their widths if they stand below its name.
NUMBERS = {"weight": 7, "share": 7, "req/s": 8, "err/s": 7, "ms": 8, "flight": 7, "requests": 10}


class Rates:
    """Rows of `rates.rates`: a line each, or two where that has no room. `hidden`: how many more there are."""

    def __init__(self, rows: list[Node], hidden: int = 0) -> None:
        self._rows = rows
        self._hidden = hidden

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE:
            yield self._in_lines()
        elif options.max_width >= NARROW:
            yield self._in_two_lines()
        else:
            yield from self._below(options.max_width)
        if self._hidden:
            yield Text(f"and {self._hidden} more", "dim")

    def _in_lines(self) -> Table:
        table = plain_table("layer", "service", "server", "status", *NUMBERS, numbers=(*NUMBERS,))
        for row in self._rows:
            names = (row["layer"], row["service"], row["server"])
            table.add_row(*names, status_text(row["status"]), *_numbers(row))
        return table

    def _in_two_lines(self) -> Table:
        titles = [*NUMBERS][:-1]
        table = plain_table("server", "status", *titles, numbers=titles)
        for row in self._rows:
            names = f"{row['service']}\n  {row['server']}"
            table.add_row(names, status_text(row["status"]), *_numbers(row)[:-1])
        return table

    def _below(self, columns: int) -> list[RenderableType]:
        """The names, and below them as many numbers as have room."""
        room, widths = columns - 6, []
        for width in NUMBERS.values():
            if width <= room:
                widths.append(width)
            room -= width
        head = Text("status", "bold")
        for title, width in zip(NUMBERS, widths, strict=False):
            head.append(title.rjust(width))
        lines: list[RenderableType] = [head]
        for row in self._rows:
            numbers = status_text(row["status"].ljust(6))
            for number, width in zip(_numbers(row), widths, strict=False):
                text = number if isinstance(number, Text) else Text(number)
                numbers.append(" " * (width - len(text))).append_text(text)
            lines += [Text(f"{row['service']} {row['server']}", "bold", overflow="fold"), numbers]
        return lines


def _numbers(row: Node) -> list[str | Text]:
    share = "-" if row["share"] is None else f"{row['share']:.1%}"
    latency = "-" if row["latency"] is None else f"{row['latency']:.1f}"
    errors = Text(f"{row['errors']:.1f}", "red" if row["errors"] else "")
    rate = f"{row['rate']:.1f}"
    return [str(row["weight"]), share, rate, errors, latency, str(row["inFlight"]), str(row["requests"])]


class Routes:
    """Routers: what they match, where they lead, and what is wrong with them. A line each, or several where that has no
    room."""

    def __init__(self, routers: list[Node]) -> None:
        self._routers = routers

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE:
            yield self._in_lines()
        elif options.max_width >= NARROW:
            yield self._in_two_lines()
        else:
            for router in self._routers:
                line = Text(f"{router['name']} ", "bold", overflow="fold").append_text(_state(router))
                yield line.append(f" {_where(router)} \u2192 {_service(router)}", "not bold")
                yield Text(f"  {router.get('rule') or '-'}", overflow="fold")
                if problem := _problem(router):
                    yield Text(f"  {problem}", "red", overflow="fold")

    def _in_lines(self) -> Table:
        names = ["layer", "router", "status", "priority", "entry points", "rule", "middlewares", "service"]
        if has_problems := any(map(_problem, self._routers)):
            names.append("problem")
        table = plain_table(*names)
        for router in self._routers:
            about = (str(router.get("priority", "-")), _where(router), router.get("rule") or "-")
            middlewares = ", ".join(router.get("middlewares", [])) or "-"
            cells = [router["layer"], router["name"], _state(router), *about, middlewares, _service(router)]
            table.add_row(*cells, *([Text(_problem(router), "red")] if has_problems else []))
        return table

    def _in_two_lines(self) -> Table:
        table = plain_table("router", "status", "entry points", "service")
        for router in self._routers:
            names = Text(f"{router['name']}\n  {router.get('rule') or '-'}")
            if problem := _problem(router):
                names.append(f"\n  {problem}", "red")
            table.add_row(names, _state(router), _where(router), _service(router))
        return table


def _state(router: Node) -> Text:
    return Text(router["status"], COLORS.get(router["status"], "red"))


def _where(router: Node) -> str:
    return ", ".join(router.get("entryPoints") or router.get("using", [])) or "-"


def _service(router: Node) -> str:
    return router.get("service") or "-"


def _problem(router: Node) -> str:
    """What is wrong with it; nothing if it runs."""
    return "; ".join(router.get("error", []))


class Fitted:
    """What has room in the window, and how many lines have not."""

    def __init__(self, parts: list[RenderableType]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.console import Group
        from rich.segment import Segment

        lines = console.render_lines(Group(*self._parts), options.update(height=None), pad=False)
        if len(lines) > (height := options.size.height):
            room = height - 1
            note = f"\u2026 {len(lines) - room} lines more than this window has room for"
            lines = [*lines[:room], console.render_lines(Text(note, "dim", no_wrap=True), options, pad=False)[0]]
        for place, line in enumerate(lines):
            if place:
                yield Segment.line()
            yield from line
