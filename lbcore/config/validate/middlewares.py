"""Validation of the middlewares of HTTP, by themselves and as parts of each other. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.difference import qualify
from lbcore.config.dynamic import HttpConfig, Middleware
from lbcore.config.middlewares.python import TRUSTED
from lbcore.config.plugins import how_to_bypass
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import MULTIPLE, Fault, Findings
from lbcore.config.validate.graph import MAX_DEPTH, children_first, find_cycle

MAX_CHAIN = 1000  # middlewares of one chain, those of its chains included


def check_middlewares(some: Mapping[str, Middleware], static: StaticConfig, found: Findings) -> None:
    """Add the errors that these middlewares have by themselves, and warnings about those without effect."""
    for name, middleware in some.items():
        if errors := _middleware_errors(middleware, static) or _code_errors(name, middleware, static):
            found.middlewares[name] = errors
        elif strange := _without_effect(middleware):
            found.warnings += [f"middleware {name}: {text}" for text in strange]
            found.odd["middleware"].add(name)


def _middleware_errors(middleware: Middleware, static: StaticConfig) -> list[str]:
    if middleware.faults:
        return list(middleware.faults)
    kinds = middleware.kinds
    if len(kinds) > 1:
        return [MULTIPLE.format("middleware")]
    plugins = list(middleware.plugin or ())
    if len(plugins) > 1:
        return [Fault(f"a middleware has one plugin: {', '.join(plugins)} go into one each", "plugin")]
    if plugins and not static.bypasses(plugins[0]):
        text = f"the plugin {plugins[0]} does not run in lbcore"
        return [Fault(f"{text}: {how_to_bypass(plugins[0])}", "plugin", plugins[0])]
    return [] if kinds else ["the middleware does not have any type defined"]


def _code_errors(name: str, middleware: Middleware, static: StaticConfig) -> list[str]:
    """Why a middleware may not run code: who starts containers, or fills a store, does not choose what runs here."""
    python, provider = middleware.python, name.rpartition("@")[2]
    if python is None or python.given or provider in TRUSTED | {*static.python.allowed_providers}:
        return []
    return [Fault(f"provider {provider} may not name code that runs here: python.allowedProviders allows it", "python")]


def _without_effect(middleware: Middleware) -> list[str]:
    """The settings of a middleware that have no effect, as in Traefik."""
    (kind,) = middleware.kinds
    if middleware.plugin is not None:
        return [f"requests pass without the plugin {next(iter(middleware.plugin))}"]
    if (of_kind := getattr(getattr(middleware, kind), "without_effect", None)) is not None:
        return [*of_kind()]
    if middleware.strip_prefix is not None:
        return [
            f"stripPrefix.prefixes: no path begins with {prefix!r}: write /{prefix}"
            for prefix in middleware.strip_prefix.prefixes
            if prefix and not prefix.startswith("/")
        ]
    return []


def check_asking(some: Mapping[str, Middleware], http: HttpConfig, found: Findings) -> None:
    """Errors of those middlewares that ask a service which does not exist, or whose requests pass them again."""

    def ahead(node: str) -> list[str]:
        kind, _, name = node.partition(":")
        if kind == "service":
            service = http.services.get(name)
            if service is None:
                return []
            below = [f"service:{qualify(child, name)}" for child in service.children]
            return [*(f"middleware:{qualify(reference, name)}" for reference in service.middlewares), *below]
        middleware = http.middlewares.get(name)
        if middleware is None:
            return []
        parts = middleware.chain.middlewares if middleware.chain is not None else []
        below = [f"service:{qualify(asked, name)}" for asked in middleware.asks]
        return [*(f"middleware:{qualify(part, name)}" for part in parts), *below]

    done: set[str] = set()
    for name, middleware in some.items():
        if name in found.middlewares:
            continue
        for asked in middleware.asks:
            if (service := qualify(asked, name)) not in http.services:
                text = f'the service "{service}", which it asks, does not exist'
                found.middlewares[name] = [Fault(text, missing=service)]
                break
        else:
            cycle = find_cycle(f"middleware:{name}", ahead, done) if middleware.asks else []
            if f"middleware:{name}" in cycle:  # else the fault is of those on it
                found.middlewares[name] = [f"recursion detected in {'->'.join(cycle)}"]


def check_chains(some: Mapping[str, Middleware], middlewares: Mapping[str, Middleware], found: Findings) -> None:
    """Errors of those chains that contain themselves, or middlewares that do not exist or cannot run."""

    def parts(name: str) -> list[str]:
        chain = middlewares[name].chain if name in middlewares else None
        return [qualify(reference, name) for reference in chain.middlewares] if chain else []

    done: set[str] = set()
    for name in some:
        if name in found.middlewares:
            continue
        if cycle := find_cycle(name, parts, done):
            found.middlewares[name] = [f"recursion detected in middleware:{'->middleware:'.join(cycle)}"]
            continue
        for part in parts(name):
            if part not in middlewares:
                found.middlewares[name] = [Fault(f'middleware "{part}" does not exist', "chain", missing=part)]
                break
            if part in found.middlewares:
                found.middlewares[name] = list(found.middlewares[part])
                found.following.add(("middleware", name))
                break
    sizes: dict[str, tuple[int, int]] = {}  # middlewares and levels below
    for name in children_first(some, parts):
        below = [sizes.get(part, (1, 1)) for part in parts(name)]
        size = sum(count for count, _ in below) if below else 1
        depth = 1 + max((levels for _, levels in below), default=0)
        sizes[name] = min(size, MAX_CHAIN + 1), depth
        if name not in found.middlewares and (size > MAX_CHAIN or depth > MAX_DEPTH):
            what = f"more than {MAX_CHAIN} middlewares" if size > MAX_CHAIN else f"more than {MAX_DEPTH} levels"
            found.middlewares[name] = [f"the chain is {what} long" if size > MAX_CHAIN else f"chains nest {what} deep"]
