"""QUIC over the UDP port of an entry point: sockets, the connections that packets belong to, and their clock.

A worker has one socket of the port, and reads those of workers that cannot. The kernel gives it the packets whose connection id
says so (see `process.listeners.steer`), so the ids that a worker chooses begin with its own number. One table finds the
connection of a packet, whatever socket and address it comes from: a client may change its address.

What belongs to no connection costs no memory: a packet of another version is told which one we speak, an unknown connection is
reset, a client whose address is not known to be its own gets a token when many handshakes are under way. All of that is
limited in number, and no answer is larger than three times what came.
"""

import hashlib
import logging
import os
import socket as sockets

cimport cython
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, ENOBUFS, errno
from libc.stdint cimport UINT64_MAX, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

from lbcore.http3.ngtcp2 cimport *
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Dialer
from lbcore.selection.clock cimport monotonic_ns
from lbcore.state.layout cimport SECRET_BYTES
from lbcore.state.region cimport Region
from lbcore.tls.openssl cimport RAND_bytes
from lbcore.transport.epoll cimport EPOLLET, EPOLLIN, EPOLLOUT
from lbcore.transport.gathering cimport GATHERS_LONGER
from lbcore.transport.inet cimport (
    AF_INET, AF_INET6, CMSG_DATA, CMSG_FIRSTHDR, CMSG_LEN, CMSG_NXTHDR, CMSG_SPACE, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO,
    IP_PKTINFO, MSG_DONTWAIT, cmsghdr, getsockname, in6_pktinfo, in_pktinfo, iovec, mmsghdr, msghdr, recvmmsg, sendmsg,
    sockaddr_in, sockaddr_in6,
)
from lbcore.transport.reactor cimport Channel, Reactor
from lbcore.transport.reserve cimport Reserve

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int CLOCK_MONOTONIC

cdef extern from "<sys/timerfd.h>" nogil:
    struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* before)
    int TFD_NONBLOCK, TFD_CLOEXEC, TFD_TIMER_ABSTIME

cdef enum:
    IPPROTO_UDP = 17
    UDP_SEGMENT = 103          # the kernel cuts what is sent into packets of that size
    UDP_GRO = 104              # and joins received packets of one size
    MESSAGES = 16              # read with one call
    MESSAGE_BYTES = 65535
    CALLS = 8                  # in one turn: other connections of the worker wait meanwhile
    CONTROL_BYTES = 128
    CONTROL_WORDS = 16         # of 8 bytes
    FIRST_SLOTS = 256
    TOKEN_KEY_BYTES = 32
    RETRY_ABOVE = 128          # handshakes under way: from there on clients have to show that their address is theirs
    MOST_HANDSHAKES = 2048     # under way; no more begin
    ENDED_MOST = 4096          # connections whose last packet is remembered
    UNSOLICITED_PER_S = 2000   # packets sent without a connection
    INVALID_TOKEN = 0x0B
    VERSION_NEGOTIATION_MOST = 1200

cdef uint64_t S_NS = 1000000000
cdef uint64_t TOKEN_NS = 10 * S_NS          # as long is a token of Retry valid
cdef uint64_t ENDED_NS = 3 * S_NS           # as long is the end of a connection remembered
cdef uint64_t SLACK_NS = 500000             # the clock may fire that much late

cdef uint8_t* INPUT = NULL                  # MESSAGES of MESSAGE_BYTES; pages that were never used cost nothing
OUTPUT = NULL
cdef bint segments = True                   # the kernel takes UDP_SEGMENT

_log = logging.getLogger("lbcore.transport")


cdef int make_buffers() except -1:
    global INPUT, OUTPUT
    if INPUT == NULL:
        INPUT = <uint8_t*>malloc(MESSAGES * MESSAGE_BYTES)
        OUTPUT = <uint8_t*>malloc(OUTPUT_BYTES)
        if INPUT == NULL or OUTPUT == NULL:
            raise MemoryError
    return 0


