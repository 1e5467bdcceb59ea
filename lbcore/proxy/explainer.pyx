"""Why an exchange went where it went: a header of the answer, for who knows the secret. No I/O.

An exchange that is to be explained keeps the path of its decision; the rest is worked out when its answer goes out.
"""

import hmac
import json

cimport cython
from libc.string cimport memcpy

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport Middleware
from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.balancer cimport Balancer
from lbcore.routing.matcher cimport Program
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.server cimport Server

from lbcore.routing.explanation import level, unmet
from lbcore.state.counters import ERROR_NAMES

cdef enum:
    MOST_ROUTERS = 8           # that do not match and are named
    LIMIT_BYTES = 4096         # of the header's value; what is longer loses details


@cython.final
cdef class Explainer:
    """The settings, and what is tried on an entry point; one per entry point."""

    def __init__(self, str header, str secret):
        self.header = header.encode()
        self.lower = header.lower().encode()
        self.secret = secret.encode()
        self.order = []


cdef int explain_if_asked(Exchange exchange) except -1:
    """Whether or not the secret is right, the server does not see it. The route has been found, nothing was changed yet."""
    cdef Explainer explainer = <Explainer>exchange.entry_point.explainer
    cdef Explanation explanation
    cdef Span found = exchange.request.find(explainer.lower, len(explainer.lower))
    if found.ptr == NULL:
        return 0
    given = span_bytes(found)
    exchange.request.drop(explainer.lower, len(explainer.lower))
    if not hmac.compare_digest(given, explainer.secret):
        return 0
    explanation = Explanation()
    explanation.name = "explain@internal"
    explanation.explainer = explainer
    explanation.exchange = exchange
    explanation.look(exchange.request)
    exchange.decision.path = []
    exchange.decision.guards = [explanation]
    exchange.decision.start = exchange.decision.mark()
    return 0


@cython.final
cdef class Explanation(Middleware):
    """Of one exchange; it sees the answer before the middlewares of the router do."""

    def look(self, Request request) -> None:
        """Which routers were tried before the one that matched, and what they would have needed. O(routers tried)."""
        self.before = []
        for rule, route in self.explainer.order:
            if route is self.exchange.route:
                break
            if len(self.before) < MOST_ROUTERS:
                needs = list(unmet(rule, lambda program: (<Program>program).holds(request)))
                self.before.append({"router": route.name, "unmet": needs})
            else:
                self.unnamed += 1

    cdef int on_response(self, Request request, Response response) except -1:
        cdef Explainer explainer = self.explainer
        cdef bytes text = self.text()
        cdef char* value = response.alloc(len(text))
        memcpy(value, <char*>text, len(text))
        response.drop(explainer.lower, len(explainer.lower))
        response.append(span_of(explainer.header, len(explainer.header)), span_of(value, len(text)))
        return 0

    cdef bytes text(self):
        """JSON, with fewer details where it would be too long."""
        found = self.found()
        text = json.dumps(found, separators=(",", ":"))
        if len(text) > LIMIT_BYTES:
            found.pop("before", None)
            for service in found.get("services", ()):
                del service["members"]
            found["shortened"] = True
            text = json.dumps(found, separators=(",", ":"))
        return text.encode() if len(text) <= LIMIT_BYTES else b'{"shortened":true}'

    def found(self) -> dict:
        """What is known by now."""
        cdef Exchange exchange = self.exchange
        cdef Middleware step
        found = {"entryPoint": exchange.entry_point.name}
        if exchange.route is not None:
            found["router"] = exchange.route.name
        if self.before:
            found["before"] = self.before
        if self.unnamed:
            found["beforeUnnamed"] = self.unnamed
        if exchange.route is not None and exchange.route.middlewares:
            found["middlewares"] = [(<Middleware>item).name for item in exchange.route.middlewares]
            if exchange.service is None:
                step = <Middleware>exchange.route.middlewares[exchange.passed]
                found["answeredBy"] = step.name
        guards = [(<Middleware>guard).name for guard in exchange.decision.guards if guard is not self]
        if guards:
            found["serviceMiddlewares"] = guards
        if exchange.decision.path:
            found["services"] = [self.level_of(service, index) for service, index in exchange.decision.path]
        if exchange.decision.mirrors is not None:
            found["mirrors"] = [(<Mirror>mirror).child.key for mirror in exchange.decision.mirrors]
        if exchange.server is not None:
            found["server"] = exchange.server.key
        if exchange.decision.failed is not None:
            found["failed"] = [(<Server>member).key for member in exchange.decision.failed if isinstance(member, Server)]
        if exchange.retried or exchange.redispatched:
            found["retries"] = exchange.retried + exchange.redispatched
        if exchange.error >= 0:
            found["error"] = ERROR_NAMES[exchange.error]
        return found

    def level_of(self, service, Py_ssize_t chosen) -> dict:
        """One level of the path, and what became of its session."""
        cdef Balancer balancer
        cdef bint stale = False
        cdef Py_ssize_t named
        found = level(service, chosen)
        if isinstance(service, Balancer) and (<Balancer>service).sticky is not None:
            balancer = <Balancer>service
            named = balancer.sticky.find(self.exchange.request, &stale)
            found["session"] = "begun" if named < 0 else "kept" if named == chosen else "moved"
        return found
