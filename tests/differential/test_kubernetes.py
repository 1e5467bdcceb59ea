"""The objects of one API server in real Traefik and in lbcore: the same routers, services, middlewares and servers."""

# ruff: noqa: E501
from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import certificate
from tests.support.instance import eventually
from tests.support.kubernetes import Kubernetes, kubernetes, service, slice_of
from tests.support.ports import free_port
from tests.support.traefik import NAMES, start

COMPARED = {
    "routers": ("rule", "service", "entryPoints", "middlewares", "tls", "priority", "status"),
    "services": ("loadBalancer", "weighted", "mirroring", "failover", "highestRandomWeight", "middlewares"),
    "middlewares": (
        "addPrefix", "stripPrefix", "stripPrefixRegex", "replacePath", "replacePathRegex", "chain", "ipAllowList",
        "headers", "errors", "redirectRegex", "redirectScheme", "inFlightReq", "inFlightConn", "buffering", "retry", "rateLimit",
        "requestHeaderModifier", "responseHeaderModifier", "requestRedirect", "urlRewrite", "URLRewrite",
        "passTLSClientCert", "status", "circuitBreaker", "compress", "forwardAuth", "contentType",
    ),
}  # fmt: skip
OBJECTS = """
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: one}
spec:
  entryPoints: [web, other]
  routes:
    - match: Host(`one.test`) && PathPrefix(`/a`)
      kind: Rule
      priority: 42
      middlewares: [{name: strip}, {name: add_one}]
      services: [{name: web, port: 80, passHostHeader: false, strategy: p2c, responseForwarding: {flushInterval: 7ms}}]
    - match: Host(`one.test`)
      services: [{name: web, port: http}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: pool.with_strange-name}
spec:
  routes:
    - match: Host(`pool.test`)
      services:
        - {name: web, port: 80, weight: 3}
        - {name: api, port: 443, sticky: {cookie: {name: s, secure: true, path: /x, maxAge: 9}}}
        - {name: pool, kind: TraefikService}
        - {name: legacy, port: 80, scheme: h2c, weight: 0, serversTransport: trust}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: secure}
spec:
  routes:
    - {match: Host(`secure.test`), services: [{name: pool, kind: TraefikService}], middlewares: [{name: chain}]}
  tls: {secretName: cert, options: {name: strict}, domains: [{main: secure.test, sans: [a.test]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: internal}
spec:
  routes: [{match: Host(`api.test`), services: [{name: api@internal, kind: TraefikService}]}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: of-class}
spec: {ingressClassName: mine, routes: [{match: Host(`class.test`), services: [{name: web, port: 80}]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: annotated, annotations: {kubernetes.io/ingress.class: mine}}
spec: {routes: [{match: Host(`annotated.test`), services: [{name: web, port: 80}]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: usual}
spec: {ingressClassName: traefik, routes: [{match: Host(`usual.test`), services: [{name: web, port: 80}]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: labelled, namespace: team, labels: {tier: front}}
spec: {routes: [{match: Host(`labelled.test`), services: [{name: web, port: 80}]}]}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: empty}
spec: {routes: [{match: Host(`empty.test`), services: [{name: none, port: 80}]}]}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: pool}
spec:
  weighted:
    services: [{name: web, port: 80, weight: 2}, {name: mirrored, kind: TraefikService}]
    sticky: {cookie: {name: lb, httpOnly: true, sameSite: strict}}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: mirrored}
spec: {mirroring: {name: web, port: 80, mirrorBody: false, maxBodySize: 100, mirrors: [{name: api, port: 8080, percent: 10}]}}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: fails.over}
spec: {failover: {service: {name: web, port: 80}, fallback: {name: api, port: 8080}, errors: {status: ["500-504"], maxRequestBodyBytes: 7}}}
---
apiVersion: traefik.io/v1alpha1
kind: TraefikService
metadata: {name: by-address}
spec: {highestRandomWeight: {services: [{name: web, port: 80, weight: 5}, {name: api, port: 8080}]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: strip}
spec: {stripPrefix: {prefixes: [/a]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: add_one}
spec: {addPrefix: {prefix: /x}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: chain}
spec: {chain: {middlewares: [{name: strip}, {name: limit}]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: limit}
spec: {rateLimit: {average: 10, period: 2, burst: 5}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: breaker}
spec: {circuitBreaker: {expression: "NetworkErrorRatio() > 0.5", checkPeriod: 3, recoveryDuration: 5s}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: pages}
spec: {errors: {status: ["500-599"], query: "/{status}.html", service: {name: web, port: 80}}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: head}
spec: {headers: {customRequestHeaders: {X-A: b, X-Gone: ""}, stsSeconds: 9, accessControlAllowOriginList: ["*"]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: users}
spec: {basicAuth: {secret: users, realm: r}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: account}
spec: {basicAuth: {secret: account}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: asks}
spec: {forwardAuth: {address: "https://auth.test/x", trustForwardHeader: true, authResponseHeaders: [X-U]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: again}
spec: {retry: {attempts: 3, initialInterval: 100ms}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: small}
spec: {compress: {}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: to-https}
spec: {redirectScheme: {scheme: https, permanent: true}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: near}
spec: {ipAllowList: {sourceRange: [10.0.0.0/8]}}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: few}
spec: {inFlightReq: {amount: 5}}
---
apiVersion: traefik.io/v1alpha1
kind: ServersTransport
metadata: {name: trust}
spec: {serverName: x.test, rootCAs: [{secret: authority}, {configMap: authority}], forwardingTimeouts: {dialTimeout: 5, idleConnTimeout: 7s}, maxIdleConnsPerHost: 3}
---
apiVersion: traefik.io/v1alpha1
kind: TLSOption
metadata: {name: strict}
spec: {minVersion: VersionTLS12, sniStrict: true}
---
apiVersion: traefik.io/v1alpha1
kind: TLSStore
metadata: {name: default}
spec: {defaultCertificate: {secretName: cert}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRouteTCP
metadata: {name: db}
spec:
  entryPoints: [tcp]
  routes:
    - match: HostSNI(`*`)
      middlewares: [{name: few-connections}]
      services: [{name: web, port: 80, weight: 2, proxyProtocol: {version: 1}}, {name: api, port: 8080, tls: true, serversTransport: dial}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRouteTCP
metadata: {name: single.db}
spec:
  entryPoints: [other]
  routes: [{match: HostSNI(`db.test`), priority: 7, services: [{name: web, port: 80}]}]
  tls: {passthrough: true}
---
apiVersion: traefik.io/v1alpha1
kind: MiddlewareTCP
metadata: {name: few-connections}
spec: {inFlightConn: {amount: 9}}
---
apiVersion: traefik.io/v1alpha1
kind: ServersTransportTCP
metadata: {name: dial}
spec: {dialTimeout: 3s, tls: {insecureSkipVerify: true}}
---
apiVersion: traefik.io/v1alpha1
kind: IngressRouteUDP
metadata: {name: dns}
spec:
  entryPoints: [udp]
  routes: [{services: [{name: web, port: 80, weight: 2}, {name: api, port: 8080}]}]
"""
ACROSS = """
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: across}
spec:
  routes:
    - match: Host(`across.test`)
      middlewares: [{name: other, namespace: team}]
      services: [{name: web, namespace: team, port: 80}, {name: outside, port: 8443, scheme: https}, {name: outside, port: 81}]
---
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: ways}
spec:
  routes:
    - {match: Host(`native.test`), services: [{name: web, port: 80, nativeLB: true}]}
    - {match: Host(`nodes.test`), services: [{name: noded, port: 80, nodePortLB: true}]}
    - {match: Host(`healthy.test`), services: [{name: outside, port: 81, healthCheck: {path: /h, interval: 7}}]}
---
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: other, namespace: team}
spec: {addPrefix: {prefix: /team}}
"""


