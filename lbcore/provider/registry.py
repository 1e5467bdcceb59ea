"""The providers that a static configuration configures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lbcore.config.decode import plain
from lbcore.config.model import Model
from lbcore.config.static import StaticConfig
from lbcore.config.static.providers import Providers
from lbcore.errors import ConfigError, Problem
from lbcore.provider.base import Provider
from lbcore.provider.file import FileProvider
from lbcore.provider.follow import Store, StoreProvider

STORES = ("docker", "swarm", "http", "redis", "kubernetescrd", "kubernetes")


def providers_of(static: StaticConfig) -> list[Provider]:
    """The providers of `static`, not running yet. Raises ConfigError with all that keeps any of them from running."""
    settings = static.providers
    throttle = settings.providers_throttle_duration
    found: list[Provider] = []
    if (file := settings.file) is not None:
        path = Path(file.filename or file.directory)
        shows = file.debug_log_generated_template
        found.append(FileProvider(path, watch=file.watch, throttle=throttle, shows_templates=shows))
    problems: list[Problem] = []
    for name in STORES:
        of_store = getattr(settings, name)
        if of_store is None:
            continue
        try:
            store = store_of(static, name)
        except ConfigError as error:
            problems += error.problems
            continue
        least = max(throttle, getattr(of_store, "throttle_duration", throttle))
        found.append(StoreProvider(store, throttle=least, watch=of_store.watch, allow_empty=of_store.allow_empty))
    if problems:
        raise ConfigError(problems)
    return found


def type_of_store(name: str) -> type[Model]:
    """The model of a provider's settings."""
    found: type[Model] = plain(Providers.model_fields[name].annotation)
    return found


def store_of(static: StaticConfig, name: str) -> Store:
    """The store of a provider that is configured. Raises ConfigError; its modules are loaded here."""
    settings = static.providers
    if name == "docker":
        from lbcore.provider.docker import DockerStore

        assert settings.docker is not None
        return DockerStore(settings.docker)
    if name == "http":
        from lbcore.provider.polled import HttpStore

        assert settings.http is not None
        return HttpStore(settings.http)
    if name == "redis":
        from lbcore.provider.redis import RedisStore

        assert settings.redis is not None
        return RedisStore(settings.redis)
    if name == "kubernetescrd":
        from lbcore.provider.kubernetes.crd import crd_store

        assert settings.kubernetescrd is not None
        return crd_store(settings.kubernetescrd)
    if name == "kubernetes":
        from lbcore.provider.kubernetes.ingress import ingress_store

        assert settings.kubernetes is not None
        return ingress_store(settings.kubernetes)
    from lbcore.provider.swarm import SwarmStore

    assert settings.swarm is not None
    return SwarmStore(settings.swarm)


def provider_problems(static: StaticConfig) -> Sequence[Problem]:
    """What keeps providers from running."""
    try:
        providers_of(static)
    except ConfigError as error:
        return error.problems
    return ()
