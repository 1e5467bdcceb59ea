"""The command `lbcore`: one module for each of its commands, which load what they need when they run."""

from __future__ import annotations

import click

from lbcore import __version__
from lbcore.cli.base import Commands
from lbcore.cli.cert import cert
from lbcore.cli.check import check
from lbcore.cli.completion import completion
from lbcore.cli.explain import explain
from lbcore.cli.healthcheck import healthcheck
from lbcore.cli.log_level import log_level
from lbcore.cli.man import man
from lbcore.cli.maxima import maxima
from lbcore.cli.members import drain, eject, reset, undrain
from lbcore.cli.memory import memory
from lbcore.cli.ping_switch import ping
from lbcore.cli.reload import reload
from lbcore.cli.routes import routes
from lbcore.cli.run import run
from lbcore.cli.schema import schema
from lbcore.cli.sessions import sessions
from lbcore.cli.status import status
from lbcore.cli.stop import stop
from lbcore.cli.tap import tap
from lbcore.cli.top import top
from lbcore.cli.weights import weights
from lbcore.process import standard


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lbcore")
def main() -> None:
    """An L7 and L4 load balancer and edge proxy, configured by Traefik's own files."""
    standard.fill()
    standard.say_what_can_be_said()


for command in (
    *(run, check, schema, explain, status, top, tap, maxima, routes, weights, drain, undrain, eject, reset),
    *(sessions, reload, ping, log_level, memory, stop, healthcheck, cert, completion, man),
):
    main.add_command(command)
