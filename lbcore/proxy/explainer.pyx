"""Why an exchange went where it went: a header of the answer, for clients that know the secret. No I/O.

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
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport Balancer
from lbcore.routing.matcher cimport Program
from lbcore.routing.mirroring cimport Mirror
from lbcore.routing.decision cimport Decision
from lbcore.routing.route cimport Route
from lbcore.routing.server cimport Server

from lbcore.routing.explanation import level, unmet

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
        self.encrypted_order = []


cdef Explanation explain_if_asked(EntryPoint entry_point, Route route, Request request, Decision decision):
    """The explanation that a request asks for, or None. Whether or not the secret is right, the server does not see it.

    The route has been found (None: there is none), nothing of the request was changed yet. `decision` keeps its path from now on.
    """
    cdef Explainer explainer = <Explainer>entry_point.explainer
    cdef Explanation explanation
    cdef Span found = request.find(explainer.lower, len(explainer.lower))
    if found.ptr == NULL:
        return None
    given = span_bytes(found)
    request.drop(explainer.lower, len(explainer.lower))
    if not hmac.compare_digest(given, explainer.secret):
        return None
    explanation = Explanation()
    explanation.explainer = explainer
    explanation.entry_point = entry_point
    explanation.route = route
    explanation.decision = decision
    explanation.replaced = set()
    explanation.look(request)
    decision.path = []
    decision.start = decision.savepoint()
    return explanation


@cython.final
cdef class Explanation:
    """Of one exchange; it is put on the answer before the middlewares of the router see that."""

    def look(self, Request request) -> None:
        """Which routers were tried before the one that matched, and what they would have needed. O(routers tried)."""
        self.before = []
        for filed, route in self.explainer.encrypted_order if request.head.encrypted else self.explainer.order:
            if route is self.route:
                break
            if len(self.before) < MOST_ROUTERS:
                needs = list(unmet(filed.rule, lambda program: (<Program>program).holds(request)))
                self.before.append({"router": route.name, "unmet": needs})
            else:
                self.unnamed += 1

    cdef int put(self, Request request, Response response, dict outcome) except -1:
        """Add the header to an answer.

        outcome  what the exchange knows: steps, answeredBy, because, serviceMiddlewares, server, hedge, attempts, retries, error; each may be
                 missing.
        """
        cdef Explainer explainer = self.explainer
        cdef bytes text = self.text(request, outcome)
        cdef char* value = response.alloc(len(text))
        memcpy(value, <char*>text, len(text))
        response.drop(explainer.lower, len(explainer.lower))
        response.append(span_of(explainer.header, len(explainer.header)), span_of(value, len(text)))
        return 0

    cdef bytes text(self, Request request, dict outcome):
        """JSON, with fewer details where it would be too long."""
        found = self.found(request, outcome)
        text = json.dumps(found, separators=(",", ":"))
        if len(text) > LIMIT_BYTES:
            found.pop("before", None)
            found.pop("steps", None)
            for service in found.get("services", ()):
                del service["members"]
            found["shortened"] = True
            text = json.dumps(found, separators=(",", ":"))
        return text.encode() if len(text) <= LIMIT_BYTES else b'{"shortened":true}'

    def found(self, Request request, outcome: dict) -> dict:
        """What is known by now."""
        cdef Decision decision = self.decision
        found = {"entryPoint": self.entry_point.name}
        if self.route is not None:
            found["router"] = self.route.name
        if self.before:
            found["before"] = self.before
        if self.unnamed:
            found["beforeUnnamed"] = self.unnamed
        if self.route is not None and self.route.middlewares:
            found["middlewares"] = [(<Middleware>item).name for item in self.route.middlewares]
        for name in ("steps", "answeredBy", "because", "serviceMiddlewares"):
            if name in outcome:
                found[name] = outcome[name]
        if decision.path:
            found["services"] = [self.level_of(request, service, index) for service, index in decision.path]
        if decision.mirrors is not None:
            found["mirrors"] = [(<Mirror>mirror).child.key for mirror in decision.mirrors]
        if "server" in outcome:
            found["server"] = outcome["server"]
        if decision.failed is not None:
            found["failed"] = [(<Server>member).key for member in decision.failed if isinstance(member, Server)]
        for name in ("hedge", "attempts", "retries", "error"):
            if name in outcome:
                found[name] = outcome[name]
        return found

    def level_of(self, Request request, service, Py_ssize_t chosen) -> dict:
        """One level of the path, and what became of its session."""
        cdef Balancer balancer
        cdef Asker asker
        cdef bint stale = False
        cdef Py_ssize_t named
        found = level(service, chosen)
        if isinstance(service, Balancer) and (<Balancer>service).sticky is not None:
            balancer = <Balancer>service
            asker = Asker.__new__(Asker)
            asker.request = request
            named = balancer.sticky.find(asker, &stale)
            found["session"] = "begun" if named < 0 else "kept" if named == chosen else "moved"
        return found
