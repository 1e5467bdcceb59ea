"""The expectations of the Gateway API's conformance suite as a table: its names, objects of ours, what is asked and answered.

All objects are in one cluster at once, told apart by their hostnames.
"""

# ruff: noqa: E501
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CLASS = "gateway.networking.k8s.io/v1"


@dataclass(frozen=True)
class Ask:
    """A request, and what is expected. `server`: the backend that answers. `seen`: headers that it sees (None: not)."""

    host: str
    path: str = "/"
    status: int = 200
    server: str = ""
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str | None] = field(default_factory=dict)
    told: dict[str, str | None] = field(default_factory=dict)
    asked: str = ""
    at: str = "http"


def route(name: str, hosts: list[str], rules: list[dict[str, Any]], namespace: str = "infra", kind: str = "HTTPRoute", parents: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"parentRefs": parents or [{"name": "same", "namespace": "infra"}], "rules": rules}
    if hosts:
        spec["hostnames"] = hosts
    return {"apiVersion": CLASS, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def to(*names: str, port: int = 8080, namespace: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "port": port, **({"namespace": namespace} if namespace else {}), **more} for name in names]


def prefix(value: str, kind: str = "PathPrefix") -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


def filtered(kind: str, **settings: Any) -> dict[str, Any]:
    return {"type": kind, kind[0].lower() + kind[1:] if kind not in ("URLRewrite", "CORS") else {"URLRewrite": "urlRewrite", "CORS": "cors"}[kind]: settings}


