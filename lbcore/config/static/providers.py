"""`providers`: the sources of the dynamic configuration. No I/O."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import Change, Model, keys
from lbcore.config.numbers import AboveZero, Limit
from lbcore.config.static.api import Token
from lbcore.config.static.kubernetes import KubernetesCrd, KubernetesGateway, KubernetesIngress
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
    def _one_source(self) -> "FileProvider":
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

    refresh_seconds: AboveZero = seconds(5)


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
    def _complete(self) -> "HttpProvider":
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
    def _complete(self) -> "RedisSentinel":
        if not self.master_name:
            raise ValueError("masterName is missing")
        return self


class KeyProvider(Model):
    """Keys below `rootKey` of a store.

    allowEmpty  (extension) believe at once that there is nothing any more.
    """

    may_be_empty: ClassVar[bool] = True

    root_key: str = "traefik"
    endpoints: list[str] = []
    allow_empty: bool = False
    watch: ClassVar[bool] = True

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not self.endpoints:
            raise ValueError("endpoints is empty")
        if not self.root_key.strip("/"):
            raise ValueError("rootKey is empty")
        return self


class RedisProvider(KeyProvider):
    """`providers.redis`: Redis or Valkey."""

    endpoints: list[str] = ["127.0.0.1:6379"]
    username: str = ""
    password: str = Field(default="", repr=False)
    db: Annotated[int, Field(ge=0, le=1 << 20)] = 0
    tls: ClientTls | None = None
    sentinel: RedisSentinel | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.endpoints) > 1 and self.sentinel is None:
            raise ValueError("several endpoints are those of sentinels: set sentinel.masterName")
        return self


class EtcdProvider(KeyProvider):
    """`providers.etcd`: etcd 3, by the JSON gateway of its client port. Several endpoints are those of one cluster."""

    endpoints: list[str] = ["127.0.0.1:2379"]
    username: str = ""
    password: str = Field(default="", repr=False)
    tls: ClientTls | None = None


class ConsulProvider(KeyProvider):
    """`providers.consul`: the keys of Consul. Each of `namespaces` (of Consul Enterprise) is a provider of its own."""

    endpoints: list[str] = ["127.0.0.1:8500"]
    token: str = Field(default="", repr=False)
    namespaces: list[str] = []
    tls: ClientTls | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.endpoints) > 1:
            raise ValueError("needs one endpoint: that of the agent of this machine")
        return self

    @field_validator("namespaces")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        return named(value)


class ZooKeeperProvider(KeyProvider):
    """`providers.zooKeeper`. Several endpoints are those of one ensemble."""

    endpoints: list[str] = ["127.0.0.1:2181"]
    username: str = ""
    password: str = Field(default="", repr=False)


class HttpAuth(Model):
    username: str = ""
    password: str = Field(default="", repr=False)


class CatalogEndpoint(Model):
    """Where a Consul agent is. `endpointWaitTime`: longest time after which it answers that nothing has changed."""

    may_be_empty: ClassVar[bool] = True

    address: str = "127.0.0.1:8500"
    scheme: str = ""
    datacenter: str = ""
    token: str = Field(default="", repr=False)
    tls: ClientTls | None = None
    http_auth: HttpAuth | None = None
    endpoint_wait_time: LimitDuration = seconds(0)

    @field_validator("address")
    @classmethod
    def _default(cls, value: str) -> str:
        return value or "127.0.0.1:8500"


class NomadEndpoint(Model):
    """Where a Nomad agent is. `endpointWaitTime`: as of Consul."""

    may_be_empty: ClassVar[bool] = True

    address: str = "http://127.0.0.1:4646"
    region: str = ""
    token: str = Field(default="", repr=False)
    tls: ClientTls | None = None
    endpoint_wait_time: LimitDuration = seconds(0)


class TagProvider(Model):
    """Services by their tags.

    allowEmpty    (extension) believe at once that there is nothing any more.
    labelFiles    (extension) folders whose files tags may name.
    replaceGrace  (extension) how long the routers of an instance that is gone stay, and answer 503.
    """

    may_be_empty: ClassVar[bool] = True

    prefix: str = "traefik"
    refresh_interval: AboveZero = seconds(15)
    watch: bool = False
    stale: bool = False
    exposed_by_default: bool = True
    default_rule: str = DEFAULT_RULE
    constraints: str = ""
    namespaces: list[str] = []
    allow_empty: bool = False
    label_files: list[str] = []
    replace_grace: LimitDuration = seconds(10)

    @field_validator("default_rule")
    @classmethod
    def _default(cls, value: str) -> str:
        return value or DEFAULT_RULE

    @field_validator("namespaces")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        return named(value)


class ConsulCatalogProvider(TagProvider):
    """`providers.consulCatalog`. `watch` is true unless it is set: Traefik's default sees changes 15 s later."""

    missing = keys("connectAware connectByDefault serviceName", "Consul Connect: name servers in providers.file")

    watch: bool = True
    endpoint: CatalogEndpoint = CatalogEndpoint()
    require_consistent: bool = False
    cache: bool = False
    strict_checks: list[Literal["passing", "warning", "critical", "maintenance", "any"]] = ["passing", "warning"]

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.stale and self.require_consistent:
            raise ValueError("stale and requireConsistent exclude each other")
        return self


class NomadProvider(TagProvider):
    """`providers.nomad`.

    throttleDuration  with `watch`: least time between two readings.
    checks            (extension) whether instances with a check that fails get no requests; Traefik does not ask.
    """

    endpoint: NomadEndpoint = NomadEndpoint()
    allow_empty_services: bool = False
    throttle_duration: LimitDuration = seconds(0)
    checks: bool = True

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if self.throttle_duration and not self.watch:
            raise ValueError("throttleDuration needs watch: true")
        return self


class RestProvider(Model):
    """`providers.rest`: what is put to `/api/providers/rest`.

    insecure  on the entry point `traefik`, and without a token; otherwise a client sends the token.
    token     (extension) of clients: `Authorization: Bearer ...`; without one, that of the API.
    storage   (extension) a file in which the last configuration is kept over restarts.
    """

    may_be_empty: ClassVar[bool] = True

    insecure: bool = False
    token: Token = Field(default="", repr=False)
    storage: str = ""


def named(namespaces: list[str]) -> list[str]:
    """Namespaces, each of them named."""
    if "*" in namespaces or "" in namespaces:
        raise ValueError("name each namespace")
    return list(dict.fromkeys(namespaces))


class Providers(Model):
    """The sources of the dynamic configuration.

    precedence   of two routers with the same priority, that of the provider that comes first here is asked first.
    keepRunning  (extension) whether a router, service or middleware whose new version is broken stays in its running
                 version; otherwise it is disabled, as in Traefik.
    """

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """As in Traefik, a provider of files that names none keeps the others from nothing."""
        file = data.get("file")
        if file is None or file.get("filename") or file.get("directory"):
            return []
        del data["file"]
        return [Change("file", "ignored: it names no file", "set filename or directory")]

    missing = keys(
        "kubernetesIngressNGINX knative ecs plugin",
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
    kubernetesgateway: KubernetesGateway | None = Field(default=None, alias="kubernetesGateway")
    etcd: EtcdProvider | None = None
    consul: ConsulProvider | None = None
    consul_catalog: ConsulCatalogProvider | None = None
    nomad: NomadProvider | None = None
    zoo_keeper: ZooKeeperProvider | None = None
    rest: RestProvider | None = None
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
