"""Make one configuration of what the providers publish: `web` of the file provider becomes `web@file`. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.config.dynamic import DynamicConfig, HttpConfig


def merge(configs: Mapping[str, DynamicConfig]) -> DynamicConfig:
    """The configurations of all providers, keyed by provider, in one.

    Only the names of objects are qualified. A reference without a provider means the provider of the object it stands
    in: whoever follows it has that object's name.
    """
    objects = {
        kind: {
            f"{name}@{provider}": thing
            for provider, config in configs.items()
            for name, thing in getattr(config.http, kind).items()
        }
        for kind in HttpConfig.model_fields
    }
    return DynamicConfig(http=HttpConfig.model_validate(objects))
