"""Shared by the commands that ask a running instance: options, requests, output as text or JSON, once or repeatedly."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lbcore.cli.base import EXIT_CANNOT_ASK, EXIT_WELL, fail
from lbcore.errors import system_message_of
from lbcore.process import standard
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from lbcore.remote.client import ApiClient

API = click.option(
    "--api", "url", default="http://127.0.0.1:8080", envvar="LBCORE_API", show_default=True, help="Where its API is."
)
TOKEN = click.option("--token", envvar="LBCORE_API_TOKEN", default="", help="The value of api.token.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON: one value, or with --watch one line a look.")
WATCHING = (
    click.option("--watch", is_flag=True, help="Look again and again, until interrupted."),
    click.option("--interval", "seconds", default=1.0, type=click.FloatRange(0.1, 3600), help="Seconds between looks."),
    click.option("--count", default=0, type=click.IntRange(0), help="Looks after which --watch ends; 0: none."),
)


@dataclass(frozen=True)
class Look:
    """What one look has found: `data` for JSON, `shown` for people, the exit code, and whether a watch ends with it."""

    data: Any
    shown: list[RenderableType]
    code: int = EXIT_WELL
    is_last: bool = False


@dataclass(frozen=True)
class View:
    """How a command asks and prints."""

    url: str
    as_json: bool
    watch: bool
    seconds: float
    count: int

    def show(self, look: Callable[[ApiClient], Look]) -> NoReturn:
        """Print what `look` finds at an instance, as `again` does."""
        from lbcore.remote.client import ApiClient, ApiError

        try:
            client = ApiClient(self.url)
        except ApiError as error:
            fail(str(error))
        self.again(lambda: look(client))

    def again(self, look: Callable[[], Look]) -> NoReturn:
        """Print what `look` finds, once or again and again, and exit with the code of the last look.

        When the instance cannot be asked the first time, that is the end; later on it is said, and asked again.
        """
        from lbcore.remote.client import ApiError
        from lbcore.remote.show import console_for

        code = EXIT_WELL
        try:
            found = look()
            with _Page(self, console_for(sys.stdout)) as page:
                left = self.count
                while True:
                    code = found.code
                    _put(page, found)
                    left -= 1
                    if found.is_last or not self.watch or left == 0:
                        break
                    time.sleep(self.seconds)
                    try:
                        found = look()
                    except ApiError as error:
                        found = Look({"error": str(error)}, [f"error: {error}"], EXIT_CANNOT_ASK)
        except ApiError as error:
            fail(str(error))
        except KeyboardInterrupt:
            pass
        sys.exit(code)


def _put(page: _Page, look: Look) -> None:
    """Print one look. A full disk ends the command; whoever reads a pipe may stop."""
    try:
        page.put(look)
    except BrokenPipeError:
        raise
    except OSError as error:
        standard.lead_nowhere()
        fail(f"standard output cannot be written: {system_message_of(error)}")


class _Page:
    """Where looks are printed: one below the other, or, with --watch on a terminal, in place of the one before."""

    def __init__(self, view: View, console: Console) -> None:
        from rich.live import Live

        self._as_json = view.as_json
        self._watch = view.watch
        self._console = console
        replaces = view.watch and console.is_terminal and not view.as_json
        self._live = Live(console=console, auto_refresh=False, screen=True) if replaces else None
        self._last: Look | None = None

    def put(self, look: Look) -> None:
        """Print one look."""
        from lbcore.remote.listed import Fitted

        self._last = look
        if self._as_json:
            click.echo(json.dumps(look.data, indent=None if self._watch else 2))
        elif self._live is not None:
            self._live.update(Fitted(look.shown), refresh=True)
        else:
            for part in look.shown:
                self._console.print(part, highlight=False, markup=False)
        sys.stdout.flush()

    def __enter__(self) -> _Page:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *about: object) -> None:
        if self._live is not None:
            self._live.stop()
            for part in self._last.shown if self._last else ():  # the screen has gone
                self._console.print(part, highlight=False, markup=False)


def viewing(always: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options by which it asks and prints, as one argument `view`. `always`: it always watches."""

    def give(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(
            *args: Any, url: str, as_json: bool, watch: bool, seconds: float, count: int, **more: Any
        ) -> Any:
            return function(*args, view=View(url, as_json, watch or always, seconds, count), **more)

        given: Callable[..., Any] = call
        for option in reversed((API, JSON, *WATCHING)):
            given = option(given)
        return given

    return give


def needs_token(token: str) -> None:
    """Fail without a token."""
    if not token:
        fail("a token is missing: give the value of `api.token` in the static file as --token or in LBCORE_API_TOKEN")


def tell(view: View, method: str, path: str, token: str, body: Any) -> None:
    """Ask an instance for a change, and print what was done. Exits, unless that is watched."""
    from lbcore.remote.client import ApiClient, ApiError

    try:
        answer = ApiClient(view.url, token).ask(path, method, body)
    except ApiError as error:
        fail(str(error))
    if not view.watch:
        click.echo(json.dumps(answer) if view.as_json else printable(answer["message"]))
        sys.exit(EXIT_WELL)


def every(client: ApiClient, path: str) -> list[dict[str, Any]]:
    """All objects of a list of the API."""
    found: list[dict[str, Any]] = client.ask(f"{path}?per_page=1000000")
    return found


def services_named(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The services of a running instance, for the completion of a shell; none if it cannot be asked."""
    from lbcore.remote.client import ApiClient, ApiError
    from lbcore.remote.show import all_services

    try:
        names = all_services(ApiClient(context.params.get("url") or "http://127.0.0.1:8080").ask("/api/tree"))
    except ApiError:
        return []
    return sorted({node["name"] for _, node in names if node["name"].startswith(incomplete)})
