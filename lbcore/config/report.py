"""Problems as lines for users: one line for a fact, however many objects share it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lines import Lines
from lbcore.config.model import Object
from lbcore.config.rule import rule_hint
from lbcore.config.static import StaticConfig
from lbcore.config.tree import dotted
from lbcore.config.validate.findings import Disabled, Fault
from lbcore.errors import Problem

SECTIONS = {"router": "http.routers", "service": "http.services", "middleware": "http.middlewares"}
SECTIONS |= {"serversTransport": "http.serversTransports", "tcpServersTransport": "tcp.serversTransports"}
SECTIONS |= {"tcpRouter": "tcp.routers", "tcpService": "tcp.services", "tcpMiddleware": "tcp.middlewares"}
SECTIONS |= {"udpRouter": "udp.routers", "udpService": "udp.services", "tlsOptions": "tls.options"}
# Objects refer only to objects of a lower rank.
RANKS = {"serversTransport": 0, "middleware": 1, "service": 2, "router": 3}
RANKS |= {"tcpServersTransport": 0, "tcpMiddleware": 1, "tcpService": 2, "tcpRouter": 3}
RANKS |= {"udpService": 2, "udpRouter": 3}
LABEL, LABELLED = "traefik.", ("container ", "service ")  # before a key; how the place of what has labels begins
# How a warning begins that is about an object.
OF_OBJECT = re.compile(r"(?:(tcp|udp) )?(router|service|middleware) (.+?@[\w-]+)(?=:? )")
OF_ENTRY_POINT = re.compile(r"entry point (\S+?)(?=:? )|entryPoint \"(.+?)\"")
SHOWN = 3  # places that are named; the others are counted


def lines(problems: Iterable[Problem]) -> list[str]:
    """One line for each fact, in the order of first occurrence: file, line, path, problem and hint."""
    groups: dict[tuple[str, ...], list[Problem]] = {}
    for problem in dict.fromkeys(problems):
        groups.setdefault(_fact(problem), []).append(problem)
    return [str(group[0]) if len(group) == 1 else _shared(group) for group in groups.values()]


def _fact(problem: Problem) -> tuple[str, ...]:
    """The identity of a fact: all of a problem but its object, and positions in lists."""
    if not problem.object:
        return (problem.file, problem.path, problem.problem, problem.hint, str(problem.line))
    return (problem.severity, re.sub(r"\[\d+\]", "[]", problem.key), problem.problem, problem.hint)


def _shared(group: Sequence[Problem]) -> str:
    """`dyn.yml: tls (routers a:7, b:15 and 14 more): ...`."""
    first = group[0]
    one_file = all(problem.file == first.file for problem in group)
    owners = list({problem.object: problem for problem in group}.values())
    text = f"{first.file}: " if one_file else ""
    text += f"{_key(first)} ({places(owners, with_files=not one_file)}): {first.problem}"
    return f"{text} ({first.hint})" if first.hint else text


def _key(problem: Problem) -> str:
    return re.sub(r"\[\d+\]", "[]", problem.key) or "all of"


def disabled_lines(disabled: Sequence[Disabled], where: Lines) -> list[str]:
    """One line for each object that cannot run by itself, and one for all that refer to them."""
    own = own_errors(disabled)
    found = [
        f"{spoken(entry.kind)} {entry.name} is disabled: "
        + reasons(entry.kind, entry.name, errors or entry.errors, entry.place, where)
        for entry, errors in zip(disabled, own, strict=True)
        if not entry.follows
    ]
    if followers := [f"{spoken(entry.kind)} {entry.name}" for entry in disabled if entry.follows]:
        more = f" and {len(followers) - SHOWN} more" if len(followers) > SHOWN else ""
        found.append(f"disabled for what they refer to: {', '.join(followers[:SHOWN])}{more}")
    return found


def spoken(kind: str) -> str:
    """A kind of objects in a sentence: `tcpServersTransport` is `TCP serversTransport`."""
    if kind == "tlsOptions":
        return "TLS options"
    return f"{kind[:3].upper()} {kind[3].lower()}{kind[4:]}" if kind.startswith(("tcp", "udp")) else kind


def own_errors(disabled: Sequence[Disabled]) -> list[list[str]]:
    """The errors of each object without those of the objects that it refers to."""
    by_rank = sorted(disabled, key=lambda entry: -RANKS[entry.kind])
    lowest = {id(text): RANKS[entry.kind] for entry in by_rank for text in entry.errors}
    return [[text for text in entry.errors if lowest[id(text)] == RANKS[entry.kind]] for entry in disabled]


def reasons(kind: str, name: str, errors: Sequence[str], place: str, where: Lines) -> str:
    """The errors of an object, each with the file and line of its key."""
    file = place.rpartition(":")[0]
    section, found, previous = SECTIONS[kind].split("."), [], ""
    for error in errors:
        if isinstance(error, Fault) and error.key == ("rule",) and (hint := rule_hint(error)):
            error = Fault(f"{error} ({hint})", *error.key)
        if place and not file and isinstance(error, Fault):
            prefix = LABEL if place.startswith(LABELLED) else ""
            where_it_is = dotted((*section, name.rpartition("@")[0] or name, *error.key))
            found.append(f"{place}: {prefix}{where_it_is}: {error}")
            continue
        if not file or error.startswith(f"{file}:"):
            found.append(error)
            continue
        key = error.key if isinstance(error, Fault) else ()
        # What follows from another object stands there; what is written there is said of that object.
        line = where.line(place, (*section, name.rpartition("@")[0] or name, *key))
        at = f"{file}:{line}" if line else place
        found.append(error if at == previous else f"{at}: {error}")
        previous = at
    return "; ".join(found)


def place_of(kind: str, name: str, errors: Sequence[str], place: str, where: Lines) -> str:
    """Where the first error of an object is written, `dynamic.yml:7`; where the object is, if no more is known."""
    file = place.rpartition(":")[0]
    key = errors[0].key if errors and isinstance(errors[0], Fault) else ()
    line = where.line(place, (*SECTIONS[kind].split("."), name.rpartition("@")[0] or name, *key)) if file else None
    return f"{file}:{line}" if line else place


def with_places(warnings: Iterable[str], dynamic: DynamicConfig, static: StaticConfig) -> list[str]:
    """Warnings that begin with the name of an object, each with the place where that is written before it."""
    return [_with_place(text, dynamic, static) for text in warnings]


def _with_place(text: str, dynamic: DynamicConfig, static: StaticConfig) -> str:
    if found := OF_ENTRY_POINT.match(text):
        point = static.entry_points.get(found[1] or found[2])
        return f"{point.place}: {text}" if point is not None and point.place else text
    if found := OF_OBJECT.match(text):
        layer, kind, name = found.groups()
        thing: Object | None = getattr(getattr(dynamic, layer or "http"), f"{kind}s").get(name)
        if thing is not None and thing.place:
            of_layer = f"{layer} " if layer else ""
            return f"{thing.place}: {of_layer}{kind} {name.rpartition('@')[0]}{text[found.end() :]}"
    return text


def places(problems: Sequence[Problem], *, with_files: bool = False) -> str:
    """`routers a:7, b:15 and 14 more`."""
    kinds: dict[str, list[str]] = {}
    for problem in problems[:SHOWN]:
        kind, _, name = _split(problem.object)
        line = problem.line or problem.object_line
        where = f"{problem.file}:{line}" if with_files else f"{line}"
        kinds.setdefault(kind, []).append(f"{name}:{where}" if line else name)
    shown = ", ".join(f"{kind} {', '.join(names)}" for kind, names in kinds.items())
    return f"{shown} and {len(problems) - SHOWN} more" if len(problems) > SHOWN else shown


def _split(owner: str) -> tuple[str, str, str]:
    """`http.routers.a.b` as kind and name."""
    parts = owner.split(".", 2)
    if parts[0] in ("http", "tcp", "udp") and len(parts) == 3:
        return (parts[1] if parts[0] == "http" else f"{parts[0]} {parts[1]}"), ".", parts[2]
    kind, dot, name = owner.partition(".")
    return ("entry points" if kind == "entryPoints" else kind), dot, name
