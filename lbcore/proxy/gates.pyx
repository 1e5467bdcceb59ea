"""The middlewares of services that a request passes once a server was found. No I/O.

Services choose by the request as it came from the router; what their middlewares make of it is undone when another service
is asked in the end. A gate that two attempts have in common is passed once.
"""

cimport cython

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware, Pending
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.tracing cimport enter_gate
from lbcore.routing.guarded cimport Guarded


@cython.final
cdef class Gates:
    """Of one exchange."""

    def __cinit__(self):
        self.entered = []
        self.originals = []

    cdef int run(self, list gates, Request request, Response answer, Context context, Pending settled) except -1:
        """Have the request pass `gates`, as far as it has not passed them before. Returns a Verdict.

        settled  what the middleware at work has waited for; None: it begins.
        """
        cdef Guarded gate
        cdef Middleware middleware
        cdef Py_ssize_t same = 0, first
        cdef int verdict
        if settled is None:
            while same < len(self.entered) and same < len(gates) and self.entered[same] is gates[same]:
                same += 1
            self.go_back(same, request, context)
        while True:
            if self.entered:
                gate = <Guarded>self.entered[len(self.entered) - 1]
                first = self.step_of(len(self.entered) - 1)
                while self.passed < len(gate.middlewares):
                    middleware = <Middleware>gate.middlewares[self.passed]
                    context.step = first + self.passed
                    if settled is None:
                        if gate.spans is not None:
                            enter_gate(<Exchange>context, gate, self.passed)
                        verdict = middleware.on_request(request, answer, context)
                        if middleware.sees_end and verdict != ANSWER:
                            context.owe_end(middleware)
                    else:
                        verdict = middleware.on_settled(request, answer, context, settled)
                        settled = None
                    if verdict != PASS:
                        return verdict
                    self.passed += 1
            if len(self.entered) == len(gates):
                return PASS
            self.enter(<Guarded>gates[len(self.entered)], request)

    cdef int enter(self, Guarded gate, Request request) except -1:
        """The request comes to one more gate, and may have to go elsewhere in the end. O(headers)."""
        cdef Py_ssize_t count = len(self.entered)
        if count == len(self.originals):
            self.originals.append(Request.__new__(Request))
        (<Request>self.originals[count]).refer_to(request)
        self.entered.append(gate)
        self.passed = 0
        return 0

    cdef int go_back(self, Py_ssize_t count, Request request, Context context) except -1:
        """Be behind the first `count` gates, with the request as it was there."""
        if count == len(self.entered):
            return 0
        request.refer_to(<Request>self.originals[count])
        context.leave_steps(self.step_of(count))
        del self.entered[count:]
        self.passed = len((<Guarded>self.entered[count - 1]).middlewares) if count else 0
        return 0

    cdef Py_ssize_t step_of(self, Py_ssize_t count) noexcept:
        """The number of the first middleware behind the first `count` gates."""
        cdef Py_ssize_t step = self.first_step, i
        for i in range(count):
            step += len((<Guarded>self.entered[i]).middlewares)
        return step

    cdef Request behind(self, Py_ssize_t count, Request request):
        """The request as it was behind the first `count` gates; `request` is what it is now."""
        return <Request>self.originals[count] if count < len(self.entered) else request

    cdef Py_ssize_t count_passed(self) noexcept:
        """Steps that were passed, the router's with them. There is a gate."""
        return self.step_of(len(self.entered) - 1) + self.passed

    cdef Middleware at(self, Py_ssize_t step):
        """The middleware of a step behind the router's."""
        cdef Guarded gate
        step -= self.first_step
        for item in self.entered:
            gate = <Guarded>item
            if step < len(gate.middlewares):
                return <Middleware>gate.middlewares[step]
            step -= len(gate.middlewares)
        raise IndexError("no gate has such a step")

    cdef str place_of(self, Py_ssize_t step):
        """The service whose middleware a step is."""
        cdef Guarded gate
        step -= self.first_step
        for item in self.entered:
            gate = <Guarded>item
            if step < len(gate.middlewares):
                return gate.name
            step -= len(gate.middlewares)
        raise IndexError("no gate has such a step")

    cdef list names(self):
        """Of the middlewares that were passed, in order."""
        found = []
        for gate in self.entered:
            found += [(<Middleware>item).name for item in (<Guarded>gate).middlewares]
        if self.entered:
            del found[len(found) - len((<Guarded>self.entered[len(self.entered) - 1]).middlewares) + self.passed:]
        return found

    cdef Middleware at_work(self):
        """The middleware that has not let the request pass, or None."""
        cdef Guarded gate
        if not self.entered:
            return None
        gate = <Guarded>self.entered[len(self.entered) - 1]
        return <Middleware>gate.middlewares[self.passed] if self.passed < len(gate.middlewares) else None

    cdef void clear(self) noexcept:
        cdef Py_ssize_t i
        for i in range(len(self.entered)):
            (<Request>self.originals[i]).clear()
        self.entered.clear()
        self.passed = 0
