"""The command: run the load balancer, check configurations, print their schema."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lbcore import __version__
from lbcore.process import standard

if TYPE_CHECKING:
    from lbcore.config.static import StaticConfig
    from lbcore.errors import Problem

Arguments = list[str]
USUAL_FILES = ("lbcore.yml", "lbcore.yaml", "lbcore.toml", "traefik.yml", "traefik.yaml", "traefik.toml")
USUAL_FOLDERS = (".", "~/.config", "/etc/lbcore", "/etc/traefik")
FREE_FORM = {"ignore_unknown_options": True, "allow_extra_args": True}


class Command(click.Command):
    """A command to which `-host` is a mistyped option, and not `-h` with a value."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes."""
        return super().parse_args(ctx, [f"-{arg}" if arg.startswith("-h") and len(arg) > 2 else arg for arg in args])


class RunCommand(click.Command):
    """A command that accepts Traefik's flags in all their forms: with one dash or two, in any case."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes: flags of the static configuration."""
        own = {option.lower(): option for parameter in self.params for option in parameter.opts}
        found = []
        for arg in args:
            flag, equals, value = (f"-{arg}" if re.match(r"-[A-Za-z]{2}|-[A-Za-z]\.", arg) else arg).partition("=")
            found.append(own.get(flag.lower(), flag) + equals + value)
        return super().parse_args(ctx, found)


class StatusCommand(Command):
    """A command that exits with 1 if its arguments are wrong, because 2 has another meaning."""

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The arguments that no option takes."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.exit_code = 1  # type: ignore[misc]
            raise


class Commands(click.Group):
    """The group of commands, which suggests the command that was probably meant."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: Arguments) -> Arguments:
        """The command and its arguments."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            raise click.UsageError(f"a command is missing; did you mean: lbcore run {' '.join(args)}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: Arguments
    ) -> tuple[str | None, click.Command | None, Arguments]:
        """The command that is named. Raises UsageError."""
        if args[0] not in self.commands:
            close = difflib.get_close_matches(args[0], self.commands, 1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(self.commands))}"
            raise click.UsageError(f"no such command: {args[0]!r}; {meant}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lbcore")
def main() -> None:
    """An L7 load balancer and edge proxy, configured by Traefik's own files."""
    standard.fill()


@main.command(cls=RunCommand, context_settings=FREE_FORM)
@click.option("--config", "--configFile", "config", type=click.Path(dir_okay=False), help="Static configuration file.")
@click.option(
    "--workers", type=click.IntRange(1, 1024), envvar="LBCORE_WORKERS", help="Worker processes; default: one per core."
)
@click.pass_context
def run(context: click.Context, config: str | None, workers: int | None) -> None:
    """Run the load balancer until a signal stops it.

    The static configuration comes from the first of these that exists: flags (--entryPoints.web.address=:80 ...), a
    file, LBCORE_... (or TRAEFIK_...) variables. Without --config, the usual names and folders are searched for a file.
    SIGTERM drains, a second one stops at once; SIGHUP reads the dynamic configuration again.
    """
    from lbcore.config.lint import lint_static
    from lbcore.config.report import lines
    from lbcore.errors import ConfigError
    from lbcore.tls.material import choose_library, settle_static

    try:
        static, warnings, origin = _static(config, context.args)
        for line in [*lines(warnings), *lint_static(static)]:
            click.echo(f"warning: {line}", err=True)
        choose_library(static)
        static = settle_static(static)
    except ConfigError as error:
        for line in lines(error.warnings):
            click.echo(f"warning: {line}", err=True)
        _print_problems(error.problems)
        sys.exit(1)
    from lbcore.process.supervisor import main as supervise

    sys.exit(supervise(static, workers, origin))