def lines(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


REDIRECTS = [
    ("host", {"hostname": "example.org"}, 302, "http://example.org:{port}/host"),
    ("host-and-status", {"hostname": "example.org", "statusCode": 301}, 301, "http://example.org:{port}/host-and-status"),
    ("scheme", {"scheme": "https"}, 302, "https://{host}/scheme"),
    ("port", {"port": 8083}, 302, "http://{host}:8083/port"),
    ("scheme-and-port", {"scheme": "https", "port": 8443}, 302, "https://{host}:8443/scheme-and-port"),
    ("own-port", {"scheme": "https", "port": 443}, 302, "https://{host}/own-port"),
    ("full", {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}, 302, "http://{host}:{port}/x"),
    ("prefix", {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}, 302, "http://{host}:{port}/new"),
    *((f"status-{code}", {"statusCode": code}, code, f"http://{{host}}:{{port}}/status-{code}") for code in (301, 302, 303, 307, 308)),
]  # fmt: skip
REDIRECT_RULES = [
    {"matches": [prefix(f"/{name}", "PathPrefix")], "filters": [filtered("RequestRedirect", **settings)]}
    for name, settings, _, _ in REDIRECTS
]
HEADERS = {"set": lines(X_Header_Set="set-overwrites-values"), "add": lines(X_Header_Add="add-appends-values"), "remove": ["X-Header-Remove"]}
GRANT = {"kind": "ReferenceGrant", "apiVersion": "gateway.networking.k8s.io/v1beta1"}

ROUTES: list[dict[str, Any]] = [
    route("simple", ["simple.test"], [{"backendRefs": to("v1")}]),
    route("exact", ["exact.test"], [{"matches": [prefix("/one", "Exact")], "backendRefs": to("v1")}, {"matches": [prefix("/two", "Exact")], "backendRefs": to("v2")}]),
    route("order", ["order.test"], [
        {"matches": [prefix("/match/exact", "Exact")], "backendRefs": to("v3")}, {"matches": [prefix("/match/exact/one", "Exact")], "backendRefs": to("v2")},
        {"matches": [prefix("/match", "Exact")], "backendRefs": to("v1")}, {"matches": [prefix("/match/prefix/")], "backendRefs": to("v2")},
        {"matches": [prefix("/match/prefix/one")], "backendRefs": to("v1")}, {"matches": [prefix("/match/")], "backendRefs": to("v3")},
    ]),
    route("headers", ["headers.test"], [
        {"matches": [{"headers": lines(version="one")}], "backendRefs": to("v1")}, {"matches": [{"headers": lines(version="two")}], "backendRefs": to("v2")},
        {"matches": [{"headers": lines(version="two", color="orange")}], "backendRefs": to("v1")},
        {"matches": [{"headers": lines(color="blue")}, {"headers": lines(color="green")}], "backendRefs": to("v1")},
        {"matches": [{"headers": lines(color="red")}, {"headers": lines(color="yellow")}], "backendRefs": to("v2")},
    ]),
    route("matching", ["matching.test"], [{"matches": [prefix("/"), {"headers": lines(version="one")}], "backendRefs": to("v1")}, {"matches": [prefix("/v2"), {"headers": lines(version="two")}], "backendRefs": to("v2")}]),
    route("across-1", ["across.test"], [{"matches": [prefix("/"), {"headers": lines(version="one")}], "backendRefs": to("v1")}]),
    route("across-2", ["across.test"], [{"matches": [prefix("/v2"), {"headers": lines(version="two")}], "backendRefs": to("v2")}]),
    route("method", ["method.test"], [
        {"matches": [{"method": "POST"}], "backendRefs": to("v1")}, {"matches": [{"method": "GET"}], "backendRefs": to("v2")},
        {"matches": [{**prefix("/path1"), "method": "GET"}], "backendRefs": to("v1")}, {"matches": [{"method": "PUT", "headers": lines(version="two")}], "backendRefs": to("v2")},
        {"matches": [prefix("/path5")], "backendRefs": to("v1")}, {"matches": [{"method": "PATCH"}], "backendRefs": to("v2")}, {"matches": [{"headers": lines(version="four")}], "backendRefs": to("v3")},
    ]),
    route("query", ["query.test"], [
        {"matches": [{"queryParams": lines(animal="whale")}], "backendRefs": to("v1")}, {"matches": [{"queryParams": lines(animal="dolphin")}], "backendRefs": to("v2")},
        {"matches": [{"queryParams": lines(animal="dolphin", color="blue")}], "backendRefs": to("v3")},
    ]),
    route("named", ["named.test"], [{"name": "a-rule", "matches": [prefix("/named")], "backendRefs": to("v1")}, {"matches": [prefix("/unnamed")], "backendRefs": to("v2")}]),
    route("hosts-1", ["very.specific.com"], [{"matches": [prefix("/s1")], "backendRefs": to("v1")}], parents=[{"name": "hosts"}]),
    route("hosts-2", ["*.specific.com", "wildcard.io"], [{"matches": [prefix("/s2")], "backendRefs": to("v2")}], parents=[{"name": "hosts"}]),
    route("hosts-3", ["not.there.test"], [{"matches": [prefix("/s3")], "backendRefs": to("v3")}], parents=[{"name": "hosts"}]),
    route("across-namespaces", ["across-namespaces.test"], [{"backendRefs": to("web")}], "apps"),
    route("granted", ["granted.test"], [{"backendRefs": to("web", namespace="apps")}]),
    route("not-granted", ["not-granted.test"], [{"backendRefs": to("other", namespace="apps")}]),
    route("partly", ["partly.test"], [{"matches": [prefix("/v2")], "backendRefs": to("other", namespace="apps")}, {"backendRefs": to("v1")}]),
    route("unknown-kind", ["unknown-kind.test"], [{"backendRefs": to("v1", kind="NonExistent", group="example.com")}]),
    route("missing", ["missing.test"], [{"backendRefs": to("nowhere")}]),
    route("no-backends", ["no-backends.test"], [{"matches": [prefix("/")]}]),
    route("no-endpoints", ["no-endpoints.test"], [{"backendRefs": to("empty")}]),
    route("not-allowed", ["not-allowed.test"], [{"backendRefs": to("web")}], "apps", parents=[{"name": "hosts", "namespace": "infra"}]),
    route("wrong-section", ["wrong-section.test"], [{"backendRefs": to("v1")}], parents=[{"name": "same", "sectionName": "none"}]),
    route("wrong-port", ["wrong-port.test"], [{"backendRefs": to("v1")}], parents=[{"name": "same", "port": 1}]),
    route("redirects", ["redirects.test"], REDIRECT_RULES),
    route("request-headers", ["request-headers.test"], [{"filters": [filtered("RequestHeaderModifier", **HEADERS)], "backendRefs": to("v1")}]),
    route("backend-headers", ["backend-headers.test"], [{"backendRefs": to("v1", filters=[filtered("RequestHeaderModifier", **HEADERS)])}]),
    route("response-headers", ["response-headers.test"], [{"filters": [filtered("ResponseHeaderModifier", **HEADERS)], "backendRefs": to("v1")}]),
    route("rewrite", ["rewrite.test"], [
        {"matches": [prefix("/host")], "filters": [filtered("URLRewrite", hostname="one.example.org")], "backendRefs": to("v1")},
        {"matches": [prefix("/prefix/one")], "filters": [filtered("URLRewrite", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/one"})], "backendRefs": to("v1")},
        {"matches": [prefix("/strip-prefix")], "filters": [filtered("URLRewrite", path={"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"})], "backendRefs": to("v1")},
        {"matches": [prefix("/full/one")], "filters": [filtered("URLRewrite", path={"type": "ReplaceFullPath", "replaceFullPath": "/one"}), filtered("RequestHeaderModifier", **HEADERS)], "backendRefs": to("v1")},
    ]),
    route("mirror", ["mirror.test"], [
        {"matches": [prefix("/one")], "filters": [filtered("RequestMirror", backendRef=to("v2")[0])], "backendRefs": to("v1")},
        {"matches": [prefix("/two")], "filters": [filtered("RequestMirror", backendRef=to("v2")[0]), filtered("RequestMirror", backendRef=to("v3")[0])], "backendRefs": to("v1")},
        {"matches": [prefix("/none")], "filters": [filtered("RequestMirror", backendRef=to("v2")[0], percent=0)], "backendRefs": to("v1")},
        {"matches": [prefix("/lost")], "filters": [filtered("RequestMirror", backendRef=to("nowhere")[0])], "backendRefs": to("v1")},
    ]),
    route("timeouts", ["timeouts.test"], [
        {"matches": [prefix("/request")], "timeouts": {"request": "200ms"}, "backendRefs": to("v1")},
        {"matches": [prefix("/backend")], "timeouts": {"backendRequest": "200ms"}, "backendRefs": to("v1")},
        {"matches": [prefix("/off")], "timeouts": {"request": "0s"}, "backendRefs": to("v1")},
    ]),
    route("retry", ["retry.test"], [{"retry": {"attempts": 2, "codes": [503], "backoff": "1ms"}, "backendRefs": to("v1")}]),
    route("cors", ["cors.test"], [
        {"filters": [filtered("CORS", allowOrigins=["https://www.foo.com", "https://*.bar.com"], allowMethods=["GET", "OPTIONS"], allowHeaders=["x-a"], exposeHeaders=["x-b"], allowCredentials=True, maxAge=3600)], "backendRefs": to("v1")},
    ]),
    route("weights", ["weights.test"], [{"backendRefs": [{**to("v1")[0], "weight": 3}, {**to("v2")[0], "weight": 1}, {**to("v3")[0], "weight": 0}]}]),
    route("weights-bad", ["weights-bad.test"], [{"backendRefs": [{**to("v1")[0], "weight": 1}, {**to("nowhere")[0], "weight": 1}]}]),
    route("session", ["session.test"], [{"sessionPersistence": {"sessionName": "sid"}, "backendRefs": to("v1", "v2")}]),
    route("unsupported", ["unsupported.test"], [{"matches": [prefix("/bad")], "filters": [{"type": "ExternalAuth", "externalAuth": {}}], "backendRefs": to("v1")}, {"backendRefs": to("v1")}]),
    route("unsupported-all", ["unsupported-all.test"], [{"sessionPersistence": {"type": "Header", "sessionName": "x"}, "backendRefs": to("v1")}]),
    route("secure", ["www.secure.test"], [{"backendRefs": to("v1")}], parents=[{"name": "same", "sectionName": "https"}]),
    route("protocols", ["protocols.test"], [
        {"matches": [prefix("/h2c")], "backendRefs": to("v1", port=8081)}, {"matches": [prefix("/ws")], "backendRefs": to("v1", port=8082)},
        {"matches": [prefix("/unknown")], "backendRefs": to("v1", port=8083)}, {"matches": [prefix("/tls")], "backendRefs": to("v1", port=8443)}, {"matches": [prefix("/badca")], "backendRefs": to("v1", port=8444)},
    ]),
    route("grpc", ["grpc.test"], [
        {"matches": [{"method": {"service": "a.Echo", "method": "Echo"}}], "backendRefs": to("v1")}, {"matches": [{"method": {"service": "a.Echo"}}], "backendRefs": to("v2")},
        {"matches": [{"headers": lines(version="three")}], "backendRefs": to("v3")},
    ], kind="GRPCRoute"),
]  # fmt: skip

M = {"X-Header-Set": "some-other-value", "X-Header-Add": "a", "X-Header-Remove": "x"}
SEEN: dict[str, str | None] = {"x-header-set": "set-overwrites-values", "x-header-add": "a, add-appends-values", "x-header-remove": None}

CASES: dict[str, list[Ask]] = {
    "HTTPRouteSimpleSameNamespace": [Ask("simple.test", server="v1"), Ask("other.test", status=404)],
    "HTTPRouteExactPathMatching": [Ask("exact.test", "/one", server="v1"), Ask("exact.test", "/two", server="v2"), *(Ask("exact.test", path, 404) for path in ("/", "/one/example", "/two/", "/Two"))],
    "HTTPRoutePathMatchOrder": [
        Ask("order.test", "/match/exact/one", server="v2"), Ask("order.test", "/match/exact", server="v3"), Ask("order.test", "/match", server="v1"),
        Ask("order.test", "/match/prefix/one/any", server="v1"), Ask("order.test", "/match/prefix/any", server="v2"), Ask("order.test", "/match/any", server="v3"),
    ],
    "HTTPRouteHeaderMatching": [
        Ask("headers.test", headers={"Version": "one"}, server="v1"), Ask("headers.test", headers={"Version": "two"}, server="v2"),
        Ask("headers.test", headers={"Version": "two", "Color": "orange"}, server="v1"), *(Ask("headers.test", headers={"Color": color}, server="v1") for color in ("blue", "green")),
        *(Ask("headers.test", headers={"Color": color}, server="v2") for color in ("red", "yellow")), Ask("headers.test", headers={"Color": "purple"}, status=404),
        Ask("headers.test", headers={"Version": "one", "Color": "orange"}, server="v1"), Ask("headers.test", status=404),
    ],
    "HTTPRouteMatching": [
        Ask("matching.test", server="v1"), Ask("matching.test", "/example", server="v1"), Ask("matching.test", headers={"Version": "one"}, server="v1"), Ask("matching.test", "/v2", server="v2"),
        Ask("matching.test", "/v2/example", server="v2"), Ask("matching.test", headers={"Version": "two"}, server="v2"), Ask("matching.test", "/v2/", server="v2"), Ask("matching.test", "/v2example", server="v1"),
        Ask("matching.test", "/foo/v2/example", server="v1"),
    ],
    "HTTPRouteMatchingAcrossRoutes": [
        Ask("across.test", server="v1"), Ask("across.test", "/v2", server="v2"), Ask("across.test", "/v2example", server="v1"), Ask("across.test", headers={"Version": "one"}, server="v1"),
        Ask("across.test", headers={"Version": "two"}, server="v2"),
    ],
    "HTTPRouteMethodMatching": [
        Ask("method.test", method="POST", server="v1"), Ask("method.test", server="v2"), Ask("method.test", method="HEAD", status=404), Ask("method.test", "/path1", server="v1"),
        Ask("method.test", method="PUT", headers={"version": "two"}, server="v2"), Ask("method.test", "/path5", method="PATCH", server="v1"), Ask("method.test", method="PATCH", headers={"version": "four"}, server="v2"),
    ],
    "HTTPRouteQueryParamMatching": [
        Ask("query.test", "/?animal=whale", server="v1"), Ask("query.test", "/?animal=dolphin", server="v2"), Ask("query.test", "/?animal=dolphin&color=blue", server="v3"),
        Ask("query.test", "/?animal=whale&otherparam=irrelevant", server="v1"), Ask("query.test", "/?ANIMAL=dolphin", status=404), Ask("query.test", "/?animal=dog", status=404),
    ],
    "HTTPRouteNamedRule": [Ask("named.test", "/named", server="v1"), Ask("named.test", "/unnamed", server="v2")],
    "HTTPRouteHostnameIntersection": [
        Ask("very.specific.com", "/s1", server="v1"), Ask("non.matching.com", "/s1", 404), Ask("foo.specific.com", "/s2", server="v2"), Ask("foo.wildcard.io", "/s2", 404),
        Ask("very.specific.com", "/s3", 404), Ask("not.there.test", "/s3", 404), Ask("foo.specific.com", "/s1", 404),
    ],
    "HTTPRouteCrossNamespace": [Ask("across-namespaces.test", server="web")],
    "HTTPRouteReferenceGrant": [Ask("granted.test", server="web")],
    "HTTPRouteInvalidReferenceGrant": [Ask("not-granted.test", status=500)],
    "HTTPRoutePartiallyInvalidViaInvalidReferenceGrant": [Ask("partly.test", "/v2", 500), Ask("partly.test", server="v1")],
    "HTTPRouteInvalidBackendRefUnknownKind": [Ask("unknown-kind.test", status=500)],
    "HTTPRouteInvalidNonExistentBackendRef": [Ask("missing.test", status=500)],
    "HTTPRouteNoBackendRefs": [Ask("no-backends.test", status=500)],
    "HTTPRouteNoReadyEndpoints": [Ask("no-endpoints.test", status=503)],
    "HTTPRouteInvalidCrossNamespaceParentRef": [Ask("not-allowed.test", status=404)],
    "HTTPRouteInvalidParentRefNotMatching": [Ask("wrong-section.test", status=404), Ask("wrong-port.test", status=404)],
    "HTTPRouteRedirect": [Ask("redirects.test", f"/{name}", status, told={"location": location}) for name, _, status, location in REDIRECTS],
    "HTTPRouteRequestHeaderModifier": [Ask("request-headers.test", headers=M, seen=SEEN, server="v1"), Ask("request-headers.test", seen={"x-header-set": "set-overwrites-values"}, server="v1")],
    "HTTPRouteBackendRequestHeaderModifier": [Ask("backend-headers.test", headers=M, seen=SEEN, server="v1")],
    "HTTPRouteResponseHeaderModifier": [Ask("response-headers.test", server="v1", told={"x-header-set": "set-overwrites-values", "x-header-add": "server, add-appends-values", "x-header-remove": None})],
    "HTTPRouteRewriteHost": [Ask("rewrite.test", "/host", seen={"host": "one.example.org"}, server="v1")],
    "HTTPRouteRewritePath": [
        Ask("rewrite.test", "/prefix/one/two", asked="/one/two", server="v1"), Ask("rewrite.test", "/strip-prefix/three", asked="/three", server="v1"), Ask("rewrite.test", "/strip-prefix", asked="/", server="v1"),
        Ask("rewrite.test", "/full/one/two?q=1", asked="/one?q=1", headers=M, seen=SEEN, server="v1"),
    ],
    "HTTPRouteTimeoutRequest": [Ask("timeouts.test", "/request/slow", 504), Ask("timeouts.test", "/request", server="v1"), Ask("timeouts.test", "/off", server="v1")],
    "HTTPRouteTimeoutBackendRequest": [Ask("timeouts.test", "/backend/slow", 504), Ask("timeouts.test", "/backend", server="v1")],
    "HTTPRouteRetry": [Ask("retry.test", "/fails-twice", server="v1")],
    "HTTPRouteCORS": [
        Ask("cors.test", method="OPTIONS", headers={"Origin": "https://www.foo.com", "Access-Control-Request-Method": "GET"}, status=200, told={"access-control-allow-origin": "https://www.foo.com", "access-control-allow-methods": "GET,OPTIONS", "access-control-max-age": "3600", "access-control-allow-credentials": "true"}),
        Ask("cors.test", headers={"Origin": "https://a.bar.com"}, server="v1", told={"access-control-allow-origin": "https://a.bar.com", "access-control-expose-headers": "x-b"}),
        Ask("cors.test", headers={"Origin": "https://evil.com"}, server="v1", told={"access-control-allow-origin": None}),
        Ask("cors.test", headers={"Origin": "https://evil.com/.bar.com"}, server="v1", told={"access-control-allow-origin": None}),
    ],
    "UnsupportedFilter": [Ask("unsupported.test", "/bad", 500), Ask("unsupported.test", server="v1"), Ask("unsupported-all.test", status=500)],
    "HTTPRouteHTTPSListener": [Ask("www.secure.test", server="v1", at="https"), Ask("www.secure.test", status=404)],
    "HTTPRouteBackendProtocol": [Ask("protocols.test", "/ws", server="v1"), Ask("protocols.test", "/unknown", 500)],
    "BackendTLSPolicy": [Ask("protocols.test", "/tls", server="tls"), Ask("protocols.test", "/badca", 500)],
    "GRPCRoute": [Ask("grpc.test", "/none", 404), Ask("grpc.test", "/x/a.Echo/Echo/y", 404)],
}  # fmt: skip
