"""`lbcore run`: the load balancer, from a configuration or in front of servers that are named."""

from __future__ import annotations

import sys

import click

from lbcore.cli.base import FlagsCommand, print_problems
from lbcore.cli.static import CONFIG, FREE_FORM, find_static, refuse_mistyped


@click.command(cls=FlagsCommand, context_settings=FREE_FORM)
@CONFIG
@click.option(
    "--workers", type=click.IntRange(1, 1024), envvar="LBCORE_WORKERS", help="Worker processes; default: one per core."
)
@click.option(
    "--to", "servers", multiple=True, metavar="SERVER", help="A server to balance over, in place of a configuration."
)
@click.option("--from", "address", default="", metavar="ADDRESS", help="Where to listen with --to; default: :8000.")
@click.pass_context
def run(
    context: click.Context, config: str | None, workers: int | None, servers: tuple[str, ...], address: str
) -> None:
    """Run the load balancer until a signal stops it.

    The static configuration comes from the first of these that exists: the file of --config, a traefik.yml where
    Traefik looks for one, flags (--entryPoints.web.address=:80 ...), a file with another usual name or in another usual
    folder, LBCORE_... (or TRAEFIK_...) variables.
    SIGTERM drains, a second one stops at once; SIGHUP reads the dynamic configuration again.

    Without any configuration: lbcore run --to :8101 --to :8102 balances requests to :8000 over two servers. A server
    is a port, host:port, a URL (http, https, h2c), or tcp:// or udp:// and host:port for connections or datagrams.
    Flags of the static configuration may follow (--accessLog).

    \b
    Exit codes:
      0  stopped by a signal
      1  the configuration is refused, or an address or log file cannot be opened
      2  the command is wrong
      3  the workers cannot be started
    """
    from lbcore.config.lint import lint_static
    from lbcore.config.report import lines
    from lbcore.errors import ConfigError
    from lbcore.tls.material import choose_library, settle_static

    if address and not servers:
        raise click.UsageError("--from needs --to: the address of a configuration stands in its entry points")
    dynamic = None
    try:
        if servers:
            from lbcore.cli.quick import quick

            if config:
                raise click.UsageError("--to and --config exclude each other")
            if context.args:
                refuse_mistyped(context.args)
            static, warnings, dynamic = quick(servers, address or ":8000", context.args)
            origin = f"of the command: {', '.join(servers)}"
        else:
            static, warnings, origin = find_static(config, context.args, "servers: lbcore run --to :8101")
        wrong = [note for note in warnings if note.severity != "warning"]  # a part that does not run, and stops nothing
        for line in lines(wrong):
            click.echo(f"error: {line}", err=True)
        for line in [*lines(note for note in warnings if note not in wrong), *lint_static(static)]:
            click.echo(f"warning: {line}", err=True)
        choose_library(static)
        static = settle_static(static)
    except ConfigError as error:
        for line in lines(error.warnings):
            click.echo(f"warning: {line}", err=True)
        print_problems(error.problems)
        sys.exit(1)
    from lbcore.process import forkserver

    starter = forkserver.start()
    from lbcore.process.leaving import leave
    from lbcore.process.starting import name_process
    from lbcore.process.supervisor import main as supervise

    name_process("lbcore")
    code = supervise(static, workers, origin, dynamic, starter)
    starter.close()
    leave(code)