def _static(config: str | None, flags: Sequence[str]) -> tuple[StaticConfig, list[Problem], str]:
    from lbcore.config.load import load_static_with_warnings
    from lbcore.config.sources import from_environment, from_flags, is_in_environment
    from lbcore.errors import ConfigError, Problem

    if flags:
        _refuse_mistyped(flags)
        if config:
            raise ConfigError([Problem("", "flags and --config exclude each other", "put everything in one of them")])
        return *from_flags(flags), "flags"
    path = config or os.environ.get("LBCORE_CONFIG") or _usual_file()
    if path:
        return *load_static_with_warnings(path), str(path)
    if is_in_environment(os.environ):
        return *from_environment(os.environ), "environment"
    raise ConfigError([Problem("", "no static configuration", "give --config FILE, flags, or LBCORE_... variables")])


def _refuse_mistyped(flags: Sequence[str]) -> None:
    """Raise UsageError for an argument that is no flag of the static configuration, and looks like something else."""
    from lbcore.config.decode import EXTENSIONS, keys_of
    from lbcore.config.static import StaticConfig

    names = (EXTENSIONS, *StaticConfig.missing, *StaticConfig.ignored, *keys_of(StaticConfig))
    keys = {key.lower(): key for key in names}
    known = ["--config", "--workers", *(f"--{key}" for key in keys.values())]
    for flag in flags:
        name = re.split(r"[=.\[]", flag)[0]
        if flag.startswith("--") and name[2:].lower() not in keys:
            close = difflib.get_close_matches(name, known, 1)
            meant = f"did you mean {close[0]}?" if close else "see lbcore run --help"
            raise click.UsageError(f"no such option: {name}; {meant}")
    if not flags[0].startswith("-"):
        meant = f"did you mean --config {flags[0]}?" if os.path.isfile(flags[0]) else "options are --key=value"
        raise click.UsageError(f"{flags[0]!r} is no option; {meant}")


def _usual_file() -> Path | None:
    # Of a user without a home, the folder is taken literally.
    found = (Path(os.path.expanduser(folder), name) for folder in USUAL_FOLDERS for name in USUAL_FILES)
    return next((path for path in found if os.path.isfile(path)), None)  # False also for what may not be seen


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--config", multiple=True, type=click.Path(path_type=Path), help="A file to check, named as for `run`.")
@click.option("--provider", default="", help="Show what this provider finds now: docker, swarm, ...")
@click.option("--endpoint", default="", help="The address to ask, in place of the provider's own.")
def check(files: tuple[Path, ...], config: tuple[Path, ...], provider: str, endpoint: str) -> None:
    """Check configuration files, static or dynamic as their keys show, or a directory of dynamic ones.

    With --provider, ask a live store (Docker, ...) what it would give, by the settings of the static file if one is
    named.

    A static file is checked together with the dynamic configuration that its file provider names. Prints what would
    run, and all problems and warnings, one line each.

    Exits with 0 if everything runs, with 1 if the configuration is refused or a part of it cannot run, and with 2 if
    the command is wrong.
    """
    from lbcore.process.check import check_file, check_store
    from lbcore.provider.registry import STORES

    files += config
    if provider and provider not in STORES:
        raise click.UsageError(f"no such provider: {provider}; there are {', '.join(STORES)}")
    if not provider and (endpoint or not files):
        raise click.UsageError("--endpoint needs --provider" if endpoint else "name a file, a directory, or --provider")
    if provider and len(files) > 1:
        raise click.UsageError("--provider goes with one static file at most")
    found = 0
    for file in files or (None,):
        report = check_store(provider, file, endpoint) if provider else check_file(file or Path())
        for line in report.runs:
            click.echo(line)
        for line in report.warnings:
            click.echo(f"warning: {line}", err=True)
        for line in report.problems:
            click.echo(f"error: {line}", err=True)
        found += len(report.problems)
    if found:
        click.echo(f"{found} problem{'s' if found > 1 else ''}", err=True)
    sys.exit(1 if found else 0)


def _print_problems(problems: Sequence[Any]) -> None:
    from lbcore.config.report import lines

    found = lines(problems)
    for line in found:
        click.echo(f"error: {line}", err=True)
    if found:
        click.echo(f"{len(found)} problem{'s' if len(found) > 1 else ''}", err=True)


