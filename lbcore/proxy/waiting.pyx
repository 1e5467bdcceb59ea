"""Exchanges that wait for a server, since all of them are full. No I/O.

Nothing of the request's body is read meanwhile. What services decided before (copies, cookies, a fallback) stays decided.
"""

cimport cython

from lbcore.proxy.exchange cimport ClientStream, Exchange
from lbcore.proxy.fallback cimport fail_over
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.queue cimport Waiter, WaitQueue
from lbcore.routing.server cimport Server
from lbcore.state.layout cimport ERROR_NO_SERVER

@cython.final
cdef class Waiting(Waiter):
    """An exchange in a queue."""

    cdef int admitted(self, Server server) except -1:
        cdef Exchange exchange = self.exchange
        cdef ClientStream client = exchange.client
        exchange.waiter = None
        self.exchange = None
        exchange.server = server
        exchange.balancer = <LoadBalancer>exchange.decision.balancer
        exchange.forward.pass_host = exchange.balancer.pass_host
        try:
            exchange.record()
        except Exception as error:
            exchange.give_up(error, client)      # it must not reach whoever gave the slot back
        return 0

    cdef int turned_away(self) except -1:
        cdef Exchange exchange = self.exchange
        cdef ClientStream client = exchange.client
        exchange.waiter = None
        self.exchange = None
        try:
            overload(exchange)
        except Exception as error:
            exchange.give_up(error, client)      # it must not reach whoever gave the slot back
        return 0


cdef int overload(Exchange exchange) except -1:
    """No server has had room in time: ask the fallback if there is one for that, else answer with 503."""
    exchange.error = ERROR_NO_SERVER
    exchange.decision.queue = None         # the fallback, if it has nobody either, has no queue to wait in
    if exchange.decision.failover is not None and fail_over(exchange, 503):
        return 0
    return exchange.answer(503, exchange.decision.refusal, True)


cdef int line_up(Exchange exchange) except -1:
    """Wait in the queue that `decision` names. A server that has become free is taken at once."""
    cdef WaitQueue queue = <WaitQueue>exchange.decision.queue
    cdef Waiting waiter = Waiting.__new__(Waiting)
    exchange.balancer = <LoadBalancer>queue.service
    exchange.server = None
    waiter.request = exchange.request
    waiter.decision = exchange.decision
    waiter.wanted = exchange.decision.wanted
    if not queue.enter(waiter):
        return overload(exchange)
    waiter.exchange = exchange
    exchange.waiter = waiter
    exchange.dialer.watch_queue(queue)
    return queue.wake()


cdef int step_out(Exchange exchange) except -1:
    """Wait no more: the client has gone."""
    cdef Waiter waiter = exchange.waiter
    cdef WaitQueue queue = waiter.queue
    exchange.waiter = None
    (<Waiting>waiter).exchange = None
    queue.row.abandoned += 1
    return queue.leave(waiter)
