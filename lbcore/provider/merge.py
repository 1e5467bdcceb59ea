"""Merging the configurations of all providers: `web` of the file provider becomes `web@file`. No I/O."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from lbcore.config.dynamic import DynamicConfig, HttpConfig, Lines, Outside
from lbcore.config.model import Model
from lbcore.config.tcp import TcpConfig
from lbcore.config.tls import DEFAULT, TlsConfig, TlsOptions
from lbcore.config.udp import UdpConfig
from lbcore.provider.kubernetes.names import aside

_log = logging.getLogger("lbcore.provider")


def merge(configs: Mapping[str, DynamicConfig]) -> DynamicConfig:
    """One configuration of those of all providers, which are keyed by provider.

    Only the names of objects are qualified. A reference without a provider means the provider of the object that
    contains it, whose name the code that resolves the reference knows.
    """

    def objects(part: str, kind: str) -> dict[str, Any]:
        return {
            f"{name}@{provider}": thing
            for provider, config in configs.items()
            for name, thing in getattr(getattr(config, part), kind).items()
        }

    by_kind = {kind: objects("http", kind) for kind in HttpConfig.model_fields}
    for provider, config in configs.items():
        for each in config.outside:
            _settle(each, provider, by_kind)
    http = HttpConfig.model_validate(by_kind)
    tcp = TcpConfig.model_validate({kind: objects("tcp", kind) for kind in TcpConfig.model_fields})
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
    tls = {"certificates": certificates, "options": options, "stores": stores}
    udp = {kind: objects("udp", kind) for kind in UdpConfig.model_fields}
    # Fields that no provider has set stay unset, so that they are not written to the workers.
    written: dict[str, Any] = {"tls": TlsConfig.model_validate(tls)} if any(tls.values()) else {}
    if any(udp.values()):
        written["udp"] = UdpConfig.model_validate(udp)
    lines = Lines({file: line for config in configs.values() for file, line in config.lines.items()})
    return DynamicConfig(http=http, tcp=tcp, **written).with_lines(lines)


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
