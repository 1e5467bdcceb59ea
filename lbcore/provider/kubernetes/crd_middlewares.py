"""Middleware and MiddlewareTCP: as in files, with secrets, services and other middlewares by their names. No I/O."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

from lbcore.provider.kubernetes.context import Refused, Source, Unavailable, step
from lbcore.provider.kubernetes.core import Lacking
from lbcore.provider.kubernetes.crd_references import MIDDLEWARE, CrdContext
from lbcore.provider.kubernetes.crd_services import Services
from lbcore.provider.kubernetes.names import normalize
from lbcore.provider.kubernetes.part import Part

# What the kind has. What lbcore has beyond that may name files of its machine.
KINDS = frozenset(
    (
        *("addPrefix", "stripPrefix", "stripPrefixRegex", "replacePath", "replacePathRegex", "chain", "ipWhiteList"),
        *("ipAllowList", "headers", "encodedCharacters", "errors", "rateLimit", "redirectRegex", "redirectScheme"),
        *("basicAuth", "digestAuth", "forwardAuth", "inFlightReq", "buffering", "circuitBreaker", "compress"),
        *("passTLSClientCert", "retry", "contentType", "grpcWeb", "plugin"),
    )
)
STREAM_KINDS = frozenset(("inFlightConn", "ipWhiteList", "ipAllowList"))
BASIC_AUTH = "kubernetes.io/basic-auth"
ACCOUNT = ("username", "password")

Content = dict[str, Any]


def _read(context: CrdContext, source: Source) -> None:
    content = _Reader(context, source).content(KINDS)
    name = context.references.own(source)
    context.draft.put("http", "middlewares", name, content, source.text, "spec", source.faults)


def _read_of_streams(context: CrdContext, source: Source) -> None:
    content = _Reader(context, source).content(STREAM_KINDS)
    name = context.references.own(source)
    context.draft.put("tcp", "middlewares", name, content, source.text, "spec", source.faults)


MIDDLEWARE_STEPS = (step("Middleware", _read), step("MiddlewareTCP", _read_of_streams))


class _Reader:
    def __init__(self, context: CrdContext, source: Source) -> None:
        self.context = context
        self.services = Services(context)
        self.source = source

    def content(self, kinds: frozenset[str]) -> Content:
        spec = self.source.spec()
        special: dict[str, Callable[[Part], Content]] = {
            "basicAuth": self.basic_auth,
            "digestAuth": self.users,
            "forwardAuth": self.forward_auth,
            "errors": self.errors,
            "chain": self.chain,
            "rateLimit": self.rate_limit,
            "inFlightReq": self.in_flight,
        }
        found: Content = {}
        for kind in sorted(kinds):
            if kind not in spec:
                continue
            read = special.get(kind)
            if read is None:
                found[kind] = spec.raw(kind)
            elif (part := spec.part(kind)) is not None:
                try:
                    found[kind] = read(part)
                except (Lacking, Refused) as error:
                    self.source.fault(f"{part.path}: {error}")
        spec.end()
        return found

    def basic_auth(self, part: Part) -> Content:
        namespace, name = self.source.namespace, part.text("secret")
        data = self.context.core.secret(namespace, name, ACCOUNT)
        if self.context.core.secret_type(namespace, name) != BASIC_AUTH:
            return self.users(part)
        if "username" not in data or "password" not in data:
            raise Lacking(f"Secret {namespace}/{name} has to have username and password")
        hashed = base64.b64encode(hashlib.sha1(data["password"].encode(), usedforsecurity=False).digest()).decode()
        users = [f"{data['username']}:{{SHA}}{hashed}"]
        return self._users(part, users)

    def users(self, part: Part) -> Content:
        namespace, name = self.source.namespace, part.text("secret")
        data = self.context.core.secret(namespace, name)
        if len(data) != 1:
            raise Lacking(f"Secret {namespace}/{name} has {len(data)} keys: one with lines of users is needed")
        users = [line for line in next(iter(data.values())).splitlines() if line]
        if not users:
            raise Lacking(f"Secret {namespace}/{name} has no users")
        return self._users(part, users)

    def _users(self, part: Part, users: list[str]) -> Content:
        content = {"users": users, **part.present("realm", "removeHeader", "headerField")}
        part.end()
        return content

    def forward_auth(self, part: Part) -> Content:
        content = part.present(
            *("address", "trustForwardHeader", "authResponseHeaders", "authResponseHeadersRegex"),
            *("authRequestHeaders", "maxResponseBodySize", "addAuthCookiesToResponse", "headerField", "forwardBody"),
            *("maxBodySize", "preserveLocationHeader", "preserveRequestMethod", "authSigninURL"),
        )
        if (tls := part.part("tls")) is not None:
            content["tls"] = self.client_tls(tls)
        part.end()
        return content

    def client_tls(self, part: Part) -> Content:
        """TLS to a server: authorities and certificate from secrets."""
        content = part.present("insecureSkipVerify", "caOptional")
        if name := part.text("caSecret"):
            content["ca"] = self.context.core.authority(self.source.namespace, name)
        if name := part.text("certSecret"):
            content["cert"], content["key"] = self.context.core.pair(self.source.namespace, name)
        part.end()
        return content

    def errors(self, part: Part) -> Content:
        content = part.present("status", "statusRewrites", "query", "errorRequestHeaders")
        service = part.part("service")
        part.end()
        if service is None:
            raise Refused("service is missing")
        source, draft = self.source, self.context.draft
        try:
            named, found = self.services.of(service, self.source)
            service.end()
        except (Refused, Unavailable) as error:
            draft.complain(f"{source.text}: {error}: no server")
            named, found = "", {"loadBalancer": {"servers": []}}
        if found is not None:
            wanted = normalize(f"{source.identity}-errorpage-service")
            named = draft.claim("http", "services", wanted, (source.kind, source.namespace, source.name, service.path))
            draft.put("http", "services", named, found, source.text, service.path)
        return {**content, "service": named}

    def chain(self, part: Part) -> Content:
        names = self.context.references.names(MIDDLEWARE, self.source.namespace, part.parts("middlewares"))
        part.end()
        return {"middlewares": names}

    def in_flight(self, part: Part) -> Content:
        content = part.present("amount", "sourceCriterion")
        part.end()
        return content

    def rate_limit(self, part: Part) -> Content:
        content = part.present("average", "period", "burst", "sourceCriterion")
        redis = part.part("redis")
        part.end()
        if redis is None:
            return content
        stored = redis.present(
            *("endpoints", "db", "poolSize", "minIdleConns", "maxActiveConns"),
            *("readTimeout", "writeTimeout", "dialTimeout"),
        )
        if name := redis.text("secret"):
            data = self.context.core.secret(self.source.namespace, name, ACCOUNT)
            if "username" not in data or "password" not in data:
                raise Lacking(f"Secret {self.source.namespace}/{name} has to have username and password")
            stored |= {"username": data["username"], "password": data["password"]}
        if (tls := redis.part("tls")) is not None:
            stored["tls"] = self.client_tls(tls)
        redis.end()
        return {**content, "redis": stored}
