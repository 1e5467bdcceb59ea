"""The way of an answer back through the middlewares that its request has passed, from the innermost one outwards. No I/O.

Each middleware is called once for an exchange. An answer that replaces another one, for whatever reason, continues at the same place:
the middleware in which the former one waited, which failed, or which held its head back, is not called again.
"""

cimport cython
from cpython.object cimport PyObject

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport PASS, Context, Middleware, Pending, item_of
from lbcore.proxy.gates cimport Gates
from lbcore.routing.route cimport Route


@cython.final
cdef class WayBack:
    """Of one exchange. Steps are numbered as in `Context.step`: first the router's middlewares, then those of the gates."""

    cdef void begin(self, Route route, Py_ssize_t passed, Gates gates) noexcept:
        """There is an answer. `route`: its middlewares, of which `passed` were passed; None: there are none."""
        self.begun = True
        if gates.entered:
            self.left = gates.count_passed()
        elif route is not None:
            self.left = route.answering[passed]

    cdef int run(self, Route route, Gates gates, Request request, Response answer, Context context, Pending settled) except -1:
        """Have the answer pass what is left. Returns a Verdict; after ANSWER, to be called again with the new answer.

        settled  what the middleware at work has had it wait for; None: the next one begins.
        """
        cdef PyObject* middleware              # of the route, or of a gate
        cdef bint gated = len(gates.entered) > 0
        cdef int verdict
        while True:
            if settled is not None:
                middleware = middleware_at(route, gates, self.left, gated)
                context.step = self.left
                verdict = (<Middleware>middleware).on_response_settled(request, answer, context, settled)
                settled = None
            elif self.left == 0:
                return PASS
            else:
                if not gated:
                    self.left = route.answering[self.left]
                    if self.left == 0:
                        return PASS
                self.left -= 1
                middleware = middleware_at(route, gates, self.left, gated)
                if not (<Middleware>middleware).sees_answer:
                    continue
                context.step = self.left
                verdict = (<Middleware>middleware).on_response(request, answer, context)
            if verdict != PASS or self.stopped:
                return verdict


cdef inline PyObject* middleware_at(Route route, Gates gates, Py_ssize_t step, bint gated) except NULL:
    """The middleware of a step: one of the router, or of a gate. `gated`: there is a gate."""
    cdef Middleware of_gate
    if gated and step >= gates.first_step:
        of_gate = gates.at(step)
        return <PyObject*>of_gate              # which the gate owns
    return item_of(<PyObject*>route.middlewares, step)
