"""`providers`: where the dynamic configuration comes from. No I/O."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from lbcore.config.model import Model, keys
from lbcore.config.units import Duration, seconds


class FileProvider(Model):
    """Exactly one of `filename` and `directory`."""

    unsupported: ClassVar[frozenset[str]] = keys("debugLogGeneratedTemplate")

    filename: str = ""
    directory: str = ""
    watch: bool = True

    @model_validator(mode="after")
    def _one_source(self) -> FileProvider:
        if bool(self.filename) == bool(self.directory):
            raise ValueError("set either filename or directory")
        return self


class Providers(Model):
    """Where the dynamic configuration comes from.

    keepRunning  (extension) whether a router, service or middleware whose new version is broken runs on in the version
                 before; otherwise it is disabled, as in Traefik.
    """

    unsupported: ClassVar[frozenset[str]] = keys(
        "docker swarm kubernetesIngress kubernetesIngressNGINX kubernetesCRD kubernetesGateway knative rest "
        "http consulCatalog nomad ecs consul etcd zooKeeper redis plugin precedence"
    )

    providers_throttle_duration: Duration = seconds(2)
    file: FileProvider | None = None
    keep_running: bool = True
