"""UDP: the sockets of entry points, and the sessions of the clients that send to them.

    client ─► UdpEndpoint.receive ─► UdpSession.forward ─► server
    client ◄─ AnswerBatch.flush   ◄─ UdpSession.on_ready ◄─ server

A session belongs to one address of a client, and ends when nothing has moved for the timeout. All workers have a socket of
each entry point, among which the kernel distributes clients by their address: a session stays with its worker. A datagram is
passed on once, or counted as lost: nothing waits, but for the resolution of a name.
"""

import logging
import os

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.udp_route cimport UdpRoute
from lbcore.state.layout cimport CLIENT_TO_SERVER, ERROR_NO_ROUTER, ERROR_NO_SERVER, LOST_LACKING, LOST_UNSERVED
from lbcore.transport.connection cimport next_session
from lbcore.transport.datagrams cimport NAME_BYTES, DatagramBatch, read_overflow
from lbcore.transport.epoll cimport EPOLLIN
from lbcore.transport.inet cimport MSG_DONTWAIT, msghdr, recvmmsg
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.session_table cimport (
    SessionKey, SessionNode, sessions_add, sessions_find, sessions_hash, sessions_init, sessions_oldest, sessions_to_shed,
)
from lbcore.transport.udp_address cimport put_control, read_key, same_sender
from lbcore.transport.udp_session cimport UdpSession
from lbcore.transport.udp_socket cimport INCOMING, UdpSocket, UdpWorker

cdef enum:
    ROUNDS = 4                 # batches of one socket, until it is the turn of others
    DRAIN_ROUNDS = 1024        # batches that are read before no session begins any more
    SWEEP_MS = 1000            # longest time between two looks for sessions to end and datagrams that the kernel has dropped

_log = logging.getLogger("lbcore.transport")


cdef int mark_stale(SessionNode* node, servers) except -1:
    """Mark the sessions from this one on whose server is none of `servers`, by identity."""
    cdef UdpSession session
    while node != NULL:
        session = <UdpSession>node.owner
        session.stale = session.server is not None and servers.get(session.server.name) is not session.server
        node = node.newer
    return 0


