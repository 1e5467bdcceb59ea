"""Draw the diagrams of the documentation into docs/pictures: `python ci/pictures.py`. They follow light and dark."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
STYLE = """
text{font:14px system-ui,sans-serif;fill:#1b2733}
.box{fill:#eef4f4;stroke:#2b7a78;stroke-width:1.5}
.soft{fill:none;stroke:#7b8a97;stroke-width:1.2;stroke-dasharray:5 4}
.small{font-size:12px;fill:#4a5a68}
.line{fill:none;stroke:#4a5a68;stroke-width:1.5}
.head{fill:#4a5a68}
@media (prefers-color-scheme:dark){
text{fill:#e6edf2}.box{fill:#16302f;stroke:#5fc4bf}.soft{stroke:#8da0ae}.small{fill:#a9bac7}.line{stroke:#a9bac7}.head{fill:#a9bac7}}
"""


@dataclass
class Picture:
    """A drawing of boxes and arrows. `title` is what a screen reader says."""

    title: str
    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def box(self, x: int, y: int, w: int, h: int, text: str, small: str = "", kind: str = "box") -> None:
        """A box with a line of text, and smaller lines below it."""
        self.parts.append(f'<rect class="{kind}" x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>')
        lines = small.split("\n") if small else []
        top = y + h / 2 + 5 - 8 * len(lines)
        if kind == "soft":
            top = y + 18
        self.text(x + w / 2, top, text)
        for number, line in enumerate(lines, 1):
            self.text(x + w / 2, top + 16 * number, line, "small")

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """Text around a point."""
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        mark = f' class="{kind}"' if kind else ""
        self.parts.append(f'<text{mark} x="{x:g}" y="{y:g}" text-anchor="middle">{escaped}</text>')

    def arrow(self, *points: tuple[int, int], text: str = "") -> None:
        """A line through points, with a head at the last one."""
        path = " ".join(f"{'L' if number else 'M'}{x} {y}" for number, (x, y) in enumerate(points))
        self.parts.append(f'<path class="line" d="{path}" marker-end="url(#h)"/>')
        if text:
            (x1, y1), (x2, y2) = points[0], points[-1]
            self.text((x1 + x2) / 2, (y1 + y2) / 2 - 6, text, "small")

    def save(self, name: str) -> None:
        """Write the file."""
        marker = '<marker id="h" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        marker += '<path class="head" d="M0 0L8 4L0 8z"/></marker>'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img"'
        head += f' width="{self.width}" height="{self.height}"><title>{self.title}</title>'
        body = "\n".join(self.parts)
        (FOLDER / name).write_text(f"{head}\n<style>{STYLE}</style><defs>{marker}</defs>\n{body}\n</svg>\n")


def overview() -> None:
    """What a request meets."""
    drawn = Picture("A request: entry point, router, middlewares, service, server", 900, 250)
    for x, text, small in (
        (10, "client", "HTTP/1.1, 2, 3\nTCP, UDP"),
        (160, "entry point", "address, TLS,\ntimeouts"),
        (310, "router", "rule: host,\npath, header"),
        (460, "middlewares", "limit, log in,\nrewrite"),
        (610, "service", "weights, sticky,\nmirrors"),
    ):
        drawn.box(x, 85, 120, 80, text, small)
    for x in (130, 280, 430, 580):
        drawn.arrow((x, 125), (x + 28, 125))
    for y, text in ((20, "server, weight 3"), (105, "server, weight 1"), (190, "server, down")):
        drawn.box(760, y, 130, 40, text, kind="soft" if "down" in text else "box")
    drawn.arrow((730, 115), (758, 42))
    drawn.arrow((730, 125), (758, 125))
    drawn.save("overview.svg")


def tree() -> None:
    """Services over services."""
    drawn = Picture("A tree of services: weights at each level, health from below", 900, 330)
    drawn.box(360, 10, 180, 50, "shop", "weighted")
    drawn.box(170, 110, 180, 50, "v1", "weight 9")
    drawn.box(550, 110, 180, 50, "v2", "weight 1, failover")
    drawn.arrow((420, 60), (280, 108), text="90 %")
    drawn.arrow((480, 60), (620, 108), text="10 %")
    for x, text in ((20, "10.0.0.1"), (180, "10.0.0.2"), (340, "10.0.0.3")):
        drawn.box(x, 210, 140, 44, text, "down" if x == 340 else "up", kind="soft" if x == 340 else "box")
    drawn.arrow((230, 160), (100, 208))
    drawn.arrow((260, 160), (250, 208))
    drawn.arrow((290, 160), (400, 208))
    drawn.box(520, 210, 160, 44, "canary", "2 servers up")
    drawn.box(720, 210, 160, 44, "fallback", "v1")
    drawn.arrow((620, 160), (600, 208))
    drawn.arrow((670, 160), (790, 208), text="if it fails")
    text = "A service is up while enough of what is below it is up; what is down gets nothing, at every level."
    drawn.text(450, 300, text, "small")
    drawn.save("tree.svg")


def processes() -> None:
    """The supervisor and its workers."""
    drawn = Picture("A supervisor, workers that share memory, and what each of them does", 900, 340)
    drawn.box(330, 10, 240, 70, "supervisor", "configuration, health checks,\nAPI data, signals, log")
    for x, name in ((60, "worker 0"), (340, "worker 1"), (620, "worker 2")):
        drawn.box(x, 140, 220, 60, name, "one event loop: all connections")
        drawn.arrow((450, 80), (x + 110, 138))
    text = "positions of round robin, health, weights, counters, limits, lines of the access log"
    drawn.box(60, 250, 780, 56, "shared memory", text)
    for x in (170, 450, 730):
        drawn.arrow((x, 200), (x, 248))
    drawn.save("processes.svg")


def life() -> None:
    """The life of a request."""
    drawn = Picture("The life of a request, from its first byte to the last byte of the answer", 900, 470)
    steps = (
        ("accept", "PROXY header, TLS, ALPN: which protocol is it"),
        ("read the head", "one reading of every message, or 400"),
        ("find the router", "rules in an index: the cost does not grow with their number"),
        ("middlewares, in order", "each passes, answers, or waits: for a limit, a login, a body"),
        ("choose a server", "the service's strategy, over what all workers know; or a queue"),
        ("gates", "middlewares of the service"),
        ("ask the server", "a connection from the pool, or a new one; the head is written anew"),
    )
    for number, (text, small) in enumerate(steps):
        y = 10 + 64 * number
        drawn.box(40, y, 470, 48, text, small)
        if number:
            drawn.arrow((275, y - 16), (275, y - 2))
    drawn.box(600, 394, 260, 48, "head of the answer", "the first one ends other attempts")
    drawn.arrow((510, 418), (598, 418))
    drawn.box(600, 202, 260, 48, "middlewares, backwards", "compress, errors, headers")
    drawn.arrow((730, 394), (730, 252))
    drawn.box(600, 10, 260, 48, "to the client", "log, counters; the next request")
    drawn.arrow((730, 202), (730, 60))
    drawn.box(600, 298, 260, 48, "another attempt", "a failure before the head", kind="soft")
    drawn.arrow((600, 322), (540, 322), (540, 290), (512, 290))
    drawn.save("life-of-a-request.svg")


def states() -> None:
    """What a server may be, and what changes it."""
    drawn = Picture("The states of a server: up, down, ejected, on trial, slow start, drained", 900, 330)
    drawn.box(360, 130, 180, 60, "up", "gets its share")
    drawn.box(30, 20, 200, 60, "down", "gets nothing", kind="box")
    drawn.box(670, 20, 200, 60, "ejected", "gets nothing, for a time")
    drawn.box(670, 240, 200, 60, "on trial", "one request decides")
    drawn.box(30, 130, 200, 60, "slow start", "a part that grows")
    drawn.box(30, 240, 200, 60, "drained, weight 0", "sessions only")
    drawn.arrow((450, 130), (450, 40), (232, 40))
    drawn.text(345, 30, "health check fails", "small")
    drawn.arrow((130, 80), (130, 128))
    drawn.text(205, 110, "health check succeeds", "small")
    drawn.arrow((230, 160), (358, 160))
    drawn.text(294, 152, "time passes", "small")
    drawn.arrow((540, 145), (600, 145), (600, 50), (668, 50))
    drawn.text(600, 36, "requests fail", "small")
    drawn.arrow((770, 80), (770, 238))
    drawn.text(814, 165, "time is over", "small")
    drawn.arrow((670, 270), (600, 270), (600, 175), (542, 175))
    drawn.text(600, 290, "it succeeds", "small")
    drawn.arrow((860, 240), (860, 82))
    drawn.text(828, 110, "it fails", "small")
    drawn.arrow((430, 190), (430, 258), (232, 258))
    drawn.text(330, 250, "lbcore drain", "small")
    drawn.arrow((230, 284), (480, 284), (480, 192))
    drawn.text(355, 302, "lbcore undrain", "small")
    drawn.save("states.svg")


def stop() -> None:
    """The phases of a graceful stop."""
    drawn = Picture("A graceful stop: accept on, drain, close", 900, 190)
    drawn.arrow((20, 60), (880, 60))
    for x, text in ((60, "SIGTERM"), (380, "entry points close"), (700, "the rest closes; exit")):
        drawn.parts.append(f'<path class="line" d="M{x} 50L{x} 70"/>')
        drawn.text(x, 38, text)
    drawn.box(70, 84, 300, 80, "requestAcceptGraceTimeout", "new connections are served;\n/ping answers 503")
    drawn.box(390, 84, 300, 80, "graceTimeOut", "no new connections; requests in\nflight finish: Connection: close")
    drawn.save("stop.svg")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for draw in (overview, tree, processes, life, states, stop):
        draw()
