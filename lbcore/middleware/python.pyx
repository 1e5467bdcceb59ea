"""python: the steps of a middleware are methods of a class in Python. No I/O.

A method gets views, and returns None (the exchange goes on), a Response (which is the answer), or an awaitable of either: then the
exchange waits for a task of the event loop, which is cancelled when its time is over or the exchange has ended. What a method raises
is answered with 500 and logged; nothing else is hurt by it. A method that holds the event loop for too long is counted, and logged once.
"""

import asyncio
import logging
from collections.abc import Coroutine
from time import monotonic

cimport cython
from cpython.ref cimport Py_REFCNT
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE
from lbcore.http.request cimport Request as RequestHead
from lbcore.http.response cimport Response as ResponseHead
from lbcore.http.span cimport span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending
from lbcore.middleware.spool cimport RequestSpool, WholeBody
from lbcore.middleware.views cimport Request, Response
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.holdings cimport State
from lbcore.state.region cimport Region

from lbcore.middleware.classes import body_limit_of, identity_of, made

cdef enum:
    MOST_ERRORS = 50           # that are logged whole within a second

_log = logging.getLogger("lbcore.middleware")


cdef inline uint64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <uint64_t>now.tv_sec * 1000000000 + <uint64_t>now.tv_nsec


cdef class Kept:
    """An instance of a class."""

    def __init__(self, instance):
        self.instance = instance


@cython.final
cdef class Steps:
    """The coroutine of an async method, as a task runs it: each of its steps holds the event loop, and is measured."""

    def send(self, value):
        cdef uint64_t began_ns = monotonic_ns()
        try:
            return self.inner.send(value)
        except SystemExit as error:
            raise RuntimeError("the class has called exit") from error     # it would end the worker
        finally:
            self.owner.measure(began_ns)

    def throw(self, *error):
        cdef uint64_t began_ns = monotonic_ns()
        try:
            return self.inner.throw(*error)
        except SystemExit as raised:
            raise RuntimeError("the class has called exit") from raised
        finally:
            self.owner.measure(began_ns)

    def close(self) -> None:
        self.inner.close()

    def __await__(self):
        return self


Coroutine.register(Steps)


@cython.final
cdef class Call(Pending):
    """An async method at work."""

    cdef int leave(self) except -1:
        """Nobody waits for the result any more: the views are closed, and the method is told by CancelledError."""
        self.owner.close(self.request, self.response)
        if self.task is not None:
            self.task.cancel()
        return 0

    cdef int cancel(self) except -1:
        return self.leave()

    cdef int expire(self) except -1:
        self.leave()
        return Pending.expire(self)

    def take(self, task) -> None:
        """The task is done."""
        self.owner.stats.in_flight -= 1
        if self.context is not None:
            self.settle()
        elif not task.cancelled() and (error := task.exception()) is not None:
            self.owner.tell("has failed after its exchange had ended", error)


