"""Sockets whose bytes are those of a stream, so that a tunnel can lead to a server that speaks HTTP/2 (RFC 8441).

There is no descriptor below such a socket, and no reactor calls it: the stream calls `on_ready` with the events of its flow, and is
told by `FlowSession.flow_left` when the socket was shut.
"""

cimport cython
from libc.errno cimport ECONNRESET, ENOMEM, EPIPE
from libc.string cimport memcpy

from lbcore.http.buffer cimport Buffer
from lbcore.http.span cimport Span
from lbcore.transport.flow cimport queue_len
from lbcore.transport.socket cimport IO_AGAIN, IO_FAILED, Socket


@cython.final
cdef class FlowTransport(Transport):
    """Between a socket and a flow."""

    cdef Py_ssize_t receive(self, Socket socket, Buffer* into, Py_ssize_t limit) noexcept:
        cdef Flow* flow = self.flow
        cdef Py_ssize_t n
        if self.stream is None:
            return IO_FAILED
        n = min(queue_len(&flow.input), limit)
        if n == 0:
            if flow.ended or flow.closed:
                socket.hangup = True
            else:
                socket.readable = False
                return IO_AGAIN
            if flow.ended:
                return 0
            socket.fault = ECONNRESET
            return IO_FAILED
        memcpy(into.base + into.end, flow.input.base + flow.input.start, n)
        into.end += n
        try:
            self.session.consume(flow, n)
        except Exception:
            socket.fault = ENOMEM
            return IO_FAILED
        socket.readable = queue_len(&flow.input) > 0 or flow.ended or flow.closed
        return n

    cdef Py_ssize_t send_two(self, Socket socket, Span first, Span second) noexcept:
        cdef Flow* flow = self.flow
        if self.stream is None or flow.closed or flow.put_ended:
            socket.fault = EPIPE
            return IO_FAILED
        if flow.full:
            return IO_AGAIN                    # until FLOW_ROOM
        try:
            if first.len:
                self.session.put(flow, first)
            if second.len:
                self.session.put(flow, second)
        except Exception:
            socket.fault = ENOMEM
            return IO_FAILED
        return first.len + second.len

    cdef bint pending(self, Socket socket) noexcept:
        return self.stream is not None and queue_len(&self.flow.input) > 0

    cdef bint peer_has_ended(self, Socket socket) noexcept:
        return self.stream is None or (queue_len(&self.flow.input) == 0 and (self.flow.ended or self.flow.closed))

    cdef void shut_write(self, Socket socket) noexcept:
        if self.stream is None or self.flow.put_ended:
            return
        try:
            self.session.put_end(self.flow, None)
        except Exception:
            socket.fault = ENOMEM

    cdef void shut(self, Socket socket) noexcept:
        cdef object stream = self.stream       # the flow lives until this call returns
        if stream is None:
            return
        self.stream = None
        try:
            self.session.flow_left(self.flow)
        except Exception:
            socket.fault = ENOMEM
        self.flow = NULL


cdef OwnedSocket flow_socket(FlowSession session, Flow* flow):
    """A socket for a flow that is open. `flow.owner` stays alive with it."""
    cdef OwnedSocket socket = OwnedSocket.__new__(OwnedSocket)
    cdef FlowTransport transport = FlowTransport.__new__(FlowTransport)
    transport.session = session
    transport.flow = flow
    transport.stream = <object>flow.owner
    transport.is_lowest = True
    socket.transport = transport
    socket.readable = True
    socket.watches_output = True               # FLOW_ROOM comes in any case
    return socket
