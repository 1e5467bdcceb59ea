"""`lbcore check`: the same loading, checking and compiling as `lbcore run`, without starting anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_snake

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.lines import Lines, split_place
from lbcore.config.lint import lint, lint_static
from lbcore.config.load import (
    Loaded,
    foreign_to_traefik,
    is_blank,
    is_folder,
    is_static,
    load_objects,
    load_static_with_warnings,
)
from lbcore.config.report import SECTIONS, disabled_lines, lines, own_errors, spoken
from lbcore.config.resolved import trees_of
from lbcore.config.rule import rule_hint
from lbcore.config.static import StaticConfig
from lbcore.config.static.providers import PRECEDENCE
from lbcore.config.tls import RouterTls
from lbcore.config.tree import dotted
from lbcore.config.validate.findings import Disabled, Fault
from lbcore.errors import ConfigError, Problem
from lbcore.process.preflight import start_problems
from lbcore.provider.follow import Reading, Store, reason_of
from lbcore.provider.merge import merge
from lbcore.provider.registry import STORES, provider_warnings, stores_of, type_of_store, with_endpoint
from lbcore.routing.compile import find_problems
from lbcore.tls.material import choose_library, library_name, settle, settle_static

CANNOT_RUN = re.compile(r"(?:^|: )((?:tcp )?router \S+ )cannot run\b")  # a warning about what stands in its place


@dataclass(slots=True)
class Report:
    """What would run, warnings about it, and what would not run."""

    runs: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check_file(path: Path, for_traefik: bool = False) -> Report:
    """The report of a static file with the dynamic configuration of its provider, or of a dynamic file or directory.

    for_traefik  what Traefik would refuse of these files is a problem, too.
    """
    report = Report()
    try:
        if not is_folder(path) and is_blank(path):
            hint = "set entryPoints and providers, or http, tcp or udp"
            raise ConfigError([Problem("", "no configuration in this file", hint, str(path))])
        static = _static(path, report) if _is_static(path) else None
        if static is None:
            _check_dynamic(path, None, report)
        elif (file := static.providers.file) is None and (others := _stores(static)):
            report.warnings += find_problems(DynamicConfig(), static)[1]
            shown = " and ".join(f"lbcore check --provider {name} {path}" for name in others)
            report.runs.append(f"{path}: what provider {', '.join(others)} says is shown by {shown}")
        elif file is None and static.providers.rest is not None:
            report.warnings += find_problems(DynamicConfig(), static)[1]
            report.runs.append(f"{path}: the provider rest gets what clients put there, which is not known here")
        elif file is None:
            report.warnings += find_problems(DynamicConfig(), static)[1]
            text = "no provider is configured: there is nothing to route to but lbcore's own services"
            report.warnings.append(f"{path}: {text}")
        else:
            source = Path(file.filename or file.directory)
            try:
                _check_dynamic(source, static, report)
            except ConfigError as error:
                raise ConfigError([_beside(path, source, p) for p in error.problems], error.warnings) from None
    except ConfigError as error:
        report.problems += lines(error.problems)
        _sort(error.warnings, report)
    if for_traefik:
        _check_portable(path, report)
    return report


def _check_portable(path: Path, report: Report) -> None:
    """Report what Traefik would refuse."""
    with contextlib.suppress(ConfigError):  # a file that cannot be read is among the problems
        if not _is_static(path):
            _sort(foreign_to_traefik(path, DynamicConfig), report)
            return
        _sort(foreign_to_traefik(path, StaticConfig), report)
        if (file := load_static_with_warnings(path)[0].providers.file) is not None:
            _sort(foreign_to_traefik(file.filename or file.directory, DynamicConfig), report)


def check_store(name: str, path: Path | None, endpoint: str = "") -> Report:
    """The report of what a provider finds in its store now, which is asked.

    path      the static file with its settings, and with the file provider to whose objects it may refer.
    endpoint  the address of the store, in place of that in the settings.
    """
    report = Report()
    try:
        static = _static(path, report) if path is not None else StaticConfig()
        settings = getattr(static.providers, STORES[name])
        if settings is None:
            settings = type_of_store(name)()
        if endpoint:
            settings = with_endpoint(settings, endpoint)
        static = static.model_copy(update={"providers": static.providers.model_copy(update={STORES[name]: settings})})
        others = {}
        if path is not None and (file := static.providers.file) is not None:
            others["file"] = settle(load_objects(Path(file.filename or file.directory)).config)[0]
        stores = stores_of(static, name)
    except ConfigError as error:
        report.problems += lines(error.problems)
        _sort(error.warnings, report)
        return report
    for store in stores:
        try:
            reading = asyncio.run(_read(store))
        except ConfigError as error:
            report.problems += lines(error.problems)
        except Exception as error:
            report.problems.append(f"provider {store.name}: {reason_of(error)}")
        else:
            _add_reading(store, reading, others, static, path is None, report)
    return report


def _add_reading(
    store: Store,
    reading: Reading,
    others: dict[str, DynamicConfig],
    static: StaticConfig,
    assumes: bool,
    report: Report,
) -> None:
    """Report what a store holds. `assumes`: there are no entry points but those that it names."""
    name, place = store.name, f"{store.name} at {store.place}"
    dynamic, of_tls = settle(reading.config)
    _sort(of_tls, report)
    report.warnings += reading.warnings
    report.problems += reading.problems
    if dynamic.is_empty:
        report.warnings.append(f"{place}: nothing is exposed")
    if assumes:
        static = _assumed(dynamic).model_copy(update={"providers": static.providers})
    merged = merge({**others, name: dynamic})
    disabled, strange = find_problems(merged, static)
    unread = _unread(None if assumes else static, {name, *others})
    disabled, strange = _known_here(disabled, strange, unread, report)
    disabled = [entry for entry in disabled if entry.name.endswith(f"@{name}")]
    out = {entry.name for entry in disabled if entry.kind == "router"}
    report.warnings += [*dict.fromkeys(strange), *lint(merged, static, out)]
    report.problems += disabled_lines(disabled, Lines())
    broken = {(entry.kind, entry.name) for entry in disabled}
    parts: list[tuple[str, str, Any]] = [("", "router", dynamic.http), ("tcp ", "tcpRouter", dynamic.tcp)]
    parts.append(("udp ", "udpRouter", dynamic.udp))
    for layer, kind, part in parts:
        for router, thing in sorted(part.routers.items()):
            if (kind, f"{router}@{name}") not in broken:
                rule = getattr(thing, "rule", "") or ", ".join(thing.entry_points)
                members = part.services[thing.service].members if thing.service in part.services else []
                to = f" ({', '.join(members) or 'no server'})" if thing.service in part.services else ""
                report.runs.append(f"{place}: {layer}router {router}: {rule} -> {thing.service}{to}")
    report.runs.append(f"{place}: {_counts(dynamic)}" + (f", {len(broken)} disabled" if broken else ""))


async def _read(store: Store) -> Reading:
    try:
        return await store.read()
    finally:
        await store.close()


def _stores(static: StaticConfig) -> list[str]:
    return [name for name, field in STORES.items() if getattr(static.providers, field) is not None]


def _unread(static: StaticConfig | None, read: set[str]) -> set[str]:
    """The providers whose objects exist for `lbcore run` and are not known here: all others without a static file."""
    if static is None:
        return set(PRECEDENCE) - read
    others = {*_stores(static)}
    others |= {name for name in ("file", "rest") if getattr(static.providers, name) is not None}
    return others - read


def _known_here(
    disabled: Sequence[Disabled], strange: Sequence[str], unread: set[str], report: Report
) -> tuple[list[Disabled], list[str]]:
    """What cannot run, and warnings, without references to objects of providers that were not read: they are told."""
    found: list[Disabled] = []
    runs = set()  # as far as is known
    for entry in disabled:
        foreign = [text for text in entry.errors if isinstance(text, Fault) and _refers_to(unread, text)]
        told: dict[str, Fault] = {}  # the first one about each object that is missing
        for fault in foreign:
            told.setdefault(fault.missing, fault)
        about = f"{spoken(entry.kind)} {entry.name}"
        report.warnings += [f"{about}: cannot be checked here: {text}" for text in told.values()]
        if rest := [text for text in entry.errors if text not in foreign]:
            found.append(replace(entry, errors=rest) if foreign else entry)
        elif entry.kind in ("router", "tcpRouter"):
            runs.add(f"{_named(entry.kind)} {entry.name.rpartition('@')[0]} ")
    of_them = [text for text in strange if (at := CANNOT_RUN.search(text)) is not None and at[1] in runs]
    return found, [text for text in strange if text not in of_them]


def _refers_to(providers: set[str], fault: Fault) -> bool:
    """Whether a fault is that an object of one of `providers` is missing, or of its namespace (`nomad-NAMESPACE`)."""
    of = fault.missing.rpartition("@")[2]
    return of in providers or of.partition("-")[0] in providers


def _counts(dynamic: DynamicConfig) -> str:
    kinds = ("routers", "services", "middlewares")
    layers = (dynamic.http, dynamic.tcp, dynamic.udp)
    numbers = {kind: sum(len(getattr(layer, kind, ())) for layer in layers) for kind in kinds}
    return ", ".join(f"{number} {kind.removesuffix('s') if number == 1 else kind}" for kind, number in numbers.items())


def _is_static(path: Path) -> bool:
    try:
        return is_static(path)
    except ConfigError:
        return False  # loading the file reports what is wrong with it


def _static(path: Path, report: Report) -> StaticConfig:
    static, notes = load_static_with_warnings(path)
    _sort(notes, report)
    report.warnings += lint_static(static)
    try:
        choose_library(static)
        static = settle_static(static)
        if static.tls.library:
            report.runs.append(f"{path}: TLS uses {library_name()}")
    except ConfigError as error:
        report.problems += lines(_in(path, static.located(problem)) for problem in error.problems)
    report.problems += lines(_in(path, problem) for problem in start_problems(static))
    with contextlib.suppress(ConfigError):  # which is among the problems
        report.warnings += lines(_in(path, static.located(problem)) for problem in provider_warnings(static))
    if static.certificates_resolvers:
        from lbcore.acme.setup import problems_of

        _sort([_in(path, problem) for problem in problems_of(static)], report)
    report.runs += [f"{path}: entry point {name} on {point.address}" for name, point in static.entry_points.items()]
    return static


def _sort(notes: Sequence[Problem], report: Report) -> None:
    report.warnings += lines(note for note in notes if note.severity == "warning")
    report.problems += lines(note for note in notes if note.severity != "warning")


def _in(path: Path, problem: Problem) -> Problem:
    """A problem of a file, if it does not say of which."""
    return problem if problem.file else replace(problem, file=str(path))


def _beside(static: Path, source: Path, problem: Problem) -> Problem:
    """The same problem, with a hint if the missing file is beside the static one."""
    beside = static.parent / source
    if source.is_absolute() or os.path.exists(source) or not os.path.exists(beside):
        return problem
    hint = f"{problem.hint}; there is {beside}, but paths are relative to the working directory"
    return Problem(problem.path, problem.problem, hint, problem.file, problem.line)


def _check_dynamic(path: Path, static: StaticConfig | None, report: Report) -> None:
    loaded, unread = load_objects(path), _unread(static, {"file"})
    dynamic, of_tls = settle(loaded.config)
    _sort([*loaded.warnings, *loaded.broken, *of_tls], report)
    if dynamic.is_empty:
        report.warnings.append(f"{path}: nothing is configured")
    static = static or _assumed(dynamic)
    merged = merge({"file": dynamic})
    disabled, strange = find_problems(merged, static)
    disabled, strange = _known_here(disabled, strange, unread, report)
    out = {entry.name for entry in disabled if entry.kind == "router"}
    report.warnings += [*dict.fromkeys(strange), *lint(merged, static, out)]
    report.problems += lines(_causes(disabled, loaded, path))
    broken = {(entry.kind, entry.name.removesuffix("@file")) for entry in disabled}
    trees = trees_of(merged.http.routers)
    for name, router in sorted(dynamic.http.routers.items()):
        if ("router", name) not in broken:
            below = [child.removesuffix("@file") for child in trees.children.get(f"{name}@file", ())]
            to = router.service or ", ".join(child for child in below if ("router", child) not in broken)
            report.runs.append(f"{path}: router {name}: {router.rule} -> {to}")
    for name, tcp in sorted(dynamic.tcp.routers.items()):
        if ("tcpRouter", name) not in broken:
            report.runs.append(f"{path}: tcp router {name}: {tcp.rule} -> {tcp.service}")
    for name, udp in sorted(dynamic.udp.routers.items()):
        if ("udpRouter", name) not in broken:
            report.runs.append(f"{path}: udp router {name}: {', '.join(udp.entry_points) or 'all'} -> {udp.service}")
    followers = [f"{_named(entry.kind)} {entry.name.removesuffix('@file')}" for entry in disabled if entry.follows]
    for_them = f", {len(broken)} disabled" if broken else ""
    if followers:
        shown = ", ".join(followers[:3]) + (f" and {len(followers) - 3} more" if len(followers) > 3 else "")
        for_them += f" ({shown} for what they refer to)"
    report.runs.append(f"{path}: {_counts(dynamic)}{for_them}")


def _named(kind: str) -> str:
    """The kind of an object for users: `tcpRouter` is `tcp router`."""
    return to_snake(kind).replace("_", " ") if kind.startswith(("tcp", "udp")) else kind


def _assumed(dynamic: DynamicConfig) -> StaticConfig:
    """A static configuration with all that a dynamic one refers to: entry points, lbcore's own services, a fleet."""
    names = {name for router in dynamic.http.routers.values() for name in router.entry_points}
    names |= {name for tcp in dynamic.tcp.routers.values() for name in tcp.entry_points}
    udp = {name for router in dynamic.udp.routers.values() for name in router.entry_points or ["udp"]}
    points = {name: {"address": ":0"} for name in names - udp or {"web"}}
    points |= {name: {"address": ":0/udp"} for name in udp}
    manual = {"manualRouting": True}
    tls: list[RouterTls] = [router.tls for router in dynamic.http.routers.values() if router.tls is not None]
    tls += [tcp.tls for tcp in dynamic.tcp.routers.values() if tcp.tls is not None]
    resolvers: dict[str, object] = {each.cert_resolver: {"acme": {}} for each in tls if each.cert_resolver}
    return StaticConfig.model_validate(
        {
            "entryPoints": points,
            "api": {},
            "ping": manual,
            "metrics": {"prometheus": manual},
            "certificatesResolvers": resolvers,
            "fleet": {},
        }
    )


def _causes(disabled: list[Disabled], loaded: Loaded, path: Path) -> list[Problem]:
    """The causes of disabled objects, without those that loading has reported, and without consequences of others."""
    found = []
    # A broken object also has the reasons of the objects that it refers to; only its own are causes.
    for entry, own in zip(disabled, own_errors(disabled), strict=True):
        if entry.follows:
            continue
        section, name = SECTIONS[entry.kind], entry.name.removesuffix("@file")
        part, _, kind = section.partition(".")
        thing = getattr(getattr(loaded.config, part), to_snake(kind)).get(name)
        reported = set(thing.faults) if thing is not None else set()
        file, number = split_place(entry.place)
        owner = f"{section}.{name}"
        for text in dict.fromkeys(own):
            if text not in reported:
                key = text.key if isinstance(text, Fault) else ()
                where = loaded.lines.line(entry.place, (part, kind, name, *key))
                at = dotted((part, kind, name, *key))
                hint = rule_hint(text) if key == ("rule",) else ""
                found.append(Problem(at, text, hint, file or str(path), where, "disabled", owner, number))
    return found