@cython.final
cdef class PythonMiddleware(Middleware):
    """A class of the user's own in front of a router or a service."""

    def __cinit__(self):
        memset(&self.own, 0, sizeof(self.own))
        self.stats = &self.own

    def __init__(self, str name, config):
        self.name = name
        self.config = config
        self.slow_ns = int(config.slow_call.total_seconds() * 1_000_000_000)
        self.timeout_ms = max(1, int(config.timeout.total_seconds() * 1000))

    def keep_in(self, State state):
        config = self.config
        self.kept = state.keep(f"python|{self.name}|{identity_of(config)}", lambda: Kept(made(config)))
        self.on_request_method = getattr(self.kept.instance, "on_request", None)
        self.on_response_method = getattr(self.kept.instance, "on_response", None)
        self.body_limit = body_limit_of(self.kept.instance) if self.on_request_method is not None else 0
        self.sees_answer = self.on_response_method is not None

    def count_in(self, Region region, uint32_t worker, uint32_t slot) -> None:
        """Count in the row of a slot for servers from here on."""
        region.check_worker(worker)
        region.check_server(slot)
        self.region, self.slot = region, slot
        self.stats = region.server_stats(worker, slot)

    def state_at(self, str place, RequestHead request):
        if self.region is None:
            return None
        found = self.region.call_counters(self.slot)
        return {"calls": found.calls, "waiting": found.waiting, "slow": found.slow, "failed": found.failed, "expired": found.expired}

    def why(self, RequestHead request):
        return f"the class {self.config.class_} has answered it, or has failed"

    # On the way in

    cdef int on_request(self, RequestHead request, ResponseHead answer, Context context) except -1:
        cdef RequestSpool spool
        if self.on_request_method is None:
            return PASS
        if self.body_limit == 0:
            return self.call_request(request, answer, context, None, None)
        if request.framing.body == BODY_NONE or request.framing.upgrade:
            return self.call_request(request, answer, context, b"", None)
        if request.framing.body == BODY_LENGTH and request.framing.length > self.body_limit:
            answer.status = 413
            answer.text = span_of(b"Request Entity Too Large", 24)
            return ANSWER
        spool = RequestSpool.__new__(RequestSpool)
        spool.wait(context, self.body_limit, self.body_limit, 413)
        return WAIT

    cdef int call_request(self, RequestHead request, ResponseHead answer, Context context, bytes body, MemoryBudget budget) except -1:
        """Call the method. `budget`: of which the body is a part until the call is over; None: it is not. Returns a Verdict."""
        cdef Request view = self.view(request, context)
        cdef uint64_t began_ns = monotonic_ns() if self.slow_ns else 0
        view.content, view.budget = body, budget
        self.stats.requests += 1
        try:
            result = self.on_request_method(view)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self.failed(error, view, None, answer)
        if began_ns:
            self.measure(began_ns)
        if result is None:
            self.close(view, None)
            if Py_REFCNT(view) == 1:
                self.spare = view
            return PASS
        return self.answered(result, None, view, None, answer, context)

    cdef int on_settled(self, RequestHead request, ResponseHead answer, Context context, Pending pending) except -1:
        cdef RequestSpool spool
        cdef MemoryBudget budget
        cdef bytes body
        if not isinstance(pending, WholeBody):
            return self.ended(<Call?>pending, answer, context)
        if pending.expired:
            answer.status = 408
            return ANSWER
        spool = <RequestSpool?>context.state()
        budget = context.budget()
        if not budget.take(spool.size):        # for the copy that the class has; what goes to the server is in the spool
            answer.status = 503
            answer.append(span_of(b"Retry-After", 11), span_of(b"1", 1))
            answer.text = span_of(b"Service Unavailable", 19)
            return ANSWER
        try:
            body = spool.contents()
        except BaseException:
            budget.give(spool.size)
            raise
        context.keep_state(None)
        return self.call_request(request, answer, context, body, budget)

    # On the way back

    cdef int on_response(self, RequestHead request, ResponseHead answer, Context context) except -1:
        cdef Request view = self.view(request, context)
        cdef Response response = Response.__new__(Response)
        cdef uint64_t began_ns = monotonic_ns() if self.slow_ns else 0
        response.open(answer)
        self.stats.requests += 1
        try:
            result = self.on_response_method(view, response)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self.failed(error, view, response, answer)
        if began_ns:
            self.measure(began_ns)
        if result is None:
            self.close(view, response)
            if Py_REFCNT(view) == 1:
                self.spare = view
            return PASS
        return self.answered(result, None, view, response, answer, context)

    cdef int on_response_settled(self, RequestHead request, ResponseHead answer, Context context, Pending pending) except -1:
        return self.ended(<Call?>pending, answer, context)

    # Both ways

    cdef Request view(self, RequestHead request, Context context):
        """An open view: one that nothing else refers to, if there is one."""
        cdef Request view = self.spare
        if view is None:
            view = Request.__new__(Request)
        else:
            self.spare = None
        view.open(request, context)
        return view

    cdef void close(self, Request request, Response response) noexcept:
        """Close the views of a call."""
        request.close()
        if response is not None:
            response.close()

    cdef int answered(self, object result, Call call, Request request, Response response, ResponseHead answer, Context context) except -1:
        """A method has returned something, which was awaited already if there is a `call`. Returns a Verdict."""
        cdef Steps steps
        if result is None or result is response:
            self.close(request, response)
            return PASS
        if isinstance(result, Response):
            try:
                (<Response>result).put(answer)
            except Exception as error:
                return self.failed(error, request, response, answer)
            self.close(request, response)
            return ANSWER
        steps = Steps.__new__(Steps)
        try:
            if call is None and hasattr(result, "__await__"):
                steps.inner = result if isinstance(result, Coroutine) else result.__await__()
        except KeyboardInterrupt:
            raise
        except BaseException as error:                     # it is an object of the class' own, too
            return self.failed(error, request, response, answer)
        if steps.inner is None:
            method = "on_request" if response is None else "on_response"
            error = TypeError(f"{method} has to give a Response or None, not {type(result).__name__}")
            return self.failed(error, request, response, answer)
        steps.owner = self
        call = Call.__new__(Call)
        call.owner, call.request, call.response = self, request, response
        call.task = asyncio.get_running_loop().create_task(steps, name=f"lbcore {self.name}")
        call.task.add_done_callback(call.take)
        self.stats.in_flight += 1
        context.wait(call, self.timeout_ms)
        context.hurry()
        return WAIT

    cdef int ended(self, Call call, ResponseHead answer, Context context) except -1:
        """An async method has ended, or its time is over. Returns a Verdict."""
        task, call.task = call.task, None
        if call.expired:
            self.stats.expired += 1
            if not self.kept.told_late:
                self.kept.told_late = True
                _log.warning("middleware %s: a call had not ended after %d ms, and was cancelled; further ones are counted alone",
                             self.name, self.timeout_ms)
            answer.clear()
            answer.status = 504
            answer.text = span_of(b"Gateway Timeout", 15)
            return ANSWER
        if task.cancelled():
            return self.failed(asyncio.CancelledError("the class has cancelled its own call"), call.request, call.response, answer)
        if (error := task.exception()) is not None:
            return self.failed(error, call.request, call.response, answer)
        return self.answered(task.result(), call, call.request, call.response, answer, context)

    cdef int failed(self, object error, Request request, Response response, ResponseHead answer) except -1:
        """A method has raised: 500. Returns a Verdict."""
        self.close(request, response)
        self.stats.failed += 1
        self.tell("has failed", error)
        answer.clear()
        answer.status = 500
        answer.text = span_of(b"Internal Server Error", 21)
        return ANSWER

    cdef int tell(self, str what, object error) except -1:
        """Log an error with its traceback: many within a second are counted."""
        cdef Kept kept = self.kept
        cdef double now = monotonic()
        if now - kept.second >= 1:
            if kept.errors > MOST_ERRORS:
                _log.error("middleware %s: %d more errors", self.name, kept.errors - MOST_ERRORS)
            kept.second = now
            kept.errors = 0
        kept.errors += 1
        if kept.errors <= MOST_ERRORS:
            _log.error("middleware %s %s", self.name, what, exc_info=error)
        return 0

    cdef int measure(self, uint64_t began_ns) except -1:
        """A method, or a step of one, has held the event loop since then."""
        cdef uint64_t took_ns = monotonic_ns() - began_ns
        if self.slow_ns == 0 or took_ns <= <uint64_t>self.slow_ns:
            return 0
        self.stats.slow += 1
        if not self.kept.told_slow:
            self.kept.told_slow = True
            _log.warning("middleware %s: a call has held the event loop for %d ms, and all requests of this worker with it; "
                         "further ones are counted alone", self.name, took_ns // 1_000_000)
        return 0
