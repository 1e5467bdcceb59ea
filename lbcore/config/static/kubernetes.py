"""`providers.kubernetesCRD`, ...: objects of a Kubernetes cluster as sources of configuration. No I/O."""

from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from lbcore.config.model import Model, keys
from lbcore.config.units import LimitDuration, seconds


class KubernetesProvider(Model):
    """Where a cluster is, and what of it counts.

    endpoint          of its API server. Without it: of the cluster that lbcore runs in, else by $KUBECONFIG.
    token             of the account, or a file that has it, which is read again and again.
    certAuthFilePath  authorities that the API server is trusted by.
    namespaces        that are read; none: all.
    labelSelector     objects of the provider's own kinds that do not match do not count.
    throttleDuration  least time between two publications, if it is longer than providersThrottleDuration.
    nativeLBByDefault   requests go to the address of a service, and Kubernetes chooses the pod.
    crossProviderNamespaces  that may refer to objects of other providers (`name@file`); unset: all of them.
    allowEmpty        (extension) believe at once that there is nothing any more.
    """

    may_be_empty: ClassVar[bool] = True
    watch: ClassVar[bool] = True

    endpoint: str = ""
    token: str = Field(default="", repr=False)
    cert_auth_file_path: str = ""
    namespaces: list[str] = []
    label_selector: str = ""
    throttle_duration: LimitDuration = seconds(0)
    allow_external_name_services: bool = False
    native_lb_by_default: bool = Field(default=False, alias="nativeLBByDefault")
    cross_provider_namespaces: list[str] | None = None
    allow_empty: bool = False


class KubernetesCrd(KubernetesProvider):
    """`providers.kubernetesCRD`: the kinds of traefik.io/v1alpha1.

    allowEmptyServices   a service without endpoints answers 503; otherwise what leads to it is not there.
    ingressClass         routes of this class count; unset: those without one, and of class `traefik`.
    allowCrossNamespace  objects may refer to those of other namespaces.
    disableClusterScopeResources  nodes are not read.
    """

    allow_empty_services: bool = True
    ingress_class: str = ""
    allow_cross_namespace: bool = False
    disable_cluster_scope_resources: bool = False


class IngressEndpoint(Model):
    """What the statuses of Ingresses say of where they are reached: an address or a name, or those of a service.

    publishedService  namespace/name.
    """

    ip: str = ""
    hostname: str = ""
    published_service: str = ""

    @model_validator(mode="after")
    def _something(self) -> "IngressEndpoint":
        if not (self.ip or self.hostname or self.published_service):
            raise ValueError("needs publishedService, ip or hostname")
        if self.published_service and len([part for part in self.published_service.split("/") if part]) != 2:
            raise ValueError(f"publishedService {self.published_service!r}: write namespace/name")
        return self


class KubernetesIngress(KubernetesProvider):
    """`providers.kubernetesIngress`: the Ingresses of a cluster.

    allowEmptyServices    as of `kubernetesCRD`.
    ingressClass          Ingresses of this class count; unset: of all classes of Traefik, and those without one.
    ingressEndpoint       is written into their statuses, by one instance alone.
    strictPrefixMatching  `/foo` as a prefix does not match `/foobar`.
    disableClusterScopeResources  neither nodes nor classes are read.
    disableIngressClassLookup  classes are not read.
    lease                 (extension) namespace/name of the lease that the writer of statuses holds; without a
                          namespace in that of lbcore's pod.
    """

    allow_empty_services: bool = True
    ingress_class: str = ""
    ingress_endpoint: IngressEndpoint | None = None
    strict_prefix_matching: bool = False
    disable_cluster_scope_resources: bool = False
    disable_ingress_class_lookup: bool = False
    lease: str = ""

    @field_validator("lease")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_lease(value)


def check_lease(value: str) -> str:
    """The name of a lease, which may have a namespace. Raises ValueError."""
    parts = value.split("/")
    if value and (len(parts) > 2 or not all(parts)):
        raise ValueError(f"{value!r}: write namespace/name")
    return value


class ServiceReference(Model):
    name: str = ""
    namespace: str = ""


class StatusAddress(Model):
    """What the statuses of Gateways say of where they are reached; the first one that is set counts."""

    ip: str = ""
    hostname: str = ""
    service: ServiceReference | None = None

    @model_validator(mode="after")
    def _something(self) -> "StatusAddress":
        of_service = self.service is not None and self.service.name and self.service.namespace
        if not (self.ip or self.hostname or of_service):
            raise ValueError("needs ip, hostname, or the name and namespace of a service")
        return self


class KubernetesGateway(KubernetesProvider):
    """`providers.kubernetesGateway`: the kinds of the Gateway API.

    labelSelector        of GatewayClasses.
    experimentalChannel  TCPRoute and UDPRoute are read, too.
    statusAddress        is written into the statuses of Gateways.
    allowExternalNameServices  (extension) services of type ExternalName as backends.
    controllerName       (extension) the GatewayClasses that name this controller are ours.
    lease                (extension) as of `kubernetesIngress`.
    """

    ignored = keys("qps burst", "one request a kind is open, and few others are made")

    experimental_channel: bool = False
    status_address: StatusAddress | None = None
    controller_name: str = "traefik.io/gateway-controller"
    lease: str = ""

    @field_validator("lease")
    @classmethod
    def _named(cls, value: str) -> str:
        return check_lease(value)

    @field_validator("controller_name")
    @classmethod
    def _path(cls, value: str) -> str:
        domain, slash, path = value.partition("/")
        if not (domain and slash and path):
            raise ValueError(f"{value!r}: write example.com/name")
        return value
