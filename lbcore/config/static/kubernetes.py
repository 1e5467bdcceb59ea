"""`providers.kubernetesCRD`, ...: objects of a Kubernetes cluster as sources of configuration. No I/O."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from lbcore.config.model import Model
from lbcore.config.units import LimitDuration, seconds


class KubernetesProvider(Model):
    """Where a cluster is, and what of it counts.

    endpoint          of its API server. Without it: of the cluster that lbcore runs in, else by $KUBECONFIG.
    token             of the account, or a file that has it, which is read again and again.
    certAuthFilePath  authorities that the API server is trusted by.
    namespaces        that are read; none: all.
    labelSelector     objects of the provider's own kinds that do not match do not count.
    throttleDuration  least time between two publications, if it is longer than providersThrottleDuration.
    allowEmptyServices  a service without endpoints answers 503; otherwise what leads to it is not there.
    nativeLBByDefault   requests go to the address of a service, and Kubernetes chooses the pod.
    disableClusterScopeResources  what belongs to no namespace (nodes, ...) is not read.
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
    allow_empty_services: bool = True
    native_lb_by_default: bool = Field(default=False, alias="nativeLBByDefault")
    disable_cluster_scope_resources: bool = False
    cross_provider_namespaces: list[str] | None = None
    allow_empty: bool = False


class KubernetesCrd(KubernetesProvider):
    """`providers.kubernetesCRD`: the kinds of traefik.io/v1alpha1.

    ingressClass         routes of this class count; unset: those without one, and of class `traefik`.
    allowCrossNamespace  objects may refer to those of other namespaces.
    """

    ingress_class: str = ""
    allow_cross_namespace: bool = False