cdef class QuicSession(FlowSession):
    """One connection, as its endpoint sees it."""

    def __cinit__(self):
        self.place = -1
        self.gathers = GATHERS_LONGER          # a packet for each answer costs more than an answer

    cdef int receive(self, const Path* path, const uint8_t* packet, size_t length, uint64_t now_ns) except -1:
        """A datagram of this connection has come."""
        return 0

    cdef int expire(self, uint64_t now_ns) except -1:
        """`expiry_ns` has passed."""
        return 0

    cdef int shut(self, object error) except -1:
        """Close after an internal error."""
        return 0


@cython.final
cdef class QuicSocket(Channel):
    """One UDP socket, which it owns."""

    def __init__(self, QuicEndpoint endpoint, sock, bint adopted):
        cdef int i
        self.endpoint = endpoint
        self.sock = sock
        self.adopted = adopted
        self.look()
        self.family = self.local.any.sa_family
        if self.family == AF_INET6:
            self.wildcard = True
            for i in range(16):
                if self.local.v6.sin6_addr.s6_addr[i]:
                    self.wildcard = False
            if self.wildcard:
                sock.setsockopt(sockets.IPPROTO_IPV6, sockets.IPV6_RECVPKTINFO, 1)
        else:
            self.wildcard = self.local.v4.sin_addr.s_addr == 0
            if self.wildcard:
                sock.setsockopt(sockets.IPPROTO_IP, 8, 1)       # IP_PKTINFO
        try:
            sock.setsockopt(IPPROTO_UDP, UDP_GRO, 1)
        except OSError:
            pass                   # an old kernel: each packet comes alone

    cdef int look(self) except -1:
        """Read the socket's address."""
        cdef unsigned int length = sizeof(SocketAddress)
        if getsockname(self.sock.fileno(), &self.local.any, &length) < 0:
            raise OSError(errno, os.strerror(errno))
        self.local_length = length
        return 0

    def close(self) -> None:
        """Stop reading. Safe to call twice."""
        if self.sock is not None:
            self.reactor.detach(self)
            self.sock.close()
            self.sock = None

    cdef int on_ready(self, uint32_t events) except -1:
        cdef mmsghdr messages[MESSAGES]
        cdef iovec pieces[MESSAGES]
        cdef SocketAddress remote[MESSAGES]
        cdef uint64_t control[MESSAGES][CONTROL_WORDS]
        cdef SocketAddress local
        cdef msghdr* message
        cdef cmsghdr* at
        cdef Path path
        cdef size_t segment, left, length
        cdef uint8_t* packet
        cdef int i, calls, count = 0, gro
        if events & EPOLLOUT:
            self.endpoint.resume()
        if not events & ~EPOLLOUT:
            return 0
        if self.local.v4.sin_port == 0:
            self.look()            # it was bound meanwhile
        for calls in range(CALLS):
            if self.fd < 0:
                return 0
            for i in range(MESSAGES):
                pieces[i].iov_base = INPUT + <size_t>i * MESSAGE_BYTES
                pieces[i].iov_len = MESSAGE_BYTES
                message = &messages[i].msg_hdr
                memset(message, 0, sizeof(msghdr))
                message.msg_name = &remote[i]
                message.msg_namelen = sizeof(SocketAddress)
                message.msg_iov = &pieces[i]
                message.msg_iovlen = 1
                message.msg_control = control[i]
                message.msg_controllen = CONTROL_BYTES
            count = recvmmsg(self.fd, messages, MESSAGES, MSG_DONTWAIT, NULL)
            if count < 0:
                if errno == EAGAIN or errno == EINTR:
                    return 0
                continue           # the error of a packet that was sent (ICMP) says nothing of the socket
            for i in range(count):
                message = &messages[i].msg_hdr
                left = messages[i].msg_len
                segment = left
                local = self.local
                at = CMSG_FIRSTHDR(message)
                while at != NULL:
                    if at.cmsg_level == IPPROTO_UDP and at.cmsg_type == UDP_GRO:
                        memcpy(&gro, CMSG_DATA(at), sizeof(gro))
                        if gro > 0:
                            segment = <size_t>gro
                    elif at.cmsg_level == IPPROTO_IPV6 and at.cmsg_type == IPV6_PKTINFO and self.family == AF_INET6:
                        memcpy(local.v6.sin6_addr.s6_addr, (<in6_pktinfo*>CMSG_DATA(at)).ipi6_addr.s6_addr, 16)
                    elif at.cmsg_level == IPPROTO_IP and at.cmsg_type == IP_PKTINFO and self.family == AF_INET:
                        local.v4.sin_addr.s_addr = (<in_pktinfo*>CMSG_DATA(at)).ipi_addr.s_addr
                    at = CMSG_NXTHDR(message, at)
                path.local.address = &local
                path.local.length = self.local_length
                path.remote.address = &remote[i]
                path.remote.length = message.msg_namelen
                path.user_data = NULL
                packet = <uint8_t*>pieces[i].iov_base
                self.endpoint.entry_point.stats.bytes_in += left
                while left:
                    length = min(segment, left)
                    self.endpoint.datagram(self, &path, packet, length)
                    packet += length
                    left -= length
            if count < MESSAGES:
                return 0
        return 0

    cdef void fail(self, object error) noexcept:
        _log.error("internal error on the UDP socket of entry point %s", self.endpoint.entry_point.name, exc_info=error)

    cdef int watch_output(self, bint watch) except -1:
        if self.watches_output != watch and self.fd >= 0:
            self.watches_output = watch
            self.reactor.change(self, EPOLLIN | (EPOLLOUT if watch else 0))
        return 0

    cdef int send(self, const Path* path, const uint8_t* packets, size_t length, size_t segment) noexcept:
        """Send packets, all but the last one of the size `segment`. Returns 0, or the errno of a call that sent nothing.

        What the kernel has no route for, or finds too large, is lost, as packets may be.
        """
        global segments
        cdef msghdr message
        cdef iovec piece
        cdef uint64_t control[CONTROL_WORDS]
        cdef cmsghdr* at
        cdef size_t used = 0, part
        cdef uint16_t size
        cdef in6_pktinfo* from6
        cdef in_pktinfo* from4
        while length:
            part = length if segments and length > segment else min(length, segment)
            memset(&message, 0, sizeof(message))
            memset(control, 0, CONTROL_BYTES)
            piece.iov_base = <void*>packets
            piece.iov_len = part
            message.msg_name = path.remote.address
            message.msg_namelen = path.remote.length
            message.msg_iov = &piece
            message.msg_iovlen = 1
            message.msg_control = control
            message.msg_controllen = CONTROL_BYTES
            at = CMSG_FIRSTHDR(&message)
            used = 0
            if part > segment:
                at.cmsg_level = IPPROTO_UDP
                at.cmsg_type = UDP_SEGMENT
                at.cmsg_len = CMSG_LEN(sizeof(size))
                size = <uint16_t>segment
                memcpy(CMSG_DATA(at), &size, sizeof(size))
                used += CMSG_SPACE(sizeof(size))
                at = <cmsghdr*>(<char*>control + used)
            if self.wildcard and self.family == AF_INET6:
                at.cmsg_level = IPPROTO_IPV6
                at.cmsg_type = IPV6_PKTINFO
                at.cmsg_len = CMSG_LEN(sizeof(in6_pktinfo))
                from6 = <in6_pktinfo*>CMSG_DATA(at)
                memcpy(from6.ipi6_addr.s6_addr, (<sockaddr_in6*>path.local.address).sin6_addr.s6_addr, 16)
                used += CMSG_SPACE(sizeof(in6_pktinfo))
            elif self.wildcard:
                at.cmsg_level = IPPROTO_IP
                at.cmsg_type = IP_PKTINFO
                at.cmsg_len = CMSG_LEN(sizeof(in_pktinfo))
                from4 = <in_pktinfo*>CMSG_DATA(at)
                from4.ipi_spec_dst.s_addr = (<sockaddr_in*>path.local.address).sin_addr.s_addr
                used += CMSG_SPACE(sizeof(in_pktinfo))
            message.msg_controllen = used
            if used == 0:
                message.msg_control = NULL
            if sendmsg(self.fd, &message, MSG_DONTWAIT) < 0:
                if errno == EINTR:
                    continue
                if part > segment and (errno == EIO or errno == EINVAL):
                    segments = False           # the device cannot; each packet goes alone from here on
                    continue
                if errno == EAGAIN or errno == ENOBUFS:
                    return EAGAIN
            packets += part
            length -= part
        return 0


