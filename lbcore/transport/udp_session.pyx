"""A session of UDP: a client's datagrams to one server at a time, over a connected socket, and the server's answers.

A datagram is passed on once, or counted as lost: nothing waits, but for the resolution of a name, and until the first answer for
another server.
"""

import functools
import logging

cimport cython
from cpython.ref cimport Py_DECREF
from libc.errno cimport EACCES, EAGAIN, ECONNREFUSED, EINTR, EMFILE, EMSGSIZE, ENFILE, ENOBUFS, ENOMEM, EPERM, errno
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from lbcore.http.head cimport ClientAddress
from lbcore.routing.asker cimport Asker
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.decision cimport Decision
from lbcore.routing.server cimport Server
from lbcore.selection.atomic cimport atomic_load_u32
from lbcore.state.layout cimport (
    CLIENT_TO_SERVER, ERROR_REFUSED, ERROR_RESOLVE, ERROR_RESOURCE, LOST_LACKING, LOST_OVERFLOWED, LOST_REFUSED, LOST_UNSENT,
    LOST_UNSERVED, SERVER_TO_CLIENT,
)
from lbcore.transport.address cimport read_address
from lbcore.transport.datagrams cimport CONTROL_BYTES, NAME_BYTES, DatagramBatch, read_overflow, send_datagram
from lbcore.transport.epoll cimport EPOLLERR, EPOLLET, EPOLLIN
from lbcore.transport.inet cimport MSG_DONTWAIT, MSG_NOSIGNAL, mmsghdr, recvmmsg, sendmmsg, sockaddr, sockaddr_storage
from lbcore.transport.reactor cimport Channel
from lbcore.transport.scarcity cimport lack
from lbcore.transport.session_table cimport sessions_prove, sessions_remove, sessions_touch
from lbcore.transport.udp_socket cimport AnswerBatch, UdpSocket

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
    BURST = 16                 # datagrams that one system call takes from a server
    ROUNDS = 4                 # batches of one socket, until it is the turn of others
    ATTEMPTS = 3               # most servers tried until one answers
    KEPT = 8                   # most datagrams of a session that are kept until the first answer, ...
    KEPT_BYTES = 4096          # ... and their bytes
    KEPT_MS = 1000             # after which a refusal would have come
    FEW_BYTES = 16384          # a socket from which no more was read has not lost anything by a full queue

cdef enum Reached:
    NOT_REACHED = 0
    LACKING = 1                # this process lacks a descriptor, a port or memory
    RESOLVING = 2
    READY = 3

_log = logging.getLogger("lbcore.transport")


@cython.final
cdef class UdpSession(Channel):
    """A client's session. `UdpEndpoint.begin` makes it, and adds it to the table of the socket."""

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
            decision.further = True
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
                if not made_room and (self.endpoint.shed(&self.node) or self.reactor.relief.make_room()):
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
        cdef UdpSocket endpoint = self.endpoint
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
                    self.bytes_in += batch.vectors[i].iov_len
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
                self.bytes_out += message.msg_len
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
        cdef UdpSocket endpoint = self.endpoint
        if endpoint is None:
            return 0
        self.close_socket()
        self.endpoint = None
        self.release_server()
        self.kept = None
        sessions_remove(&endpoint.table, &self.node)
        Py_DECREF(self)
        return endpoint.note_end()
