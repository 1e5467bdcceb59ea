"""UDP: sessions between clients and servers, each with a connected socket to its server.

    client ─► UdpEndpoint.receive ─► UdpSession.forward ─► server
    client ◄─ AnswerBatch.flush   ◄─ UdpSession.on_ready ◄─ server

A session belongs to one address of a client, and ends when nothing has moved for the timeout. All workers have a socket of
each entry point, among which the kernel distributes clients by their address: a session stays with its worker. A datagram is
passed on once, or counted as lost: nothing waits, but for the resolution of a name.
"""

import functools
import logging
import os

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport (
    EACCES, EAGAIN, ECONNREFUSED, EINTR, EMFILE, EMSGSIZE, ENFILE, ENOBUFS, ENOMEM, EPERM, errno,
)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from lbcore.http.head cimport ClientAddress
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.selection.atomic cimport atomic_load_u32
from lbcore.state.layout cimport (
    CLIENT_TO_SERVER, ERROR_NO_ROUTER, ERROR_NO_SERVER, ERROR_REFUSED, ERROR_RESOLVE, ERROR_RESOURCE, LOST_LACKING,
    LOST_OVERFLOWED, LOST_REFUSED, LOST_UNSENT, LOST_UNSERVED, SERVER_TO_CLIENT,
)
from lbcore.transport.address cimport read_address
from lbcore.transport.datagrams cimport (
    CONTROL_BYTES, DATAGRAM_BYTES, NAME_BYTES, DatagramBatch, read_overflow, send_datagram,
)
from lbcore.transport.epoll cimport EPOLLERR, EPOLLET, EPOLLIN
from lbcore.transport.inet cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_SPACE, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, IP_PKTINFO,
    MSG_DONTWAIT, MSG_NOSIGNAL, cmsghdr, in6_pktinfo, in_pktinfo, mmsghdr, msghdr, recvmmsg, sendmmsg, sockaddr, sockaddr_in,
    sockaddr_in6, sockaddr_storage,
)
from lbcore.transport.reactor cimport Channel, Flushable, Reactor
from lbcore.transport.scarcity cimport lack
from lbcore.transport.session_table cimport (
    SessionKey, SessionNode, sessions_add, sessions_find, sessions_free, sessions_hash, sessions_init, sessions_oldest,
    sessions_prove, sessions_remove, sessions_to_shed, sessions_touch,
)

cdef extern from "<unistd.h>" nogil:
    int close_fd "close"(int fd)

cdef extern from "<sys/socket.h>" nogil:
    int open_socket "socket"(int family, int type, int protocol)
    int connect_socket "connect"(int fd, const sockaddr* address, unsigned int size)
    enum:
        SOCK_CLOEXEC
        SOCK_DGRAM
        SOCK_NONBLOCK

cdef enum:
    INCOMING = 32              # datagrams of clients that one system call takes
    OUTGOING = 64              # datagrams of servers that one system call sends
    BURST = 16                 # datagrams that one system call takes from a server
    ROUNDS = 4                 # batches of one socket, until it is the turn of others
    DRAIN_ROUNDS = 1024        # batches that are read before no session begins any more
    ATTEMPTS = 3               # most servers tried until one answers
    KEPT = 8                   # most datagrams of a session that are kept until the first answer, ...
    KEPT_BYTES = 4096          # ... and their bytes
    KEPT_MS = 1000             # after which a refusal would have come
    SWEEP_MS = 1000            # longest time between two looks for sessions to end and datagrams that the kernel has dropped
    FEW_BYTES = 16384          # a socket from which no more was read has not lost anything by a full queue

cdef enum Reached:
    NOT_REACHED = 0
    LACKING = 1                # this process lacks a descriptor, a port or memory
    RESOLVING = 2
    READY = 3

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class UdpWorker:
    """Made when the first UDP socket of a worker opens."""

    def __cinit__(self, Reactor reactor, resolver, Reserve reserve):
        cdef Py_ssize_t i
        self.reactor = reactor
        self.resolver = resolver
        self.reserve = reserve
        self.incoming = DatagramBatch(INCOMING)
        self.dirty = INCOMING
        self.answers = AnswerBatch()
        self.forwards = <mmsghdr*>calloc(INCOMING, sizeof(mmsghdr))
        if self.forwards == NULL:
            raise MemoryError
        for i in range(INCOMING):
            self.forwards[i].msg_hdr.msg_iov = &self.incoming.vectors[i]
            self.forwards[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.forwards)