@cython.final
cdef class UdpEndpoint(UdpSocket):
    """One bound socket of an entry point, and the sessions of the clients that send to it. Its maker calls `open`.

    settings  a `config.static.EntryPoint`; workers: the number of workers, each of which has its share of the sessions.
    """

    def __cinit__(self, EntryPoint entry_point, UdpWorker worker, sock, settings, int workers):
        sessions_init(&self.table, int.from_bytes(os.urandom(8), "little"))
        self.entry_point = entry_point
        self.worker = worker
        self.stats = entry_point.stats
        self.sock = sock
        self.out = sock.fileno()
        self.timeout_ms = max(1, int(settings.udp.timeout.total_seconds() * 1000))
        self.most = max(1, -(-settings.udp.max_sessions // workers))
        self.reactor = worker.reactor

    def open(self) -> None:
        """Begin to receive. Raises OSError."""
        read_overflow(self.out, &self.dropped)     # a predecessor has counted what was dropped before
        self.worker.endpoints += 1
        self.reactor.attach(self, self.out, EPOLLIN)

    def follow(self, UdpRoute route, servers) -> None:
        """Route new sessions by another table. Those whose server is not in it any more get another one when their client sends again.

        servers  Server by identity, of that table.
        """
        self.route = route
        mark_stale(self.table.fresh.oldest, servers)
        mark_stale(self.table.proved.oldest, servers)

    @property
    def closed(self) -> bool:
        return self.sock is None

    @property
    def sessions(self) -> int:
        """Number of open sessions."""
        return self.table.count

    # The life of the socket

    def drain(self) -> None:
        """Begin no session any more, after those whose first datagram has arrived. The socket closes with the last one."""
        if self.sock is None or self.draining:
            return
        if self.fd >= 0:
            self.receive(DRAIN_ROUNDS)
        self.draining = True
        if self.table.count == 0:
            self.shut()

    def stop_reading(self) -> None:
        """Leave the socket's datagrams to another process. Answers under way are still delivered."""
        if self.sock is None:
            return
        self.draining = True
        self.reactor.detach(self)
        if self.table.count == 0:
            self.shut()
        else:
            self.arm_sweep()

    def close(self) -> None:
        """End all sessions, and close the socket. Safe to call twice."""
        self.draining = True
        self.end_all()
        self.shut()

    cdef int end_all(self) except -1:
        cdef SessionNode* node = sessions_oldest(&self.table)
        cdef UdpSession session
        while node != NULL:
            session = <UdpSession>node.owner
            session.end()
            node = sessions_oldest(&self.table)
        return 0

    cdef void fail(self, object error) noexcept:
        _log.error("internal error while receiving on entry point %s", self.entry_point.name, exc_info=error)

    # Datagrams of clients

    cdef int on_ready(self, uint32_t events) except -1:
        # Level-triggered: what is left causes another event.
        self.receive(ROUNDS)
        if not self.timer.deadline_ms and self.sock is not None:
            self.arm_sweep()
        return 0

    cdef int receive(self, int rounds) except -1:
        """Pass on what has come in, at most `rounds` batches."""
        cdef UdpWorker worker = self.worker
        cdef DatagramBatch batch = worker.incoming
        cdef int n
        while rounds > 0 and self.fd >= 0:
            rounds -= 1
            batch.expect(0, worker.dirty, True)
            n = recvmmsg(self.fd, batch.messages, INCOMING, MSG_DONTWAIT, NULL)
            worker.dirty = max(n, 0)
            if n > 0:
                self.dispatch(n)
            elif n == 0 or errno != EINTR:
                break
            if n < INCOMING:
                break
        return 0

    cdef int dispatch(self, Py_ssize_t count) except -1:
        """Pass on the datagrams in the first slots of the batch: those of one client that follow each other together."""
        cdef DatagramBatch batch = self.worker.incoming
        cdef SessionKey key
        cdef SessionNode* node
        cdef UdpSession session
        cdef Py_ssize_t first = 0, end, i
        cdef uint64_t hash
        cdef int loss = LOST_UNSERVED
        self.stats.datagrams_in += count
        for i in range(count):
            batch.vectors[i].iov_len = batch.messages[i].msg_len
            self.stats.bytes_in += batch.messages[i].msg_len
        while first < count:
            end = first + 1
            while end < count and same_sender(&batch.messages[first], &batch.messages[end]):
                end += 1
            if read_key(&batch.messages[first].msg_hdr, &key):
                hash = sessions_hash(&self.table, &key)
                node = sessions_find(&self.table, &key, hash)
                session = None if node == NULL else <UdpSession>node.owner
                try:
                    if session is None:
                        session = self.begin(&key, hash, first, &loss)
                    if session is None:
                        self.stats.datagrams_lost[<int>CLIENT_TO_SERVER][loss] += end - first
                    else:
                        session.forward(batch, first, end - first)
                except BaseException as error:
                    if session is None:
                        self.fail(error)
                    else:
                        session.fail(error)
            else:
                self.stats.datagrams_lost[<int>CLIENT_TO_SERVER][<int>LOST_UNSERVED] += end - first
            first = end
        return 0

    cdef UdpSession begin(self, const SessionKey* key, uint64_t hash, Py_ssize_t slot, int* loss):
        """A new session for the sender of a datagram; None, with the reason in `loss`, if there can be none."""
        cdef UdpSession session
        cdef msghdr* message = &self.worker.incoming.messages[slot].msg_hdr
        cdef Reserve reserve = self.worker.reserve
        cdef Py_ssize_t most = min(self.most, max(1, reserve.most // (2 * max(1, self.worker.endpoints))))
        loss[0] = LOST_UNSERVED
        if self.draining:
            return None
        if self.route is None:
            self.stats.errors[<int>ERROR_NO_ROUTER] += 1
            return None
        session = UdpSession.__new__(UdpSession)
        session.endpoint = self
        session.serial = next_session()
        session.opened_ms = self.reactor.now_ms
        session.reactor = self.reactor
        session.name_size = message.msg_namelen
        memcpy(session.name, message.msg_name, min(<size_t>message.msg_namelen, <size_t>NAME_BYTES))
        session.control_size = put_control(message, key, session.control)
        if not session.choose():
            self.stats.errors[<int>ERROR_NO_SERVER] += 1
            session.endpoint = None
            return None
        while self.table.count >= most:
            self.shed(NULL)
        session.node.key = key[0]
        session.node.hash = hash
        session.node.owner = <void*>session
        if sessions_add(&self.table, &session.node, self.reactor.now_ms) < 0:
            session.release_server()
            session.endpoint = None
            raise MemoryError
        Py_INCREF(session)
        reserve.sessions += 1
        self.stats.accepted += 1
        self.stats.open_connections += 1
        try:
            if session.reach():
                return session
        except BaseException:
            session.end()
            raise
        loss[0] = LOST_LACKING if session.server is not None else LOST_UNSERVED
        session.end()
        return None

    cdef bint shed(self, SessionNode* besides) except *:
        cdef SessionNode* node = sessions_to_shed(&self.table)
        cdef UdpSession session
        if node != NULL and node == besides:
            node = node.newer if node.newer != NULL else self.table.proved.oldest
            if node == besides:
                node = node.newer
        if node == NULL:
            return False
        self.stats.sessions_shed += 1
        session = <UdpSession>node.owner
        session.end()
        return True

    # Sessions that end

    cdef int arm_sweep(self) except -1:
        """Look again when the next session may end, and at least each second while there is traffic."""
        cdef SessionNode* node = sessions_oldest(&self.table)
        cdef int64_t delay_ms = SWEEP_MS
        if node != NULL:
            delay_ms = max(1, min(delay_ms, node.active_ms + self.timeout_ms - self.reactor.now_ms))
        return self.reactor.arm(self, delay_ms)

    cdef int on_timeout(self) except -1:
        cdef SessionNode* node = sessions_oldest(&self.table)
        cdef UdpSession session
        while node != NULL and self.reactor.now_ms - node.active_ms >= self.timeout_ms:
            session = <UdpSession>node.owner
            session.end()
            node = sessions_oldest(&self.table)
        if self.sock is not None and (self.count_overflow() or node != NULL):
            self.arm_sweep()
        return 0
