"""`lbcore stop`: end a running instance, and wait until it has ended."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from lbcore.cli.asking import API, JSON, TOKEN, needs_token
from lbcore.cli.base import EXIT_DOWN, AskingCommand, fail
from lbcore.remote.printable import printable

if TYPE_CHECKING:
    from lbcore.remote.client import ApiClient

POLL_S = 0.1


@click.command(cls=AskingCommand)
@click.option("--wait", is_flag=True, help="Until it has ended.")
@click.option("--timeout", "timeout_s", default=300.0, type=click.FloatRange(0), help="Seconds that --wait waits.")
@API
@JSON
@TOKEN
def stop(wait: bool, timeout_s: float, url: str, as_json: bool, token: str) -> None:
    """End a running instance gracefully, as SIGTERM does: lbcore stop --wait.

    It accepts connections for requestAcceptGraceTimeout, while /ping fails, then finishes what is under way within
    graceTimeOut, and ends. What has started it may start it again: systemd with Restart=always, Kubernetes, and Docker
    with a restart policy do.

    --wait watches the process itself. From another machine or container it cannot, and waits until the API does not
    answer any more; requests that are under way may then take until graceTimeOut.

    \b
    Exit codes:
      0  it is asked for; with --wait: it has ended
      1  the instance cannot be asked, or refuses; the command is wrong
      2  with --wait: it has not ended after the timeout
    """
    from lbcore.remote.client import ApiClient, ApiError

    needs_token(token)
    try:
        client = ApiClient(url, token)
        answer = client.ask("/api/stop", "POST")
    except ApiError as error:
        fail(str(error))
    if not as_json:
        click.echo(printable(answer["message"]))
    if wait:
        answer["ended"] = _has_ended(client, answer["process"], time.monotonic() + timeout_s)
    if as_json:
        click.echo(json.dumps(answer))
    if wait and not answer["ended"]:
        click.echo(f"error: it has not ended after {timeout_s:g} s", err=True)
        raise SystemExit(EXIT_DOWN)


def _has_ended(client: ApiClient, process: dict[str, Any], until_s: float) -> bool:
    """Wait for the end of a process. Returns whether it came in time."""
    is_here = _runs_here(process)
    while _runs_here(process) if is_here else _answers(client, process):
        if time.monotonic() > until_s:
            return False
        time.sleep(POLL_S)
    return True


def _runs_here(process: dict[str, Any]) -> bool:
    """Whether a process of this machine, as this command sees it, is that one."""
    from lbcore.api.used import identity

    try:
        return identity(process["pid"]) == process
    except OSError:
        return False


def _answers(client: ApiClient, process: dict[str, Any]) -> bool:
    """Whether the API still answers for that process, and not for one that was started in its place."""
    from lbcore.remote.client import ApiError

    try:
        return bool(client.ask("/api/state")["end"]["process"] == process)
    except ApiError:
        return False