INGRESSES = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i}
spec: {rules: [{host: ing.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: paths}
spec:
  tls: [{hosts: [paths.test], secretName: cert}]
  rules:
    - host: paths.test
      http:
        paths:
          - {path: /foo, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}
          - {path: /exact, pathType: Exact, backend: {service: {name: api, port: {number: 8080}}}}
          - {path: /any, pathType: ImplementationSpecific, backend: {service: {name: api, port: {name: https-x}}}}
          - {path: /a.b, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /a-b, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
    - http: {paths: [{path: /no-host, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: noted
  annotations:
    traefik.ingress.kubernetes.io/router.entrypoints: web, other
    traefik.ingress.kubernetes.io/router.middlewares: default-strip@kubernetescrd
    traefik.ingress.kubernetes.io/router.priority: "42"
    traefik.ingress.kubernetes.io/router.pathmatcher: PathRegexp
    traefik.ingress.kubernetes.io/router.tls.domains.0.main: noted.test
    traefik.ingress.kubernetes.io/router.tls.domains.0.sans: a.test,b.test
    traefik.ingress.kubernetes.io/router.observability.accesslogs: "false"
    other.example.com/x: y
spec: {rules: [{host: noted.test, http: {paths: [{path: "/r.*", pathType: ImplementationSpecific, backend: {service: {name: noted, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: over-tls, annotations: {traefik.ingress.kubernetes.io/router.tls: "true"}}
spec: {rules: [{host: tls.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: noded, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: by-class}
spec: {ingressClassName: ours, rules: [{host: class.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: by-other-class}
spec: {ingressClassName: theirs, rules: [{host: other.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: by-annotation, annotations: {kubernetes.io/ingress.class: ours}}
spec: {rules: [{host: annotation.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: fallback, annotations: {traefik.ingress.kubernetes.io/router.entrypoints: web}}
spec: {defaultBackend: {service: {name: api, port: {number: 8080}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: empty}
spec: {rules: [{host: empty.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: none, port: {number: 80}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: outside}
spec: {rules: [{host: out.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: outside, port: {number: 81}}}}]}}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: theirs}
spec: {controller: example.com/other}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    pair = certificate(tmp_path_factory.mktemp("pair"), "cert", "secure.test")
    texts = {"tls.crt": Path(pair.certificate).read_text(), "tls.key": Path(pair.key).read_text()}
    with kubernetes() as found:
        for namespace in ("default", "team"):
            ports = [{"name": "http", "port": 80}]
            found.apply(service("web", None, namespace, ports=ports))
            slices = slice_of("web", ["127.0.0.2", "127.0.0.3"], 8080, namespace)
            found.apply({**slices, "ports": [{"name": "http", "port": 8080}]})
            more = slice_of("web", ["127.0.0.3", "127.0.0.4"], 8080, namespace, "b", ready=False, serving=False)
            found.apply({**more, "ports": [{"name": "http", "port": 8080}]})
        found.apply(service("api", None, ports=[{"name": "h2", "port": 8080}, {"name": "https-x", "port": 443}]))
        slices = slice_of("api", ["127.0.0.5"], 9)
        found.apply({**slices, "ports": [{"name": "https-x", "port": 8443}, {"name": "h2", "port": 8081}]})
        found.apply(service("none"))
        found.apply(service("legacy"))
        found.apply(slice_of("legacy", ["127.0.0.6"], 80))
        found.apply(service("outside", 81, type="ExternalName", externalName="out.test"))
        found.apply({"kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.9"}, {"type": "ExternalIP", "address": "127.0.0.8"}]}})
        for name, data, kind in (
            ("cert", texts, "kubernetes.io/tls"), ("authority", {"ca.crt": texts["tls.crt"]}, "Opaque"),
            ("users", {"file": "a:$apr1$x$y\nb:{SHA}z\n"}, "Opaque"), ("account", {"username": "u", "password": "p"}, "kubernetes.io/basic-auth"),
        ):  # fmt: skip
            found.apply({"kind": "Secret", "metadata": {"name": name}, "stringData": data, "type": kind})
        found.apply({"kind": "ConfigMap", "metadata": {"name": "authority"}, "data": {"ca.crt": texts["tls.crt"]}})
        noted = service("noted")
        notes = {
            "serversscheme": "https", "passhostheader": "false", "sticky.cookie": "true", "sticky.cookie.name": "c",
            "sticky.cookie.secure": "true", "middlewares": "default-add-one@kubernetescrd",
        }  # fmt: skip
        prefix = "traefik.ingress.kubernetes.io/service."
        noted["metadata"]["annotations"] = {prefix + key: value for key, value in notes.items()}
        found.apply(noted)
        found.apply(slice_of("noted", ["127.0.0.7"], 7))
        found.apply(OBJECTS)
        found.apply(INGRESSES)
        yield found


def objects(port: int, layer: str, kind: str, provider: str = "kubernetescrd") -> dict[str, Any] | None:
    """The objects of the provider, by name, without what is not compared."""
    with (
        contextlib.suppress(OSError),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{layer}/{kind}?per_page=1000") as answer,
    ):
        found = {}
        for each in json.load(answer):
            if each["name"].endswith(f"@{provider}"):
                view = {key: each.get(key) for key in COMPARED[kind] if each.get(key) not in (None, [], {})}
                if (balancer := view.get("loadBalancer")) is not None and "servers" in balancer:
                    balancer["servers"] = sorted(balancer["servers"], key=json.dumps)
                # The same by other words: names are qualified, and defaults are filled in.
                for part, names in (("chain", "middlewares"),):
                    if part in view:
                        view[part] = {names: [name.removesuffix(f"@{provider}") for name in view[part][names]]}
                for default in ("mode", "unhealthyInterval"):
                    ((balancer or {}).get("healthCheck") or {}).pop(default, None)
                found[each["name"]] = view
        return found
    return None


def compared(cluster: Kubernetes, folder: Path, providers: dict[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    """What Traefik and lbcore make of the cluster, by provider, layer and kind."""
    processes, apis = {}, {}
    try:
        for name in NAMES:
            ports = {point: free_port() for point in ("web", "other", "tcp", "traefik")}
            static = {
                "entryPoints": {point: {"address": f"127.0.0.1:{port}"} for point, port in ports.items()},
                "api": {"insecure": True},
                "providers": {"providersThrottleDuration": "0s", **providers},
            }
            static["entryPoints"]["udp"] = {"address": f"127.0.0.1:{free_port()}/udp"}
            processes[name], apis[name] = start(name, folder, static), ports["traefik"]
        found: dict[str, dict[str, Any]] = {}
        for name, api in apis.items():
            for provider in names:

                def routers(api: int = api, provider: str = provider) -> Any:
                    return objects(api, "http", "routers", provider)

                eventually(routers, f"{name} has read the cluster")
            found[name] = {
                f"{provider} {layer} {kind}": objects(api, layer, kind, provider)
                for provider in names
                for layer in ("http", "tcp", "udp")
                for kind in ("routers", "services", "middlewares")
                if (layer, kind) != ("udp", "middlewares")
            }
        return found
    finally:
        for process in processes.values():
            process.send_signal(signal.SIGTERM)
        for process in processes.values():
            process.wait(30)


# Of custom resources, and of Ingresses.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "usual": ({"allowEmptyServices": True}, {"allowEmptyServices": True, "allowExternalNameServices": True}),
    "of a class": (
        {"allowEmptyServices": True, "ingressClass": "mine", "namespaces": ["default"]},
        {"allowEmptyServices": True, "ingressClass": "ours", "strictPrefixMatching": True, "nativeLBByDefault": True},
    ),
    "across": (
        {"allowEmptyServices": True, "allowCrossNamespace": True, "allowExternalNameServices": True, "nativeLBByDefault": False, "throttleDuration": "1s"},
        None,
    ),
    "no empty service": (
        {"allowEmptyServices": False, "disableClusterScopeResources": True},
        {"allowEmptyServices": False, "disableClusterScopeResources": True, "strictPrefixMatching": True, "allowExternalNameServices": True},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_custom_resources_and_ingresses(cluster: Kubernetes, tmp_path: Path, case: str) -> None:
    of_resources, of_ingresses = CASES[case]
    settings = {"endpoint": cluster.url, "token": "of-a-test"}
    providers, names = {"kubernetesCRD": {**settings, **of_resources}}, ["kubernetescrd"]
    if of_ingresses is not None:
        providers["kubernetesIngress"] = {**settings, **of_ingresses}
        names.append("kubernetes")
    nodes = service("noded", None, type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    if "disableClusterScopeResources" not in of_resources:
        nodes["metadata"]["annotations"] = {"traefik.ingress.kubernetes.io/service.nodeportlb": "true"}
    cluster.apply(nodes)
    try:
        if case == "across":
            cluster.apply(ACROSS)
        found = compared(cluster, tmp_path, providers, names)
    finally:
        if case == "across":
            cluster.delete("IngressRoute", "across")
            cluster.delete("IngressRoute", "ways")
            cluster.delete("Middleware", "other", "team")
    theirs, ours = found["traefik"], found["lbcore"]
    for kind in theirs:
        assert ours[kind].keys() == theirs[kind].keys(), kind
        for name in theirs[kind]:
            mine, other = (json.dumps(each[kind][name], sort_keys=True) for each in (ours, theirs))
            assert mine == other, f"{kind} {name}"


GATEWAYS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: ours}
spec: {controllerName: traefik.io/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs}
spec: {controllerName: example.com/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: ours
  listeners:
    - {name: http, protocol: HTTP, port: WEB, allowedRoutes: {namespaces: {from: All}}}
    - {name: https, protocol: HTTPS, port: OTHER, hostname: "*.secure.test", tls: {mode: Terminate, certificateRefs: [{kind: Secret, group: "", name: cert}]}}
    - {name: tls, protocol: TLS, port: TCP, tls: {mode: Passthrough}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: paths}
spec:
  parentRefs: [{name: gw, sectionName: http}]
  hostnames: [gw.test]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{name: web, port: 80}]
    - matches: [{path: {type: Exact, value: /exact}}, {path: {type: PathPrefix, value: /prefix/}}, {path: {type: RegularExpression, value: "/re.*"}}]
      backendRefs: [{name: web, port: 80, weight: 3}, {name: api, port: 8080}]
    - matches:
        - path: {type: PathPrefix, value: /m}
          method: POST
          headers: [{name: x-a, value: b}, {type: RegularExpression, name: x-c, value: "d.*"}]
          queryParams: [{name: q, value: "1"}, {type: RegularExpression, name: r, value: "2+"}]
      backendRefs: [{name: web, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /gone}}]
      backendRefs: [{name: web, port: 80}, {name: gone, port: 80, weight: 0}]
    - matches: [{path: {type: PathPrefix, value: /tls}}]
      backendRefs: [{name: api, port: 443}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: filters}
spec:
  parentRefs: [{name: gw}]
  hostnames: ["*.secure.test", "*.filter.test"]
  rules:
    - matches: [{path: {type: PathPrefix, value: /redirect}}]
      filters: [{type: RequestRedirect, requestRedirect: {scheme: https, hostname: x.test, statusCode: 301, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}]
    - matches: [{path: {type: PathPrefix, value: /headers}}]
      filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-A, value: a}], add: [{name: X-B, value: b}], remove: [X-C]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-D, value: d}]}}
      backendRefs: [{name: web, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-E, value: e}]}}]}]
    - matches: [{path: {type: PathPrefix, value: /rewrite}}]
      filters: [{type: URLRewrite, urlRewrite: {hostname: y.test, path: {type: ReplaceFullPath, replaceFullPath: /all}}}]
      backendRefs: [{name: web, port: 80}]
    - matches: [{path: {type: PathPrefix, value: /extension}}]
      filters: [{type: ExtensionRef, extensionRef: {group: traefik.io, kind: Middleware, name: strip}}]
      backendRefs: [{name: web, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api}
spec:
  parentRefs: [{name: gw, sectionName: http}]
  hostnames: [api.test]
  rules:
    - matches: [{path: {type: PathPrefix, value: /}}]
      backendRefs: [{group: traefik.io, kind: TraefikService, name: api@internal}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: across, namespace: team}
spec:
  parentRefs: [{name: gw, namespace: default, sectionName: http}]
  hostnames: [across.test]
  rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: web, namespace: default, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: grant}
spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: team}], to: [{group: "", kind: Service, name: web}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: elsewhere}
spec:
  parentRefs: [{name: gw, sectionName: https}]
  hostnames: [not.test]
  rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: db}
spec:
  parentRefs: [{name: gw, sectionName: tls}]
  hostnames: [db.test, "*.db.test"]
  rules: [{backendRefs: [{name: web, port: 80, weight: 2}, {name: api, port: 8080}]}]
"""


def plain(view: dict[str, Any]) -> dict[str, Any]:
    """A service or middleware as both say it."""
    found = json.loads(json.dumps(view))
    for child in (found.get("weighted") or {}).get("services", []):
        child.pop("status", None)  # of what cannot be resolved: it has another form here
    for redirect in ("requestRedirect", "urlRewrite", "URLRewrite"):
        if redirect in found:
            parts = {key: value for key, value in found.pop(redirect).items() if value not in ("", 0, None)}
            found[redirect.lower()] = parts
    return found


def by_rule(found: dict[str, Any]) -> dict[str, Any]:
    """The same with another digest of the rule in the names of a router and what belongs to it."""
    text = json.dumps(found)
    for name, router in (found["http routers"] | found["tcp routers"]).items():
        if (known := name.partition("@")[0].rpartition("-")[2]) != "host":
            text = text.replace(known, hashlib.sha256(router["rule"].encode()).hexdigest()[:20])
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def test_gateways(cluster: Kubernetes, tmp_path: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    settings = {"endpoint": cluster.url, "token": "of-a-test"}
    ports = {point: free_port() for point in ("web", "other", "tcp")}
    text = GATEWAYS
    for point, port in ports.items():
        text = text.replace(f"port: {point.upper()}", f"port: {port}")
    cluster.apply(text)
    statuses = {}
    for name in NAMES:  # one after the other: they share the ports of the listeners
        api_port = free_port()
        static = {
            "entryPoints": {point: {"address": f"127.0.0.1:{port}"} for point, port in ports.items()},
            "api": {"insecure": True},
            "providers": {"providersThrottleDuration": "0s", "kubernetesGateway": settings, "kubernetesCRD": settings},
        }
        static["entryPoints"]["traefik"] = {"address": f"127.0.0.1:{api_port}"}
        process = start(name, tmp_path, static)
        try:

            def routers(port: int = api_port) -> Any:
                return objects(port, "http", "routers", "kubernetesgateway")

            eventually(routers, f"{name} has read the cluster")
            found[name] = {
                f"{layer} {kind}": objects(api_port, layer, kind, "kubernetesgateway")
                for layer in ("http", "tcp")
                for kind in ("routers", "services", "middlewares")
            }

            def told(name: str = name) -> Any:
                return {
                    route: [
                        {said["type"]: (said["status"], said["reason"]) for said in parent["conditions"]}
                        for parent in cluster.get("HTTPRoute", route)["status"]["parents"]
                    ]
                    for route in ("paths", "filters", "api", "elsewhere")
                    if cluster.get("HTTPRoute", route).get("status")
                }

            eventually(lambda: len(told()) == 4, f"{name} has written statuses")
            statuses[name] = told()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        for route in ("paths", "filters", "api", "elsewhere"):
            cluster.forget_status("HTTPRoute", route)
    theirs, ours = (by_rule(found[name]) for name in ("traefik", "lbcore"))
    assert statuses["lbcore"] == statuses["traefik"]
    # What closes connections for names that nobody has is a router there.
    theirs["tcp routers"].pop("deny-unknown-host@kubernetesgateway")
    theirs["tcp services"].pop("deny-unknown-host@kubernetesgateway")
    for each in (*ours["http routers"].values(), *theirs["http routers"].values()):
        each.pop("priority")  # the order is another one: see differences.md
    refused = {name for name in ours["http services"] if "-gone-" in name}
    for name in refused:
        ours["http services"].pop(name)
    for kind in theirs:
        assert ours[kind].keys() == theirs[kind].keys(), kind
        for name in theirs[kind]:
            mine, other = (json.dumps(plain(each[kind][name]), sort_keys=True) for each in (ours, theirs))
            assert mine == other, f"{kind} {name}"
