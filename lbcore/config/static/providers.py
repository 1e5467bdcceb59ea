"""`providers`: the sources of the dynamic configuration. No I/O."""

from __future__ import annotations

from typing import Any

from pydantic import model_validator

from lbcore.config.model import Change, Model, keys
from lbcore.config.units import LimitDuration, seconds


class FileProvider(Model):
    """Exactly one of `filename` and `directory`."""

    ignored = keys("debugLogGeneratedTemplate", "there are no templates")

    filename: str = ""
    directory: str = ""
    watch: bool = True

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        if data.get("filename") and data.get("directory"):
            del data["filename"]
            return [Change("filename", "ignored", "directory is set, too, and is what is read")]
        return []

    @model_validator(mode="after")
    def _one_source(self) -> FileProvider:
        if bool(self.filename) == bool(self.directory):
            raise ValueError("set either filename or directory")
        return self


class Providers(Model):
    """The sources of the dynamic configuration.

    keepRunning  (extension) whether a router, service or middleware whose new version is broken stays in its running
                 version; otherwise it is disabled, as in Traefik.
    """

    missing = keys(
        "docker swarm kubernetesIngress kubernetesIngressNGINX kubernetesCRD kubernetesGateway knative rest "
        "http consulCatalog nomad ecs consul etcd zooKeeper redis plugin",
        "describe routers and services in a file: providers.file",
    )
    ignored = {
        **keys("precedence", "there is one provider"),
        **keys("marathon rancher", "gone since Traefik 3: describe routers and services in a file: providers.file"),
    }

    providers_throttle_duration: LimitDuration = seconds(2)
    file: FileProvider | None = None
    keep_running: bool = True
