"""`lbcore reload`: have a running instance read its dynamic configuration again, and tell what came of it."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import TOKEN, Look, View, needs_token, viewing
from lbcore.cli.base import EXIT_DOWN, EXIT_WELL, AskingCommand, fail
from lbcore.errors import system_message_of
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

POLL_S = 0.05


@click.command(cls=AskingCommand)
@click.option("--wait", is_flag=True, help="Until all workers run it, or it is refused.")
@click.option("--timeout", "timeout_s", default=30.0, type=click.FloatRange(0), help="Seconds that --wait waits.")
@click.option("--pid", type=click.IntRange(2), help="Send SIGHUP to this process, in place of asking its API.")
@TOKEN
@viewing()
def reload(wait: bool, timeout_s: float, pid: int | None, token: str, view: View) -> None:
    """Have a running instance read its dynamic configuration again, as SIGHUP does.

    With --wait, prints what has changed, or why the configuration is not in force. If nothing has, it prints the last
    change: lbcore follows files by itself, and may have read them before it is asked. With --watch, goes on to show
    that, also of later changes.

    \b
    Exit codes:
      0  it is asked for; with --wait or --watch: all workers run the configuration as it is written
      1  the instance cannot be asked, or refuses; the command is wrong
      2  with --wait or --watch: the configuration, or a part of it, is not in force
    """
    from lbcore.remote.client import ApiClient, ApiError

    try:
        client = ApiClient(view.url, token)
        if pid is None:
            needs_token(token)
            before = client.ask("/api/reload", "POST")
        else:
            before = client.ask("/api/state")["reload"] if wait else {}
            try:
                os.kill(pid, signal.SIGHUP)
            except OSError as error:
                fail(f"process {pid}: {system_message_of(error)}")
        state = _outcome(client, before, timeout_s) if wait else {}
    except ApiError as error:
        fail(str(error))
    if view.watch:
        view.again(lambda: _seen(client.ask("/api/state")))
    if wait:
        _tell(_seen(state), view.as_json)
    elif view.as_json:
        _print(before)


def _outcome(client: ApiClient, before: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """The state when the reload has come to an end."""
    until = time.monotonic() + timeout_s
    while True:
        state: dict[str, Any] = client.ask("/api/state")
        reload = state["reload"]
        running = [each["generation"] for each in state["workers"] if each["state"] == "running"]
        if reload["failures"] > before["failures"] and reload["refused"]:
            return state
        if reload["inForce"] > before["inForce"] and all(each >= reload["generation"] for each in running):
            return state
        if time.monotonic() > until:
            fail(f"the reload has not come to an end within {timeout_s:g} s")
        time.sleep(POLL_S)


def _seen(state: dict[str, Any]) -> Look:
    """What is in force, and what is not."""
    reload = state["reload"]
    problems = [each["text"] for each in state["problems"] if _is_of_configuration(each)]
    if reload["refused"]:
        said = f"refused: configuration {reload['generation']} stays"
    else:
        changed = reload.get("changed") or f"nothing has changed{_since(reload.get('lastChange'))}"
        said = f"configuration {reload['generation']} is in force: {changed}"
    shown: list[Any] = [said, *(f"error: {text}" for text in problems)]
    return Look({**reload, "problems": problems}, shown, EXIT_DOWN if problems else EXIT_WELL)


def _tell(found: Look, as_json: bool) -> None:
    """Print it once: what is not in force among the errors."""
    if as_json:
        _print(found.data)
    else:
        for number, line in enumerate(found.shown):
            click.echo(printable(str(line)), err=number > 0)
    if found.code:
        raise SystemExit(found.code)


def _since(last: dict[str, Any] | None) -> str:
    """The last change: a file that was saved is often in force before anyone has asked."""
    return f" since configuration {last['generation']} of {last['time']}: {last['changed']}" if last else ""


def _is_of_configuration(problem: dict[str, Any]) -> bool:
    """Whether something is not in force as it is written: refused, disabled, or kept in its previous version."""
    return problem["object"] == "configuration" or " is disabled: " in problem["text"] or (
        " runs in the version before: " in problem["text"]
    )


def _print(data: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(data))
