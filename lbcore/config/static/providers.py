"""`providers`: the sources of the dynamic configuration. No I/O."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import Change, Model, keys
from lbcore.config.numbers import Limit
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesIngress
from lbcore.config.units import Duration, LimitDuration, seconds

# In the order in which their routers come where rule and priority say nothing; others come after them.
PRECEDENCE = [
    *("kubernetesgateway", "kubernetescrd", "kubernetes", "kubernetesingressnginx", "swarm", "docker", "file", "redis"),
    *("knative", "consul", "consulcatalog", "nomad", "etcd", "ecs", "http", "zookeeper", "rest"),
]
DEFAULT_RULE = "Host(`{{ normalize .Name }}`)"


class FileProvider(Model):
    """Exactly one of `filename` and `directory`."""

    filename: str = ""
    directory: str = ""
    watch: bool = True
    debug_log_generated_template: bool = False

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


class ClientTls(Model):
    """TLS to a server of configuration. `ca`, `cert` and `key` are files, or PEM."""

    may_be_empty: ClassVar[bool] = True

    ca: str = ""
    cert: str = ""
    key: str = Field(default="", repr=False)
    insecure_skip_verify: bool = False


class DockerApi(Model):
    """Where a Docker is. `httpClientTimeout` 0: the default limit."""

    endpoint: str = "unix:///var/run/docker.sock"
    username: str = ""
    password: str = Field(default="", repr=False)
    tls: ClientTls | None = None
    http_client_timeout: Duration = seconds(0)


class LabelProvider(DockerApi):
    """What containers and services expose.

    allowEmpty  (extension) believe at once that there is nothing any more.
    labelFiles  (extension) folders whose files labels may name.
    """

    watch: bool = True
    exposed_by_default: bool = True
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    network: str = ""
    allow_empty_services: bool = True
    allow_empty: bool = False
    label_files: list[str] = []

    @field_validator("default_rule")
    @classmethod
    def _default(cls, value: str) -> str:
        return value or DEFAULT_RULE


class DockerProvider(LabelProvider):
    """`providers.docker`.

    replaceGrace  (extension) how long the routers of a container that has stopped stay, and answer 503.
    """

    may_be_empty: ClassVar[bool] = True
    ignored = keys("swarmMode swarmModeRefreshSeconds", "gone since Traefik 3: use providers.swarm")

    use_bind_port_ip: bool = Field(default=False, alias="useBindPortIP")
    replace_grace: LimitDuration = seconds(10)


class SwarmProvider(LabelProvider):
    """`providers.swarm`. `refreshSeconds`: interval between two looks at the tasks."""

    may_be_empty: ClassVar[bool] = True

    refresh_seconds: LimitDuration = seconds(5)

    @field_validator("refresh_seconds")
    @classmethod
    def _above_zero(cls, value: Any) -> Any:
        if not value:
            raise ValueError("has to be above 0")
        return value


class HttpProvider(Model):
    """`providers.http`: a dynamic file that a server gives.

    maxResponseBodySize  in bytes; below 0: 64 MiB.
    allowEmpty           (extension) believe at once that there is nothing any more.
    """

    endpoint: str = ""
    poll_interval: LimitDuration = seconds(5)
    poll_timeout: LimitDuration = seconds(5)
    headers: dict[str, str] = Field(default={}, repr=False)
    tls: ClientTls | None = None
    max_response_body_size: Limit = -1
    allow_empty: bool = False
    watch: ClassVar[bool] = True

    @model_validator(mode="after")
    def _complete(self) -> HttpProvider:
        if not self.endpoint:
            raise ValueError("endpoint is missing")
        if not self.poll_interval:
            raise ValueError("pollInterval has to be above 0")
        return self


class RedisSentinel(Model):
    """Sentinels know which Redis to ask; `endpoints` are theirs."""

    ignored = keys("latencyStrategy randomStrategy useDisconnectedReplicas", "the master is read")

    master_name: str = ""
    username: str = ""
    password: str = Field(default="", repr=False)
    replica_strategy: bool = False

    @model_validator(mode="after")
    def _complete(self) -> RedisSentinel:
        if not self.master_name:
            raise ValueError("masterName is missing")
        return self


class RedisProvider(Model):
    """`providers.redis`: keys below `rootKey`, in Redis or Valkey.

    allowEmpty  (extension) believe at once that there is nothing any more.
    """

    may_be_empty: ClassVar[bool] = True

    root_key: str = "traefik"
    endpoints: list[str] = ["127.0.0.1:6379"]
    username: str = ""
    password: str = Field(default="", repr=False)
    db: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    tls: ClientTls | None = None
    sentinel: RedisSentinel | None = None
    allow_empty: bool = False
    watch: ClassVar[bool] = True

    @model_validator(mode="after")
    def _one(self) -> RedisProvider:
        if not self.endpoints:
            raise ValueError("endpoints is empty")
        if len(self.endpoints) > 1 and self.sentinel is None:
            raise ValueError("several endpoints are those of sentinels: set sentinel.masterName")
        return self


class Providers(Model):
    """The sources of the dynamic configuration.

    precedence   of two routers with the same priority, that of the provider that comes first here is asked first.
    keepRunning  (extension) whether a router, service or middleware whose new version is broken stays in its running
                 version; otherwise it is disabled, as in Traefik.
    """

    missing = keys(
        "kubernetesIngressNGINX kubernetesGateway knative rest "
        "consulCatalog nomad ecs consul etcd zooKeeper plugin",
        "describe routers and services in a file: providers.file",
    )
    ignored = keys("marathon rancher", "gone since Traefik 3: describe routers and services in a file: providers.file")

    providers_throttle_duration: LimitDuration = seconds(2)
    precedence: list[str] = []
    file: FileProvider | None = None
    docker: DockerProvider | None = None
    swarm: SwarmProvider | None = None
    http: HttpProvider | None = None
    redis: RedisProvider | None = None
    kubernetescrd: KubernetesCrd | None = Field(default=None, alias="kubernetesCRD")
    kubernetes: KubernetesIngress | None = Field(default=None, alias="kubernetesIngress")
    keep_running: bool = True

    @field_validator("precedence")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name.lower() not in PRECEDENCE:
                raise ValueError(f"unknown provider {name!r}: known here: {', '.join(PRECEDENCE)}")
        return value

    def rank(self, name: str) -> int:
        """The place of an object's provider in the order of precedence, the first one being 0."""
        order = [provider.lower() for provider in self.precedence] or PRECEDENCE
        provider = name.rpartition("@")[2]
        return order.index(provider) if provider in order else len(order)
