"""The providers that a static configuration configures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lbcore.config.decode import plain
from lbcore.config.model import Model
from lbcore.config.static import StaticConfig
from lbcore.config.static.providers import Providers
from lbcore.errors import ConfigError, Problem
from lbcore.provider.base import Provider
from lbcore.provider.file import FileProvider
from lbcore.provider.follow import Store, StoreProvider

# The fields of their settings, by the names of providers.
STORES = {
    "docker": "docker",
    "swarm": "swarm",
    "http": "http",
    "redis": "redis",
    "etcd": "etcd",
    "consul": "consul",
    "consulcatalog": "consul_catalog",
    "nomad": "nomad",
    "zookeeper": "zoo_keeper",
    "kubernetescrd": "kubernetescrd",
    "kubernetes": "kubernetes",
    "kubernetesgateway": "kubernetesgateway",
}


def providers_of(static: StaticConfig) -> list[Provider]:
    """The providers of `static`, not running yet. Raises ConfigError with all that keeps any of them from running."""
    settings = static.providers
    throttle = settings.providers_throttle_duration
    found: list[Provider] = []
    if (file := settings.file) is not None:
        path = Path(file.filename or file.directory)
        shows = file.debug_log_generated_template
        found.append(FileProvider(path, watch=file.watch, throttle=throttle, shows_templates=shows))
    if settings.rest is not None:
        from lbcore.provider.rest import RestProvider

        found.append(RestProvider(settings.rest))
    problems: list[Problem] = []
    for name, field in STORES.items():
        of_store = getattr(settings, field)
        if of_store is None:
            continue
        try:
            stores = stores_of(static, name)
        except ConfigError as error:
            problems += error.problems
            continue
        longer = max(throttle, getattr(of_store, "throttle_duration", throttle))
        watch, allow_empty = of_store.watch or follows(name), of_store.allow_empty
        found += [StoreProvider(store, throttle=longer, watch=watch, allow_empty=allow_empty) for store in stores]
    if problems:
        raise ConfigError(problems)
    return found


def follows(name: str) -> bool:
    """Whether `watch: false` of a provider means that it is asked again and again, instead of being told."""
    return name in ("consulcatalog", "nomad")


def type_of_store(name: str) -> type[Model]:
    """The model of a provider's settings."""
    found: type[Model] = plain(Providers.model_fields[STORES[name]].annotation)
    return found


def with_endpoint(settings: Model, endpoint: str) -> Model:
    """The settings of a store with another address."""
    if "endpoints" in type(settings).model_fields:
        return settings.model_copy(update={"endpoints": [endpoint]})
    if isinstance(inner := getattr(settings, "endpoint", None), Model):
        return settings.model_copy(update={"endpoint": inner.model_copy(update={"address": endpoint})})
    return settings.model_copy(update={"endpoint": endpoint})


def stores_of(static: StaticConfig, name: str) -> list[Store]:
    """The stores of a provider that is configured: one, or one for each namespace.

    Raises ConfigError. The modules of the provider are loaded here.
    """
    settings: Any = getattr(static.providers, STORES[name])
    match name:
        case "docker":
            from lbcore.provider.docker import DockerStore

            return [DockerStore(settings)]
        case "swarm":
            from lbcore.provider.swarm import SwarmStore

            return [SwarmStore(settings)]
        case "http":
            from lbcore.provider.http import HttpStore

            return [HttpStore(settings)]
        case "redis":
            from lbcore.provider.redis import RedisStore

            return [RedisStore(settings)]
        case "kubernetescrd":
            from lbcore.provider.kubernetes.crd import crd_store

            return [crd_store(settings)]
        case "kubernetes":
            from lbcore.provider.kubernetes.ingress import ingress_store

            return [ingress_store(settings, static.core.default_rule_syntax)]
        case "kubernetesgateway":
            from lbcore.provider.kubernetes.gateway import gateway_store

            return [gateway_store(settings, static)]
        case "etcd":
            from lbcore.provider.etcd import EtcdStore

            return [EtcdStore(settings)]
        case "consul":
            from lbcore.provider.consul import ConsulStore

            return [ConsulStore(settings, namespace) for namespace in settings.namespaces or [""]]
        case "consulcatalog":
            from lbcore.provider.consul_catalog import CatalogStore

            return [CatalogStore(settings, namespace) for namespace in settings.namespaces or [""]]
        case "nomad":
            from lbcore.provider.nomad import NomadStore

            return [NomadStore(settings, namespace) for namespace in settings.namespaces or [""]]
    from lbcore.provider.zookeeper import ZooKeeperStore

    return [ZooKeeperStore(settings)]


def provider_warnings(static: StaticConfig) -> list[Problem]:
    """What keeps providers from reading anything for now: they try again, and the others run. Raises ConfigError."""
    configured = [name for name, field in STORES.items() if getattr(static.providers, field) is not None]
    stores = [store for name in configured for store in stores_of(static, name)]
    lacks = dict.fromkeys(problem for store in stores for problem in getattr(store, "lack", ()))
    return [replace(problem, severity="warning") for problem in lacks]


def provider_problems(static: StaticConfig) -> Sequence[Problem]:
    """What keeps providers from running."""
    try:
        providers_of(static)
    except ConfigError as error:
        return error.problems
    return ()