@cython.final
cdef class QuicClock(Channel):
    """A timer of the kernel: the reactor's own is too coarse for the times of QUIC."""

    def __init__(self, QuicEndpoint endpoint):
        self.endpoint = endpoint

    cdef int on_ready(self, uint32_t events) except -1:
        return self.endpoint.expire()

    cdef void fail(self, object error) noexcept:
        _log.error("internal error in the clock of QUIC", exc_info=error)


cdef class QuicEndpoint:
    """QUIC on one entry point of this worker. A subclass makes the connections."""

    def __init__(self, EntryPoint entry_point, Reactor reactor, Dialer dialer, set connections, Reserve reserve, Region region,
                 uint32_t worker):
        make_buffers()
        load()
        self.entry_point = entry_point
        self.reactor = reactor
        self.dialer = dialer
        self.connections = connections
        self.reserve = reserve
        self.worker = worker
        self.workers = region.header.workers
        secret = hashlib.sha256(b"tokens of QUIC" + (<const char*>region.header.secret)[:SECRET_BYTES]).digest()
        memcpy(self.secret, <const char*><bytes>secret, TOKEN_KEY_BYTES)
        self.sockets = []
        self.first_ids = {}
        self.ended = {}
        self.waiting = []
        self.allowance = UNSOLICITED_PER_S
        self.capacity = FIRST_SLOTS
        self.slots = <Slot*>calloc(self.capacity, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.slots)
        free(self.heap)

    def open(self, sock, adopted: bool) -> object:
        """Read a bound, non-blocking UDP socket, whose ownership passes to the endpoint."""
        cdef QuicSocket channel = QuicSocket(self, sock, adopted)
        cdef int fd
        if self.clock is None:
            fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
            if fd < 0:
                raise OSError(errno, os.strerror(errno))
            self.clock = QuicClock(self)
            try:
                self.reactor.attach(self.clock, fd, EPOLLIN | EPOLLET)
            except:
                os.close(fd)
                self.clock = None
                raise
        self.reactor.attach(channel, sock.fileno(), EPOLLIN)
        if adopted:
            self.sockets.append(channel)
        else:
            self.sockets.insert(0, channel)
        return channel

    def close_socket(self, socket) -> None:
        """Stop reading a socket that `open` returned."""
        if socket in self.sockets:
            self.sockets.remove(socket)
            (<QuicSocket>socket).close()

    def stop(self) -> None:
        """Begin no more connections. Those that are open go on: their packets come over the same sockets."""
        self.closing = True

    def close(self) -> None:
        """Close the sockets. The connections must have closed before. Safe to call twice."""
        cdef int fd
        self.closing = True
        for socket in self.sockets:
            (<QuicSocket>socket).close()
        self.sockets.clear()
        self.held = None
        if self.clock is not None:
            fd = self.clock.fd
            self.reactor.detach(self.clock)
            os.close(fd)
            self.clock = None

    # What comes in

    cdef int datagram(self, QuicSocket socket, const Path* path, const uint8_t* packet, size_t length) except -1:
        """Give a datagram to the connection that it belongs to."""
        cdef VersionCid ids
        cdef QuicSession session = None
        cdef uint64_t now_ns
        cdef int result = ngtcp2_pkt_decode_version_cid(&ids, packet, length, OWN_CID_BYTES)
        if result == NGTCP2_ERR_VERSION_NEGOTIATION:
            return self.negotiate_version(path, packet, length)
        if result != 0:
            return 0
        now_ns = monotonic_ns()
        if ids.dcid_length == OWN_CID_BYTES:
            session = self.find(ids.dcid)
        if session is None and packet[0] & 0x80:
            session = <QuicSession>self.first_ids.get((<const char*>ids.dcid)[:ids.dcid_length])
        if session is None:
            return self.unknown(socket, path, packet, length, now_ns)
        try:
            session.receive(path, packet, length, now_ns)
        except Exception as error:
            session.shut(error)
        return 0

    cdef int unknown(self, QuicSocket socket, const Path* path, const uint8_t* packet, size_t length, uint64_t now_ns) except -1:
        """A packet belongs to no connection of this worker: a new client, or one whose connection has gone."""
        cdef PacketHead head
        cdef bytes first_id, last
        if not packet[0] & 0x80:
            # A worker that cannot read its socket may still have the connection.
            return 0 if socket.adopted or not self.allow(now_ns) else self.reset_unknown(path, packet, length)
        if length < LEAST_DATAGRAM or ngtcp2_accept(&head, packet, length) != 0 or head.type != NGTCP2_PKT_INITIAL:
            return 0
        first_id = (<const char*>head.dcid.data)[:head.dcid.length]
        ended = self.ended.get(first_id)
        if ended is not None:
            last = <bytes>ended[0]
            if last and self.allow(now_ns):
                self.send(path, <const uint8_t*><const char*>last, len(last), len(last))
            return 0
        return self.begin(path, &head, packet, length, now_ns)

    cdef int begin(self, const Path* path, PacketHead* head, const uint8_t* packet, size_t length, uint64_t now_ns) except -1:
        """A client's first packet."""
        cdef Cid original
        cdef QuicSession session
        cdef bint validated = False
        if self.entry_point.encryption is None or self.closing or self.entry_point.draining:
            return self.turn_away(path, head, NGTCP2_CONNECTION_REFUSED) if self.allow(now_ns) else 0
        original = head.dcid
        if head.token_length and head.token[0] == 0xB7:         # a token of Retry
            if ngtcp2_crypto_verify_retry_token2(&original, head.token, head.token_length, self.secret, TOKEN_KEY_BYTES,
                                                 head.version, path.remote.address, path.remote.length, &head.dcid, TOKEN_NS,
                                                 now_ns) != 0:
                return self.turn_away(path, head, INVALID_TOKEN) if self.allow(now_ns) else 0
            validated = True
        if not validated and self.shaking >= RETRY_ABOVE:
            return self.ask_for_token(path, head, now_ns) if self.allow(now_ns) else 0
        if self.shaking >= MOST_HANDSHAKES or (not self.reserve.has_room() and not self.reserve.make_room()
                                               and not self.reserve.has_room()):
            return self.turn_away(path, head, NGTCP2_CONNECTION_REFUSED) if self.allow(now_ns) else 0
        session = self.accept(path, head, &original, validated, now_ns)
        if session is None:
            return 0
        try:
            session.receive(path, packet, length, now_ns)
        except Exception as error:
            session.shut(error)
        return 0

    cdef QuicSession accept(self, const Path* path, PacketHead* head, const Cid* original, bint validated, uint64_t now_ns):
        """Make a connection for a client. None: it cannot be made."""
        return None

    # Answers without a connection

    cdef bint allow(self, uint64_t now_ns) noexcept:
        """Whether one more of them may be sent."""
        self.allowance = min(<double>UNSOLICITED_PER_S, self.allowance + <double>(now_ns - self.allowed_ns) * UNSOLICITED_PER_S / S_NS)
        self.allowed_ns = now_ns
        if self.allowance < 1:
            return False
        self.allowance -= 1
        return True

    cdef int negotiate_version(self, const Path* path, const uint8_t* packet, size_t length) except -1:
        """Tell which version is spoken here. What cannot begin a connection gets no answer (RFC 9000 section 6.1)."""
        cdef VersionCid ids
        cdef uint32_t[2] versions
        cdef uint8_t[2] noise
        cdef ssize_t n
        if length < LEAST_DATAGRAM or not self.allow(monotonic_ns()) or RAND_bytes(noise, 2) != 1:
            return 0
        if ngtcp2_pkt_decode_version_cid(&ids, packet, length, OWN_CID_BYTES) != NGTCP2_ERR_VERSION_NEGOTIATION:
            return 0
        versions[0] = 0x0A0A0A0A | <uint32_t>(noise[1] & 0xF0) << 24       # one that nobody speaks, so that clients keep ignoring these
        versions[1] = QUIC_V1
        n = ngtcp2_pkt_write_version_negotiation(OUTPUT, VERSION_NEGOTIATION_MOST, noise[0], ids.scid, ids.scid_length, ids.dcid,
                                                 ids.dcid_length, versions, 2)
        return self.send(path, OUTPUT, <size_t>n, <size_t>n) if n > 0 else 0

    cdef int reset_unknown(self, const Path* path, const uint8_t* packet, size_t length) except -1:
        """Tell a client that its connection has gone (RFC 9000 section 10.3), with fewer bytes than came: that has an end."""
        cdef Cid cid
        cdef uint8_t[TOKEN_BYTES] token
        cdef uint8_t[24] noise
        cdef size_t random
        cdef ssize_t n
        if length < 1 + OWN_CID_BYTES + 5 + TOKEN_BYTES + 1:
            return 0
        cid.length = OWN_CID_BYTES
        memcpy(cid.data, packet + 1, OWN_CID_BYTES)
        random = min(<size_t>24, length - TOKEN_BYTES - 1)
        if self.reset_token(token, &cid) or RAND_bytes(noise, <int>random) != 1:
            return 0
        n = ngtcp2_pkt_write_stateless_reset(OUTPUT, length - 1, token, noise, random)
        return self.send(path, OUTPUT, <size_t>n, <size_t>n) if n > 0 else 0

    cdef int ask_for_token(self, const Path* path, PacketHead* head, uint64_t now_ns) except -1:
        """Have a client show that its address is its own, by a token that it has to send back (Retry)."""
        cdef Cid cid
        cdef uint8_t[256] token
        cdef ssize_t n
        self.make_id(&cid, OWN_CID_BYTES)
        n = ngtcp2_crypto_generate_retry_token2(token, self.secret, TOKEN_KEY_BYTES, head.version, path.remote.address,
                                                path.remote.length, &cid, &head.dcid, now_ns)
        if n < 0:
            return 0
        n = ngtcp2_crypto_write_retry(OUTPUT, LEAST_DATAGRAM, head.version, &head.scid, &cid, &head.dcid, token, <size_t>n)
        return self.send(path, OUTPUT, <size_t>n, <size_t>n) if n > 0 else 0

    cdef int turn_away(self, const Path* path, PacketHead* head, uint64_t code) except -1:
        """Tell a client that there will be no connection: it tries another protocol at once."""
        cdef ssize_t n = ngtcp2_crypto_write_connection_close(OUTPUT, LEAST_DATAGRAM, head.version, &head.scid, &head.dcid, code,
                                                              NULL, 0)
        return self.send(path, OUTPUT, <size_t>n, <size_t>n) if n > 0 else 0

    # What goes out

    cdef int send(self, const Path* path, const uint8_t* packets, size_t length, size_t segment) except -1:
        """Send packets. What the socket does not take is kept, and `held` says so: then nothing more is to be sent."""
        cdef QuicSocket socket
        if not self.sockets:
            return 0
        self.entry_point.stats.bytes_out += length
        socket = <QuicSocket>self.sockets[0]
        if self.held is not None:
            return 0               # lost, as packets may be: those of a connection wait for `held` to go
        if socket.send(path, packets, length, segment) == EAGAIN:
            # Some of them may be sent twice, which does no harm.
            self.held = (<const char*>packets)[:length]
            self.held_segment = segment
            self.keep_path(path)
            socket.watch_output(True)
        return 0

    cdef void keep_path(self, const Path* path) noexcept:
        cdef Path* kept = <Path*>self.held_path
        memcpy(<uint8_t*>self.held_path + 40, path.local.address, min(path.local.length, <uint32_t>28))
        memcpy(<uint8_t*>self.held_path + 68, path.remote.address, min(path.remote.length, <uint32_t>28))
        kept.local.length = path.local.length
        kept.remote.length = path.remote.length

    cdef int resume(self) except -1:
        """The socket takes packets again."""
        cdef QuicSocket socket
        cdef QuicSession session
        cdef Path* path = <Path*>self.held_path
        if not self.sockets:
            return 0
        socket = <QuicSocket>self.sockets[0]
        if self.held is not None:
            path.local.address = <uint8_t*>self.held_path + 40
            path.remote.address = <uint8_t*>self.held_path + 68
            if socket.send(path, <const uint8_t*><const char*>self.held, len(self.held), self.held_segment) == EAGAIN:
                return 0
            self.held = None
        socket.watch_output(False)
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            session = <QuicSession>each
            session.waits = False
            if session.conn != NULL:
                self.reactor.touch(session)
        return 0

    # Connection ids

    cdef void make_id(self, Cid* cid, size_t length) noexcept:
        """A new id, whose first bytes lead to this worker's socket."""
        cdef uint32_t number, rounds = (65536 - self.worker - 1) // self.workers + 1
        cid.length = length
        RAND_bytes(cid.data, <int>length)
        number = (<uint32_t>cid.data[0] << 8 | cid.data[1]) % rounds * self.workers + self.worker
        cid.data[0] = <uint8_t>(number >> 8)
        cid.data[1] = <uint8_t>number

    cdef int reset_token(self, uint8_t* token, const Cid* cid) noexcept:
        """The token by which a connection with that id is reset; the same in all workers. 0, or -1."""
        return ngtcp2_crypto_generate_stateless_reset_token(token, self.secret, TOKEN_KEY_BYTES, cid)

    cdef size_t slot_of(self, const uint8_t* cid) noexcept:
        """Where an id is looked for first. Ids are random, and ours: nobody can choose many for one place."""
        cdef uint64_t number
        memcpy(&number, cid + 8, sizeof(number))
        return <size_t>number & (self.capacity - 1)

    cdef QuicSession find(self, const uint8_t* cid):
        cdef size_t at = self.slot_of(cid)
        while self.slots[at].session != NULL:
            if memcmp(self.slots[at].id, cid, OWN_CID_BYTES) == 0:
                return <QuicSession>self.slots[at].session
            at = (at + 1) & (self.capacity - 1)
        return None

    cdef int add_id(self, const Cid* cid, QuicSession session) noexcept:
        """0, or -1 without memory."""
        cdef Slot* before = self.slots
        cdef Slot* slots
        cdef size_t i, at, size = self.capacity
        if (self.used + 1) * 2 > size:
            slots = <Slot*>calloc(size * 2, sizeof(Slot))
            if slots == NULL:
                return -1
            self.slots = slots
            self.capacity = size * 2
            for i in range(size):
                if before[i].session != NULL:
                    at = self.slot_of(before[i].id)
                    while slots[at].session != NULL:
                        at = (at + 1) & (self.capacity - 1)
                    slots[at] = before[i]
            free(before)
        at = self.slot_of(cid.data)
        while self.slots[at].session != NULL:
            at = (at + 1) & (self.capacity - 1)
        memcpy(self.slots[at].id, cid.data, OWN_CID_BYTES)
        self.slots[at].session = <void*>session
        self.used += 1
        return 0

    cdef void remove_id(self, const Cid* cid) noexcept:
        cdef size_t at = self.slot_of(cid.data), hole, home, mask = self.capacity - 1
        if cid.length != OWN_CID_BYTES:
            return
        while True:
            if self.slots[at].session == NULL:
                return
            if memcmp(self.slots[at].id, cid.data, OWN_CID_BYTES) == 0:
                break
            at = (at + 1) & mask
        self.used -= 1
        hole = at
        while True:                # move back what stands behind it only because it was there
            at = (at + 1) & mask
            if self.slots[at].session == NULL:
                break
            home = self.slot_of(self.slots[at].id)
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.slots[hole] = self.slots[at]
                hole = at
        self.slots[hole].session = NULL

    cdef int remember_end(self, bytes first_id, bytes packet) except -1:
        """A connection has closed: packets of its handshake that are still on their way begin no other one."""
        cdef uint64_t now_ns = monotonic_ns()
        while self.ended:
            oldest = next(iter(self.ended))
            if len(self.ended) < ENDED_MOST and <uint64_t>self.ended[oldest][1] > now_ns:
                break
            del self.ended[oldest]
        self.ended[first_id] = (packet, now_ns + ENDED_NS)
        return 0

    # Time

    cdef int schedule(self, QuicSession session, uint64_t expiry_ns) except -1:
        """Call `expire` of the session then. O(log n)."""
        cdef void** heap
        if expiry_ns == UINT64_MAX:
            self.unschedule(session)
            return 0
        session.expiry_ns = expiry_ns
        if session.place < 0:
            if self.heap_length == self.heap_size:
                heap = <void**>realloc(self.heap, (self.heap_size * 2 + 64) * sizeof(void*))
                if heap == NULL:
                    raise MemoryError
                self.heap = heap
                self.heap_size = self.heap_size * 2 + 64
            session.place = self.heap_length
            self.heap[self.heap_length] = <void*>session
            self.heap_length += 1
        self.sift(session.place)
        if session.place == 0:
            self.arm()
        return 0

    cdef void unschedule(self, QuicSession session) noexcept:
        cdef Py_ssize_t place = session.place
        if place < 0:
            return
        self.heap_length -= 1
        if place != self.heap_length:
            self.swap(place, self.heap_length)
            session.place = -1
            self.sift(place)
        session.place = -1

    cdef void swap(self, Py_ssize_t a, Py_ssize_t b) noexcept:
        cdef void* moved = self.heap[a]
        self.heap[a] = self.heap[b]
        self.heap[b] = moved
        (<QuicSession>self.heap[a]).place = a
        (<QuicSession>self.heap[b]).place = b

    cdef void sift(self, Py_ssize_t place) noexcept:
        """Move an entry to where its time belongs."""
        cdef Py_ssize_t least, child
        while place and (<QuicSession>self.heap[place]).expiry_ns < (<QuicSession>self.heap[(place - 1) // 2]).expiry_ns:
            self.swap(place, (place - 1) // 2)
            place = (place - 1) // 2
        while True:
            least = place
            for child in range(2 * place + 1, min(2 * place + 3, self.heap_length)):
                if (<QuicSession>self.heap[child]).expiry_ns < (<QuicSession>self.heap[least]).expiry_ns:
                    least = child
            if least == place:
                return
            self.swap(place, least)
            place = least

    cdef void arm(self) noexcept:
        """Have the clock fire when the first session expires. It may fire too early: that costs less than setting it each time."""
        cdef itimerspec value
        cdef uint64_t expiry_ns
        if self.heap_length == 0 or self.clock is None:
            return
        expiry_ns = max(<uint64_t>1, (<QuicSession>self.heap[0]).expiry_ns)
        if self.armed_ns and self.armed_ns <= expiry_ns + SLACK_NS:
            return
        memset(&value, 0, sizeof(value))
        value.it_value.tv_sec = <long>(expiry_ns // S_NS)
        value.it_value.tv_nsec = <long>(expiry_ns % S_NS)
        timerfd_settime(self.clock.fd, TFD_TIMER_ABSTIME, &value, NULL)
        self.armed_ns = expiry_ns

    cdef int expire(self) except -1:
        """The clock has fired."""
        cdef uint64_t now_ns = monotonic_ns()
        cdef QuicSession session
        self.armed_ns = 0
        while self.heap_length and (<QuicSession>self.heap[0]).expiry_ns <= now_ns:
            session = <QuicSession>self.heap[0]
            self.unschedule(session)
            try:
                session.expire(now_ns)
            except Exception as error:
                session.shut(error)
        self.arm()
        return 0
