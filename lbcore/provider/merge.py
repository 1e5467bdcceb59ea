"""Merging the configurations of all providers: `web` of the file provider becomes `web@file`. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lbcore.config.difference import changed_names, patched
from lbcore.config.dynamic import DynamicConfig, HttpConfig, Outside
from lbcore.config.lines import Lines
from lbcore.config.model import Model, Object
from lbcore.config.tcp import TcpConfig
from lbcore.config.tls import DEFAULT, TlsConfig, TlsOptions
from lbcore.config.udp import UdpConfig
from lbcore.provider.kubernetes.names import aside

TYPED = ("routers", "services")  # kinds whose values have one type each, so that what is equal means the same

_log = logging.getLogger("lbcore.provider")


def merge(configs: Mapping[str, DynamicConfig]) -> DynamicConfig:
    """One configuration of those of all providers, which are keyed by provider.

    Only the names of objects are qualified. A reference without a provider means the provider of the object that
    contains it, whose name the code that resolves the reference knows.
    """
    return Merger().merge(configs)


class Merger:
    """Merges again and again: what has not changed is taken over from the last time."""

    def __init__(self) -> None:
        # Objects of each provider, by layer and kind: as it has named them, and by qualified name.
        self._named: dict[tuple[str, str, str], tuple[Mapping[str, Any], dict[str, Any]]] = {}
        self._tls = TlsConfig()

    def merge(self, configs: Mapping[str, DynamicConfig]) -> DynamicConfig:
        """See `merge`."""

        def objects(part: str, kind: str) -> Any:
            each = [self._qualified(provider, part, kind, config) for provider, config in configs.items()]
            some = [named for named in each if named]
            return some[0] if len(some) == 1 else {name: thing for named in some for name, thing in named.items()}

        by_kind: dict[str, Any] = {kind: objects("http", kind) for kind in HttpConfig.model_fields}
        if any(config.outside for config in configs.values()):
            by_kind = {kind: dict(things) for kind, things in by_kind.items()}
        for provider, config in configs.items():
            for each in config.outside:
                _settle(each, provider, by_kind)
        # Each object has been validated.
        http = HttpConfig.model_construct(**by_kind)
        tcp = TcpConfig.model_construct(**{kind: objects("tcp", kind) for kind in TcpConfig.model_fields})
        udp: dict[str, Any] = {kind: objects("udp", kind) for kind in UdpConfig.model_fields}
        # Fields that no provider has set stay unset, so that they are not written to the workers.
        written: dict[str, Any] = {}
        tls = _merged_tls(configs)
        if any(tls.values()):
            merged = TlsConfig.model_validate(tls)
            self._tls = written["tls"] = self._tls if self._tls == merged else merged
        if any(udp.values()):
            written["udp"] = UdpConfig.model_construct(**udp)
        lines = Lines({file: line for config in configs.values() for file, line in config.lines.items()})
        return DynamicConfig(http=http, tcp=tcp, **written).with_lines(lines)

    def _qualified(self, provider: str, part: str, kind: str, config: DynamicConfig) -> dict[str, Any]:
        """The objects of a provider by their qualified names."""
        things: Mapping[str, Any] = getattr(getattr(config, part), kind)
        before, named = self._named.get((provider, part, kind), ({}, {}))
        changed, gone = changed_names(before, things)
        if kind in TYPED:
            changed = [name for name in changed if not _is_same(before.get(name), things[name])]
        if changed or gone:
            fresh = {f"{name}@{provider}": things[name] for name in changed}
            named = patched(named, fresh, [f"{name}@{provider}" for name in gone])
        self._named[provider, part, kind] = things, named
        return named


def _is_same(before: Object | None, after: Object) -> bool:
    """Whether an object that was read anew says what it said, at the same place."""
    return (
        before is not None
        and before.place == after.place
        and before.model_fields_set == after.model_fields_set
        and before == after
    )


def _merged_tls(configs: Mapping[str, DynamicConfig]) -> dict[str, Any]:
    twice = {kind: _of_several(configs, kind) for kind in ("options", "stores")}
    options = {
        name if name == DEFAULT else f"{name}@{provider}": thing
        for provider, config in configs.items()
        for name, thing in config.tls.options.items()
    }
    if named := twice["options"]:
        # As in Traefik: what needs the default options does not run, for it would run with settings nobody has chosen.
        options[DEFAULT] = TlsOptions(faults=(f"the default TLS options are defined by several providers: {named}",))
    stores = {name: store for config in configs.values() for name, store in config.tls.stores.items()}
    if named := twice["stores"]:
        _log.error("the default TLS store is defined by several providers, and by none therefore: %s", named)
        stores.pop(DEFAULT, None)
    certificates = [certificate for config in configs.values() for certificate in config.tls.certificates]
    return {"certificates": certificates, "options": options, "stores": stores}


def _settle(outside: Outside, provider: str, objects: dict[str, dict[str, Any]]) -> None:
    """Have a reference lead to the object that is meant, or nowhere: never to one whose name only reads like it."""
    found = next(
        (
            objects[kind][outside.reference]
            for kind in ("middlewares", "services")
            if outside.reference in objects[kind] and objects[kind][outside.reference].place == outside.source
        ),
        None,
    )
    user = f"{outside.name}@{provider}"
    if found is None and user in objects[outside.kind]:
        name, _, of = outside.reference.rpartition("@")
        other = f"{aside(name, tuple(outside.source.replace(' ', '/').split('/')))}@{of}"
        thing = objects[outside.kind][user]
        objects[outside.kind][user] = _renamed(thing, outside.reference, other)


def _renamed(value: Any, before: str, after: str) -> Any:
    """The same, with another text wherever a whole value is `before`."""
    if isinstance(value, Model):
        changed = {name: _renamed(getattr(value, name), before, after) for name in value.model_fields_set}
        return value.model_copy(update=changed)
    if isinstance(value, list):
        return [_renamed(each, before, after) for each in value]
    return after if value == before else value


def _of_several(configs: Mapping[str, DynamicConfig], kind: str) -> str:
    """The providers that define the default options or store, if there are several; empty: there are not."""
    found = [provider for provider, config in configs.items() if DEFAULT in getattr(config.tls, kind)]
    return ", ".join(sorted(found)) if len(found) > 1 else ""
