"""`lbcore tap`: single requests of a running instance as they pass."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

from lbcore.cli.asking import API
from lbcore.cli.base import EXIT_CANNOT_ASK, EXIT_WELL, AskingCommand, fail

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {"2": "green", "3": "green", "4": "yellow", "5": "red"}  # by the first digit of a status


@click.command(cls=AskingCommand)
@click.option("--router", default="", help="Of this router.")
@click.option("--service", default="", help="That this service has served.")
@click.option("--server", default="", help="That this server has answered, by its URL.")
@click.option("--status", default="", help="404, 5xx, 500-504, none (no answer), or several with commas.")
@click.option("--method", default="", help="GET, POST, …")
@click.option("--path", default="", metavar="PREFIX", help="Whose path begins so.")
@click.option("--client", default="", metavar="CIDR", help="From this address or network.")
@click.option("--rate", default=10, type=click.IntRange(1, 100), show_default=True, help="Most requests a second.")
@click.option("--for", "duration", default="", metavar="TIME", help="End after 30s, 1m, …; else when interrupted.")
@API
@click.option("--json", "as_json", is_flag=True, help="Print JSON: one line for each request.")
def tap(url: str, as_json: bool, rate: int, duration: str, **filters: str) -> None:
    """Show single requests as they pass, when they have ended: lbcore tap --service shop --status 5xx.

    For each: when it ended, client, method, URL, status, duration, service, server, repetitions. Of those that fit,
    --rate are shown each second; how many more there were is said at the end. Requests are shown that the access log
    would have, and of these only what it would show by its `fields`; queries only if there is an access log that keeps
    them.

    \b
    Exit codes:
      0  they were shown, until interrupted or for the time of --for
      1  the instance cannot be asked, refuses, or has ended
    """
    from lbcore.remote.client import ApiClient, ApiError
    from lbcore.remote.show import console_for

    asked = {key: value for key, value in filters.items() if value} | {"rate": rate}
    if duration:
        asked["for"] = duration
    console = console_for(sys.stdout)
    counts: dict[str, int] = {}
    code = EXIT_CANNOT_ASK
    try:
        for name, data in ApiClient(url).events(f"/api/tap?{urlencode(asked)}"):
            if name == "request":
                if as_json:
                    click.echo(json.dumps(data))
                else:
                    console.print(line_of(data), highlight=False, markup=False, soft_wrap=True)
                sys.stdout.flush()
            elif name in ("counts", "end"):
                counts = data
                if name == "end":
                    code = EXIT_WELL
                    break
    except KeyboardInterrupt:
        code = EXIT_WELL
    except ApiError as error:
        fail(str(error))
    click.echo(summary_of(counts, rate), err=True)
    if code:
        fail("the instance has ended the stream")
    sys.exit(code)


def line_of(request: dict[str, Any]) -> Text:
    """One request in one line; what the access log drops is missing."""
    from rich.text import Text

    millis = request["time"] % 1000
    text = Text(f"{time.strftime('%H:%M:%S', time.localtime(request['time'] // 1000))}.{millis:03d}", "dim")
    status = str(request.get("status", "-"))
    query = f"?{request['query']}" if "query" in request else ""
    parts = [
        (request.get("client") or "-", ""),
        (request.get("method") or "-", ""),
        (f"{request.get('host', '')}{request.get('path', '')}{query}" or "-", ""),
        ("none" if status == "0" else status, COLOURS.get(status[0], "red")),
        (f"{request['ms']:g} ms" if "ms" in request else "-", ""),
        (request.get("service") or request.get("router") or "-", ""),
        (f"-> {request['server']}" if "server" in request else "", ""),
        (f"({request['retries']} repeated)" if request.get("retries") else "", "yellow"),
    ]
    for part, style in parts:
        if part:
            text.append(" ").append(part, style)
    return text


def summary_of(counts: dict[str, int], rate: int) -> str:
    """How many were shown, and how many were not."""
    shown, skipped, lost = (counts.get(key, 0) for key in ("shown", "skipped", "lost"))
    text = f"{shown} request{'' if shown == 1 else 's'} shown"
    if skipped:
        text += f"; {skipped} more fitted: --rate is {rate} a second"
    return text + (f"; {lost} lost for want of room" if lost else "")