@cython.final
cdef class AnswerBatch(Flushable):
    """Answers of many sessions leave with one system call, after the batch of events in which they came."""

    def __cinit__(self):
        self.batch = DatagramBatch(OUTGOING)

    cdef int take(self, UdpEndpoint endpoint) except -1:
        """Make room for the answers to clients of an endpoint; those of another one are sent first."""
        if self.used and (self.endpoint is not endpoint or self.used == self.batch.size):
            self.flush()
        self.endpoint = endpoint
        return 0

    cdef int on_batch_end(self) except -1:
        return self.flush()

    cdef int flush(self) except -1:
        """Send all. What cannot be sent is lost, and counted."""
        cdef UdpEndpoint endpoint = self.endpoint
        cdef mmsghdr* messages = self.batch.messages
        cdef Py_ssize_t at = 0, i
        cdef int sent
        while at < self.used:
            sent = sendmmsg(endpoint.out, messages + at, <unsigned int>(self.used - at), MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent > 0:
                endpoint.stats.datagrams_out += sent
                for i in range(at, at + sent):
                    endpoint.stats.bytes_out += messages[i].msg_len
                at += sent
            elif errno != EINTR:
                endpoint.stats.datagrams_lost[<int>SERVER_TO_CLIENT][<int>LOST_UNSENT] += 1
                at += 1
        self.used = 0
        self.endpoint = None
        return 0


cdef bint same_sender(const mmsghdr* a, const mmsghdr* b) noexcept nogil:
    """Whether two datagrams are of one session."""
    return (
        a.msg_hdr.msg_namelen == b.msg_hdr.msg_namelen
        and a.msg_hdr.msg_controllen == b.msg_hdr.msg_controllen
        and memcmp(a.msg_hdr.msg_name, b.msg_hdr.msg_name, a.msg_hdr.msg_namelen) == 0
        and memcmp(a.msg_hdr.msg_control, b.msg_hdr.msg_control, a.msg_hdr.msg_controllen) == 0
    )


cdef inline void put_mapped(uint8_t* out, const void* ip) noexcept nogil:
    out[10] = out[11] = 0xFF
    memcpy(out + 12, ip, 4)


cdef bint read_key(msghdr* message, SessionKey* key) noexcept nogil:
    """Read the addresses of a datagram. Returns False for a family other than IP."""
    cdef const sockaddr_in* v4 = <const sockaddr_in*>message.msg_name
    cdef const sockaddr_in6* v6 = <const sockaddr_in6*>message.msg_name
    cdef cmsghdr* control = CMSG_FIRSTHDR(message)
    memset(key, 0, sizeof(SessionKey))
    if message.msg_namelen >= sizeof(sockaddr_in) and v4.sin_family == AF_INET:
        put_mapped(key.client, &v4.sin_addr)
        key.port = v4.sin_port
    elif message.msg_namelen >= sizeof(sockaddr_in6) and v6.sin6_family == AF_INET6:
        memcpy(key.client, &v6.sin6_addr, 16)
        key.port = v6.sin6_port
        key.scope = v6.sin6_scope_id
    else:
        return False
    if control != NULL and control.cmsg_level == IPPROTO_IP and control.cmsg_type == IP_PKTINFO:
        put_mapped(key.local, &(<in_pktinfo*>CMSG_DATA(control)).ipi_spec_dst)
    elif control != NULL and control.cmsg_level == IPPROTO_IPV6 and control.cmsg_type == IPV6_PKTINFO:
        memcpy(key.local, &(<in6_pktinfo*>CMSG_DATA(control)).ipi6_addr, 16)
    return True


cdef bint may_send_from(const uint8_t* ip) noexcept nogil:
    """Whether an address to which a client has sent may be that of its answer: it is none of a group."""
    cdef int i
    if ip[0] == 0xFF:
        return False
    for i in range(10):
        if ip[i]:
            return True
    return not (ip[10] == 0xFF and ip[11] == 0xFF and ip[12] >= 224)


cdef size_t put_control(msghdr* received, const SessionKey* key, uint64_t* out) noexcept nogil:
    """Write the control data that have the kernel send from the address to which the client has sent. Returns their size."""
    cdef cmsghdr* header = <cmsghdr*>out
    cdef cmsghdr* old = CMSG_FIRSTHDR(received)
    cdef in6_pktinfo* v6 = <in6_pktinfo*>CMSG_DATA(header)
    cdef in_pktinfo* v4 = <in_pktinfo*>CMSG_DATA(header)
    if old == NULL or not may_send_from(key.local):
        return 0
    memset(out, 0, CONTROL_BYTES)
    header.cmsg_level = old.cmsg_level
    header.cmsg_type = old.cmsg_type
    if old.cmsg_level == IPPROTO_IP:
        header.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
        memcpy(&v4.ipi_spec_dst, key.local + 12, 4)
        return CMSG_SPACE(sizeof(in_pktinfo))
    header.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
    memcpy(&v6.ipi6_addr, key.local, 16)
    return CMSG_SPACE(sizeof(in6_pktinfo))


cdef int mark_stale(SessionNode* node, servers) except -1:
    """Mark the sessions from this one on whose server is none of `servers`, by identity."""
    cdef UdpSession session
    while node != NULL:
        session = <UdpSession>node.owner
        session.stale = session.server is not None and servers.get(session.server.name) is not session.server
        node = node.newer
    return 0


@cython.final
cdef class UdpEndpoint(Channel):
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

    def __dealloc__(self):
        sessions_free(&self.table)

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

    cdef int shut(self) except -1:
        if self.sock is None:
            return 0
        if self.worker.answers.endpoint is self:
            self.worker.answers.flush()
        self.count_overflow()
        self.reactor.detach(self)
        self.reactor.disarm(self)
        self.sock.close()
        self.sock = None
        self.worker.endpoints -= 1
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
        session.reactor = self.reactor
        session.name_size = message.msg_namelen
        memcpy(session.name, message.msg_name, min(<size_t>message.msg_namelen, <size_t>NAME_BYTES))
        session.control_size = put_control(message, key, session.control)
        if not session.choose():
            self.stats.errors[<int>ERROR_NO_SERVER] += 1
            session.endpoint = None
            return None
        while self.table.count >= most:
            self.shed(None)
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

    cdef bint shed(self, UdpSession besides) except *:
        """End the session that is the least needed, to make room for another one. Returns False if there is none."""
        cdef SessionNode* node = sessions_to_shed(&self.table)
        cdef UdpSession session
        if besides is not None and node == &besides.node:
            node = node.newer if node.newer != NULL else self.table.proved.oldest
            if node == &besides.node:
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

    cdef int count_overflow(self) noexcept:
        """Count what the kernel has dropped since the last look. Returns whether it has dropped anything."""
        cdef uint32_t dropped, more
        if read_overflow(self.out, &dropped) < 0:
            return 0
        more = dropped - self.dropped
        self.dropped = dropped
        self.stats.datagrams_in += more
        self.stats.datagrams_lost[<int>CLIENT_TO_SERVER][<int>LOST_OVERFLOWED] += more
        return more != 0


@cython.final
cdef class UdpSession(Channel):
    """A client's session. `UdpEndpoint.begin` makes it."""

    # The server

    cdef bint choose(self) except *:
        """Choose a server that was not tried yet. Returns False if there is none."""
        cdef Asker asker
        cdef Decision decision
        cdef ClientAddress address
        cdef Server server
        if self.endpoint.route is None or self.attempts >= ATTEMPTS:
            return False
        decision = Decision()
        if self.failed is not None:
            for member in self.failed:
                decision.exclude(member)
        read_address(<const sockaddr_storage*>self.name, &address)
        asker = Asker.__new__(Asker)
        asker.address = &address
        server = self.endpoint.route.service.choose(asker, decision)
        asker.address = NULL
        if server is None:
            return False
        self.attempts += 1
        self.server = server
        self.balancer = <LoadBalancer>decision.balancer
        self.balancer.note_start(server)
        self.stale = self.answered = False
        self.addresses = None
        self.tried = 0
        return True

    cdef bint reach(self) except *:
        """Connect to the chosen server, or to another one. Returns False if none can be reached; `server` is None then, unless this
        process lacks a resource."""
        cdef int result
        while True:
            result = self.connect()
            if result >= RESOLVING:
                return True
            if result == LACKING:
                self.endpoint.stats.errors[<int>ERROR_RESOURCE] += 1
                return False
            self.server_failed(ERROR_REFUSED)
            if not self.choose():
                return False

    cdef int connect(self) except -1:
        """Begin to use the chosen server. Returns a Reached."""
        cdef Server server = self.server
        if server.addresses is None:
            server.addresses = self.endpoint.worker.resolver.known(server.host, server.port)
        self.addresses = server.addresses
        if self.addresses is None:
            self.connecting = True             # an answer that is known comes within the call
            self.lacking = False
            self.endpoint.worker.resolver.resolve(server.host, server.port, functools.partial(self.resolved, server))
            self.connecting = False
            if self.addresses is None:
                return RESOLVING
            if self.lacking:
                return LACKING
        return self.open_next()

    def resolved(self, Server server, addresses, lacking) -> None:
        """The name of a server was resolved: to addresses, or to None. `lacking`: because this process lacks a resource."""
        if self.endpoint is None or self.server is not server or self.addresses is not None:
            return
        self.addresses = () if addresses is None else addresses
        self.lacking = lacking
        if self.connecting:
            return
        self.reactor.enter()
        try:
            self.go_on(ERROR_RESOLVE if addresses is None else ERROR_REFUSED)
        except BaseException as error:
            self.fail(error)

    cdef int go_on(self, int error) except -1:
        """Connect to the addresses that were found, or to another server, and send what was kept meanwhile."""
        cdef int result = LACKING if self.lacking else self.open_next()
        if result == NOT_REACHED:
            self.server_failed(error)
            result = RESOLVING if self.choose() and self.reach() else <int>NOT_REACHED
        if result >= RESOLVING:
            return self.resend()
        self.lose(LOST_LACKING if self.server is not None else LOST_UNSERVED, self.unanswered())
        return self.end()

    cdef int open_next(self) except -1:
        """Open a socket that is connected to the next address of the server. Returns READY, LACKING or NOT_REACHED."""
        cdef bytes address
        cdef const sockaddr* target
        cdef int fd, error
        cdef bint made_room = False
        self.keeps = (self.balancer.count > 1 or <object>self.endpoint.route.service is not self.balancer
                      or len(self.addresses) > self.tried + 1) if self.endpoint.route is not None else False
        while self.tried < len(self.addresses):
            address = <bytes>self.addresses[self.tried]
            target = <const sockaddr*><const char*>address
            fd = open_socket(target.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
            error = errno if fd < 0 else 0
            if fd >= 0 and connect_socket(fd, target, <unsigned int>len(address)) < 0:
                error = errno
                close_fd(fd)
            if error == EMFILE or error == ENFILE or error == EAGAIN or error == ENOBUFS or error == ENOMEM:
                # EAGAIN: no local port is free (connect(2)).
                if not made_room and (self.endpoint.shed(self) or self.reactor.relief.make_room()):
                    made_room = True
                    continue
                lack("no socket to a UDP server can be opened", error)
                return LACKING
            self.tried += 1
            if error:
                continue
            self.received_bytes = 0
            try:
                self.reactor.attach(self, fd, EPOLLIN | EPOLLET)
            except (OSError, MemoryError) as problem:
                close_fd(fd)
                lack("no socket to a UDP server can be watched", getattr(problem, "errno", ENOMEM))
                return LACKING
            return READY
        return NOT_REACHED

    cdef bint move(self) except *:
        """Leave a server that is down, or not configured any more, for another one. Returns False if the session is to end."""
        cdef Server server = self.server
        cdef LoadBalancer balancer = self.balancer
        self.attempts = 0
        self.failed = None
        if not self.choose():
            self.attempts = 1
            return not self.stale              # one that is down may still be the best there is
        balancer.note_end(server)
        self.close_socket()
        if not self.reach():
            return False
        self.resend()
        return True

    cdef bint pass_over(self, bint refused) except *:
        """The server cannot be reached: use another address of it, or another server. Returns False if the session is to end.

        refused  it has refused a datagram that was sent.
        """
        cdef bint another_address = not self.answered and self.addresses is not None and self.tried < len(self.addresses)
        if refused and (self.answered or not self.keeps or self.overflowed):
            self.lose(LOST_REFUSED, 1)
        self.close_socket()
        if another_address and self.open_next() == READY:
            self.resend()
            return True
        self.server_failed(ERROR_REFUSED)
        if not self.choose() or not self.reach():
            return False
        self.server.stats.retries += 1
        self.resend()
        return True

    cdef int server_failed(self, int error) except -1:
        """Count a failure of the server, and do not choose it again."""
        cdef Server server = self.server
        self.endpoint.stats.errors[error] += 1
        server.stats.connect_errors += 1
        server.stats.responses[0] += 1
        self.balancer.note_failure(server)
        if self.failed is None:
            self.failed = []
        self.failed.append(server)
        self.close_socket()
        return self.release_server()

    cdef int release_server(self) noexcept:
        if self.server is not None:
            self.balancer.note_end(self.server)
            self.server = None
        return 0

    cdef int close_socket(self) noexcept:
        cdef uint32_t dropped = 0
        cdef int fd = self.fd
        if fd < 0:
            return 0
        if self.received_bytes > FEW_BYTES and read_overflow(fd, &dropped) == 0:
            self.endpoint.stats.datagrams_lost[<int>SERVER_TO_CLIENT][<int>LOST_OVERFLOWED] += dropped
        self.reactor.forget(self)
        close_fd(fd)
        return 0

    # From the client to the server

    cdef int forward(self, DatagramBatch batch, Py_ssize_t first, Py_ssize_t count) except -1:
        """Send the datagrams in these slots to the server."""
        cdef UdpEndpoint endpoint = self.endpoint
        cdef mmsghdr* forwards = endpoint.worker.forwards
        cdef Py_ssize_t i, sent
        cdef int error
        if self.node.active_ms != self.reactor.now_ms:
            sessions_touch(&self.node, self.reactor.now_ms)
        if self.answered and not self.proved:
            self.proved = True
            sessions_prove(&endpoint.table, &self.node)
        if self.stale or atomic_load_u32(&self.server.cell.down):
            if not self.move():
                self.lose(LOST_UNSERVED, count)
                return self.end()
        if self.kept is not None and self.fd >= 0 and self.reactor.now_ms - self.kept_ms > KEPT_MS:
            self.forget_kept()
        while count:
            if self.fd < 0:                    # the name of the server is being resolved
                for i in range(first, first + count):
                    if self.keep(batch.place(i), batch.vectors[i].iov_len) == 0:
                        self.lose(LOST_LACKING, 1)
                return 0
            if count == 1:
                sent = send_datagram(self.fd, batch.place(first), batch.vectors[first].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
                error = errno if sent < 0 else 0
                sent = 1 if sent >= 0 else -1
            else:
                sent = sendmmsg(self.fd, forwards + first, <unsigned int>count, MSG_DONTWAIT | MSG_NOSIGNAL)
                error = errno if sent < 0 else 0
            if sent > 0:
                for i in range(first, first + sent):
                    self.server.stats.bytes_out += batch.vectors[i].iov_len
                    if self.keeps and not self.answered:
                        self.overflowed |= self.keep(batch.place(i), batch.vectors[i].iov_len) == 0
                first += sent
                count -= sent
            elif error == EAGAIN or error == ENOBUFS or error == ENOMEM or error == EMSGSIZE or error == EPERM or error == EACCES:
                self.lose(LOST_UNSENT, 1)
                first += 1
                count -= 1
            elif error != EINTR and not self.pass_over(error == ECONNREFUSED):
                # ECONNREFUSED: it is an earlier datagram that was refused; others: there is no way to the server.
                self.lose(LOST_REFUSED, count + self.unanswered())
                return self.end()
        return 0

    cdef int keep(self, const char* data, Py_ssize_t length) except -1:
        """Keep a copy of a datagram for another server. Returns 0 if there is no room for it."""
        if self.kept is None:
            self.kept = []
            self.kept_ms = self.reactor.now_ms
        if len(self.kept) >= KEPT or self.kept_bytes + length > KEPT_BYTES:
            return 0
        self.kept.append(data[:length])
        self.kept_bytes += length
        return 1

    cdef int resend(self) except -1:
        """Send what was kept to the present server."""
        cdef bytes data
        if self.kept is None or self.fd < 0:
            return 0
        self.kept_ms = self.reactor.now_ms
        self.overflowed = False
        for item in self.kept:
            data = <bytes>item
            if send_datagram(self.fd, <const char*>data, len(data), MSG_DONTWAIT | MSG_NOSIGNAL) < 0:
                self.lose(LOST_UNSENT, 1)
            else:
                self.server.stats.bytes_out += len(data)
        if not self.keeps:
            self.forget_kept()
        return 0

    cdef int forget_kept(self) noexcept:
        self.kept = None
        self.kept_bytes = 0
        self.overflowed = False
        return 0

    cdef uint64_t unanswered(self) noexcept:
        """The number of datagrams that are lost if the session ends because no server takes them."""
        return 0 if self.kept is None else <uint64_t>len(self.kept)

    cdef int lose(self, int loss, uint64_t count) noexcept:
        """Count datagrams of the client that do not reach a server."""
        self.endpoint.stats.datagrams_lost[<int>CLIENT_TO_SERVER][loss] += count
        return 0

    # From the server to the client

    cdef int on_ready(self, uint32_t events) except -1:
        cdef AnswerBatch answers = self.endpoint.worker.answers if self.endpoint is not None else None
        cdef DatagramBatch batch
        cdef mmsghdr* message
        cdef int n, want, rounds = 0
        cdef Py_ssize_t i
        while self.endpoint is not None and self.fd >= 0:
            answers.take(self.endpoint)
            batch = answers.batch
            want = <int>min(<Py_ssize_t>BURST, batch.size - answers.used)
            batch.expect(answers.used, want, False)
            n = recvmmsg(self.fd, batch.messages + answers.used, want, MSG_DONTWAIT, NULL)
            if n < 0:
                if errno == EINTR:
                    continue
                if errno != EAGAIN and errno != ENOMEM and errno != ENOBUFS and not self.pass_over(True):
                    self.lose(LOST_REFUSED, self.unanswered())
                    self.end()
                return 0
            for i in range(answers.used, answers.used + n):
                message = batch.messages + i
                batch.vectors[i].iov_len = message.msg_len
                self.received_bytes += message.msg_len
                self.server.stats.bytes_in += message.msg_len
                message.msg_hdr.msg_name = batch.names + i * NAME_BYTES
                message.msg_hdr.msg_namelen = self.name_size
                memcpy(message.msg_hdr.msg_name, self.name, NAME_BYTES)
                if self.control_size:
                    message.msg_hdr.msg_control = batch.controls + i * CONTROL_BYTES
                    message.msg_hdr.msg_controllen = self.control_size
                    memcpy(message.msg_hdr.msg_control, self.control, CONTROL_BYTES)
            if n:
                if not self.answered:
                    self.note_answer()
                if not self.stale and self.node.active_ms != self.reactor.now_ms:
                    sessions_touch(&self.node, self.reactor.now_ms)
                answers.used += n
                self.reactor.touch(answers)
            # With an error, the kernel ends a batch before the error is read.
            if n < want and not events & EPOLLERR:
                return 0
            rounds += 1
            if rounds == ROUNDS:
                # Edge-triggered: what is left causes an event when it is the turn of the others.
                self.reactor.change(self, EPOLLIN | EPOLLET)
                return 0
        return 0

    cdef int note_answer(self) except -1:
        """The server has sent the first datagram."""
        self.answered = True
        self.failed = None
        self.attempts = 1
        self.forget_kept()
        return self.balancer.note_success(self.server)

    cdef void fail(self, object error) noexcept:
        _log.error("internal error in a session of a UDP client", exc_info=error)
        try:
            self.end()
        except Exception as again:
            _log.error("internal error while ending a session", exc_info=again)

    cdef int end(self) except -1:
        """End the session. Safe to call twice."""
        cdef UdpEndpoint endpoint = self.endpoint
        if endpoint is None:
            return 0
        self.close_socket()
        self.endpoint = None
        self.release_server()
        self.kept = None
        sessions_remove(&endpoint.table, &self.node)
        endpoint.stats.open_connections -= 1
        endpoint.worker.reserve.sessions -= 1
        Py_DECREF(self)
        if endpoint.draining and endpoint.table.count == 0:
            endpoint.shut()
        return 0