@main.command()
@click.argument("kind", type=click.Choice(["static", "dynamic"]), default="dynamic")
@click.option("--python", "classes", multiple=True, metavar="PACKAGE.MODULE:CLASS", help="Add the options of a class.")
def schema(kind: str, classes: tuple[str, ...]) -> None:
    """Print the JSON Schema of the dynamic (or the static) configuration, for editors.

    It has the options of middlewares in Python that installed packages bring.
    """
    from lbcore.config.dynamic import DynamicConfig
    from lbcore.config.static import StaticConfig
    from lbcore.middleware.classes import with_options

    model = StaticConfig if kind == "static" else DynamicConfig
    text = model.model_json_schema(by_alias=True)
    if kind == "dynamic":
        try:
            text = with_options(text, [*classes])
        except ValueError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)
    text["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(text, indent=2))


API_OPTION = click.option(
    "--api", "url", default="http://127.0.0.1:8080", envvar="LBCORE_API", show_default=True, help="Where its API is."
)


@main.command(cls=StatusCommand)
@API_OPTION
def status(url: str) -> None:
    """Show the services of a running instance as a tree: status, causes, weights, requests.

    Exits with 0 if there is no problem; with 2 if traffic or redundancy is lost, or configuration is not in force, and
    names each problem with the routers concerned; with 1 if the instance cannot be reached.
    """
    from lbcore.remote.client import ApiClient, ApiError
    from lbcore.remote.show import console_for, problem_lines, provider_lines, trees

    try:
        client = ApiClient(url)
        asked = ("version", "overview", "tree", "state")
        version, overview, roots, state = (client.ask(f"/api/{name}") for name in asked)
    except ApiError as error:
        _fail(str(error))
    console = console_for(sys.stdout)
    console.print(f"lbcore {version['Version']}, since {version['startDate']}", highlight=False)
    if state["tls"]:
        console.print(f"TLS by {state['tls']}", highlight=False)
    for layer in ("http", "tcp", "udp"):
        counts = ", ".join(
            f"{n['total']} {kind.removesuffix('s') if n['total'] == 1 else kind} ({n['errors']} disabled)"
            for kind, n in overview[layer].items()
        )
        if layer == "http" or any(n["total"] for n in overview[layer].values()):
            console.print(f"{layer.upper()}: {counts}", highlight=False)
    for line in [*provider_lines(state), *problem_lines(state)]:
        console.print(line)
    for tree in trees(roots):
        console.print(tree)
    sys.exit(2 if state["problems"] else 0)


@main.command()
@API_OPTION
@click.option("--interval", "seconds", default=1.0, type=click.FloatRange(0.1, 60), help="Seconds between two looks.")
@click.option("--count", default=0, type=click.IntRange(0), help="Looks after which to end; 0: none.")
def top(url: str, seconds: float, count: int) -> None:
    """Show requests per second of every server of a running instance, until interrupted."""
    import time

    from rich.live import Live

    from lbcore.remote.client import ApiClient, ApiError
    from lbcore.remote.show import console_for, rates

    try:
        client = ApiClient(url)
        before, looked = client.ask("/api/tree"), time.monotonic()
        console = console_for(sys.stdout)
        first = rates(before, before, 1)
        with Live(first, console=console, auto_refresh=False, transient=not console.is_terminal) as live:
            while True:
                time.sleep(seconds)
                now, at = client.ask("/api/tree"), time.monotonic()
                table = rates(before, now, at - looked)
                if console.is_terminal:
                    live.update(table, refresh=True)
                else:
                    console.print(table)
                before, looked = now, at
                count -= 1
                if count == 0:
                    break
    except ApiError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        pass


@main.command()
@click.argument("service")
@click.argument("weights", nargs=-1)
@click.option("--reset", is_flag=True, help="End all overrides of the service.")
@click.option("--force", is_flag=True, help="Even if no member is left to choose, and requests are refused.")
@click.option("--token", envvar="LBCORE_API_TOKEN", default="", help="The value of api.token.")
@API_OPTION
def weights(service: str, weights: tuple[str, ...], reset: bool, force: bool, token: str, url: str) -> None:
    """Override weights of a service of a running instance: lbcore weights shop v1=90 v2=10.

    Overrides stay until they are reset, also over reloads, and `lbcore status` shows them. Weights that leave the
    service without a member to choose need --force.
    """
    from urllib.parse import quote

    from lbcore.remote.client import ApiClient, ApiError

    if reset == bool(weights):
        _fail("give weights like v1=90 v2=10, or --reset")
    wanted = {}
    for pair in weights:
        key, _, number = pair.rpartition("=")
        if not key or not (number.isascii() and number.isdigit()):
            _fail(f"{pair!r} is no weight: write name=number")
        if key in wanted:
            _fail(f"{key} is given two weights")
        wanted[key] = int(number)
    if not token:
        _fail("a token is missing: give the value of `api.token` in the static file as --token or in LBCORE_API_TOKEN")
    try:
        path = f"/api/http/services/{quote(service, safe='@')}/weights{'?force=true' if force else ''}"
        answer = ApiClient(url, token).ask(path, "DELETE" if reset else "PUT", None if reset else wanted)
    except ApiError as error:
        _fail(str(error))
    health = answer["health"]
    for part in [*health.get("children", []), *health.get("servers", [])]:
        override = " (overridden)" if "overriddenWeight" in part else ""
        click.echo(f"{part.get('key') or part['url']}: {part['effectiveWeight']}{override}")


@main.command()
@click.option("--config", "--configFile", "config", required=True, type=click.Path(exists=True, dir_okay=False))
@click.argument("request")
@click.option("-H", "--header", "headers", multiple=True, help="A header of the request, 'Name: value'.")
@click.option("--client", default="192.0.2.1", help="Address of the client.")
@click.option("--entry-point", default="", help="The entry point that receives it; default: the first one.")
def explain(config: str, request: str, headers: tuple[str, ...], client: str, entry_point: str) -> None:
    """Explain the route of a request: lbcore explain --config traefik.yml 'GET http://shop.test/cart' -H 'X-QA: 1'.

    The file is a static one, or a dynamic one alone, whose entry points are then assumed. Shows which router matches
    and why the others do not, the middlewares, each level of services with its weights, and the server. Assumes that
    all servers are healthy; no request is sent.
    """
    from lbcore.api.explain import assumed_static
    from lbcore.api.explain import explain as explain_lines
    from lbcore.api.runtime import Runtime
    from lbcore.config.load import is_static, load_dynamic, load_static
    from lbcore.errors import ConfigError
    from lbcore.process.snapshot import Publisher
    from lbcore.provider.merge import merge
    from lbcore.state.region import Region

    try:
        if is_static(Path(config)):
            static = load_static(config)
            file = static.providers.file
            if file is None:
                _fail(f"{config} names no file provider: it has nothing to explain")
            dynamic, _ = load_dynamic(file.filename or file.directory)
        else:
            dynamic, _ = load_dynamic(config)
            static = assumed_static(dynamic)
        region = Region.create(1)
        runtime = Runtime(static, region, "unix:/")
        snapshot = Publisher(region, "unix:/").publish(merge({"file": dynamic}))
        runtime.update(snapshot.dynamic, snapshot.slots)
        for line in explain_lines(runtime, request, headers, client, entry_point):
            click.echo(line)
    except ConfigError as error:
        _print_problems(error.problems)
        sys.exit(1)
    except ValueError as error:
        _fail(str(error))


@main.group(cls=Commands)
def cert() -> None:
    """See the certificates of files and of a running instance, and manage those of the certificatesResolvers."""


@cert.command("list")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@API_OPTION
def list_certificates(files: tuple[Path, ...], url: str) -> None:
    """List certificates with the days they have left: those of PEM files, or of a running instance.

    Exit code 0: all is well. 2: one has expired. 1: a file cannot be read, or the instance cannot be asked.
    """
    views = [view for file in files for view in _certificates_in(file)] if files else _certificates_of(url)
    for view in views:
        names = ", ".join(view["sans"]) or view["commonName"] or "no name"
        click.echo(f"{_left(view)}  {view['keyType']} {view['keySize']}  {names}  {view['name'][:16]}")
    sys.exit(2 if any(view["status"] == "expired" for view in views) else 0)


@cert.command("show")
@click.argument("name")
@API_OPTION
def show_certificate(name: str, url: str) -> None:
    """Show one certificate: of a PEM file, or of a running instance by a host, a common name, or a fingerprint."""
    if os.path.isfile(name):
        views = _certificates_in(Path(name))
    else:
        star = f"*.{name.partition('.')[2]}"
        views = [
            view
            for view in _certificates_of(url)
            if name in (*view["sans"], view["commonName"]) or star in view["sans"] or view["name"].startswith(name)
        ]
    if not views:
        _fail(f"no certificate for {name}: see lbcore cert list")
    for view in views:
        for key, value in view.items():
            click.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
        click.echo(f"left: {_left(view)}")


def _left(view: dict[str, Any]) -> str:
    """How long a certificate is good for."""
    from datetime import UTC, datetime

    days = (datetime.fromisoformat(view["notAfter"]) - datetime.now(UTC)).days
    return f"{days:>4} days" if view["status"] != "expired" else "expired  "


def _certificates_in(file: Path) -> list[dict[str, Any]]:
    from lbcore.tls.describe import described

    try:
        text = file.read_text()
        end = "-----END CERTIFICATE-----"
        parts = [part + end for part in text.split(end)[:-1]]
        if not parts:
            raise ValueError("no certificate in PEM form")
        return [described(part).view() for part in parts]
    except OSError as error:
        _fail(f"{file} cannot be read: {(error.strerror or str(error)).lower()}")
    except ValueError as error:
        _fail(f"{file}: {error}")


def _certificates_of(url: str) -> list[dict[str, Any]]:
    from lbcore.remote.client import ApiClient, ApiError

    try:
        found: list[dict[str, Any]] = ApiClient(url).ask("/api/certificates?per_page=10000")
    except ApiError as error:
        _fail(str(error))
    return found


@cert.command()
@click.argument("names", nargs=-1)
@click.option("--token", envvar="LBCORE_API_TOKEN", default="", help="The value of api.token.")
@API_OPTION
def renew(names: tuple[str, ...], token: str, url: str) -> None:
    """Make a running instance order certificates now: those that serve any of NAMES, or all.

    This also ends the waits after failed orders. The present certificates are served meanwhile.
    """
    from lbcore.remote.client import ApiClient, ApiError

    if not token:
        _fail("a token is missing: give the value of `api.token` in the static file as --token or in LBCORE_API_TOKEN")
    try:
        answer = ApiClient(url, token).ask("/api/certificates/renew", "POST", {"names": list(names)})
    except ApiError as error:
        _fail(str(error))
    for ordered in answer["ordered"]:
        click.echo(f"ordering a certificate for {', '.join(ordered)}")


@cert.command("import")
@click.option("--config", "--configFile", "config", required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--resolver", default="", help="The resolver whose storage to use; default: the only one.")
@click.argument("certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("key", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
def import_certificate(config: str, resolver: str, certificate: Path, key: Path | None) -> None:
    """Add a certificate with its chain and key to the storage of a resolver, which serves it instead of ordering one.

    Without KEY the file is an acme.json of Traefik or lbcore, and all certificates of the resolver in it are added. A
    running instance serves them within ten seconds.
    """
    from lbcore.config.load import load_static
    from lbcore.errors import ConfigError

    try:
        static = load_static(config)
        from lbcore.acme.importing import import_into

        for line in import_into(static, resolver, certificate, key):
            click.echo(line)
    except ConfigError as error:
        _print_problems(error.problems)
        sys.exit(1)
    except ValueError as error:
        _fail(str(error))


def _fail(problem: str) -> NoReturn:
    click.echo(f"error: {problem}", err=True)
    sys.exit(1)
