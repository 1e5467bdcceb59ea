"""What an instance says at its start, in the log and on a terminal: what it runs, and its addresses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

from lbcore import __version__
from lbcore.api.runtime import Runtime
from lbcore.config.static import StaticConfig
from lbcore.process.colour import BOLD, CYAN, DIM, GREEN, RESET, YELLOW
from lbcore.process.listeners import Listener

Greet = Callable[[StaticConfig, Sequence[Listener], Runtime], None]


def contents(runtime: Runtime) -> str:
    """How many objects of each kind a configuration has, and how many do not run."""
    http, tcp, udp = runtime.dynamic.http, runtime.dynamic.tcp, runtime.dynamic.udp
    counts = {
        "router": len(http.routers) + len(tcp.routers) + len(udp.routers),
        "service": len(http.services) + len(tcp.services) + len(udp.services),
        "server": runtime.servers,
        "middleware": len(http.middlewares) + len(tcp.middlewares),
    }
    text = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())
    disabled = len(runtime.table.disabled) if runtime.table is not None else 0
    return text + (f"; {disabled} disabled" if disabled else "")


def places(static: StaticConfig, listeners: Sequence[Listener]) -> Iterator[str]:
    """The addresses of API, metrics and ping, as far as entry points serve them without a router of the user."""
    urls = {listener.entry_point: _url(static, listener) for listener in listeners if not listener.quic}
    if static.api is not None and static.api.insecure and "traefik" in urls:
        base = urls["traefik"] + static.api.base_path.rstrip("/")
        pages = [f"API on {base}/api/overview", *([f"dashboard on {base}/dashboard/"] if static.api.dashboard else [])]
        yield f"{', '.join(pages)}; lbcore status --api {base}"
    prometheus = static.metrics.prometheus if static.metrics is not None else None
    if prometheus is not None and not prometheus.manual_routing and prometheus.entry_point in urls:
        yield f"metrics on {urls[prometheus.entry_point]}/metrics"
    if static.ping is not None and not static.ping.manual_routing and static.ping.entry_point in urls:
        yield f"ping on {urls[static.ping.entry_point]}/ping"


def greeting(workers: int, origin: str, is_coloured: bool) -> Greet:
    """A function that writes the summary of an instance that serves to standard error, a terminal."""

    def greet(static: StaticConfig, listeners: Sequence[Listener], runtime: Runtime) -> None:
        text = summary(static, listeners, runtime, workers, origin, is_coloured)
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            return  # the terminal has gone

    return greet


def summary(
    static: StaticConfig, listeners: Sequence[Listener], runtime: Runtime, workers: int, origin: str, is_coloured: bool
) -> str:
    """What listens, where the dashboard is, and how many routers and servers there are: a few lines."""

    def painted(text: str, *styles: str) -> str:
        return f"{''.join(styles)}{text}{RESET}" if is_coloured else text

    many = "" if workers == 1 else "s"
    title = painted(f"lbcore {__version__}", BOLD, GREEN)
    lines = ["", f"  {title}  {workers} worker{many}  {painted(f'configuration {origin}', DIM)}", ""]
    urls = {each.entry_point: _url(static, each) for each in listeners if not each.quic}
    rows = list(urls.items())
    if static.api is not None and static.api.insecure and static.api.dashboard and "traefik" in urls:
        rows.append(("dashboard", f"{urls['traefik']}{static.api.base_path.rstrip('/')}/dashboard/"))
    width = max([len(name) for name, _ in rows] + [len("runs")])
    lines += [f"  {painted(name.ljust(width), BOLD)}  {painted(url, CYAN)}" for name, url in rows]
    disabled = len(runtime.table.disabled) if runtime.table is not None else 0
    runs = painted(contents(runtime), *([YELLOW] if disabled else []))
    lines += [f"  {painted('runs'.ljust(width), BOLD)}  {runs}", ""]
    return "".join(f"{line}\n" for line in lines)


def _url(static: StaticConfig, listener: Listener) -> str:
    """Where an entry point is reached from this machine."""
    if listener.is_udp:
        return f"udp {listener.address_text.removesuffix('/udp')}"
    point = static.entry_points[listener.entry_point]
    encrypted = point.http.tls is not None and listener.url.startswith("http://")
    return listener.url.replace("http://", "https://", 1) if encrypted else listener.url
