"""The running data plane of one worker: entry points, their listeners and connections, and their routing table."""

import socket

cimport cython
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.buffer import bytes_kept as buffer_bytes_kept
from lbcore.http.heap import bytes_kept as block_bytes_kept
from lbcore.proxy.whole import exchanges_kept

from lbcore.http.head cimport ClientAddress
from lbcore.http.heap cimport heap_adopt
from lbcore.http.networks cimport Networks
from lbcore.observability.observer cimport Observer
from lbcore.observability.tracer cimport Tracer
from lbcore.proxy.answer_way cimport AnswerWay
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.exchange cimport Exchange
from lbcore.proxy.explainer cimport Explainer
from lbcore.routing.balancer cimport LoadBalancer
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.server cimport Server
from lbcore.routing.tcp_route cimport TcpRoute
from lbcore.state.layout cimport ERROR_CLOSED
from lbcore.state.region cimport Region
from lbcore.transport.address cimport read_address
from lbcore.transport.arrival cimport Arrival
from lbcore.transport.connection cimport ClientConnection, last_session
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.flow cimport RESET_CANCELLED
from lbcore.transport.flow_client cimport SHUTDOWN_FINAL, FlowConnection, FlowStream, stream_of
from lbcore.transport.http1_client cimport CLIENT_CLOSED, CLIENT_FLUSHING, CLIENT_LINGERING, CLIENT_TUNNEL, Http1ClientConnection
from lbcore.transport.http2_client cimport Http2ClientConnection
from lbcore.transport.inet cimport sockaddr_storage
from lbcore.transport.listener cimport Listener
from lbcore.transport.mirror_stream cimport MirrorStream
from lbcore.transport.pool cimport Pool
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.session_table cimport SessionNode
from lbcore.transport.tcp_client cimport TCP_CLOSED, TcpConnection
from lbcore.transport.udp_endpoint cimport UdpEndpoint
from lbcore.transport.udp_session cimport UdpSession
from lbcore.transport.udp_socket cimport UdpWorker

cdef extern from "<sys/socket.h>" nogil:
    int getsockopt(int fd, int level, int option, void* value, unsigned int* length)

cdef enum:
    OF_TCP = 6                 # IPPROTO_TCP
    TCP_INFO = 11
    TCP_INFO_BYTES = 256


cdef bint is_one_of(str name, frozenset wanted) except -1:
    return wanted is None or (name is not None and name in wanted)


@cython.final
cdef class SessionFilter:
    """The sessions that are asked for: those that have what each of these names; None: anything. And what is known of the session that was
    looked at last.

    settings  ids       by number of a session: None, or the numbers of its streams that are meant, and then not itself;
              kinds, entry points, routers, services, servers: each a frozenset;
              clients   networks as text;
              external  those of lbcore's own routers are not meant.
    """

    cdef dict ids
    cdef frozenset kinds, points, routers, services, servers
    cdef Networks clients
    cdef bint external
    cdef uint64_t last         # later sessions are not meant
    cdef uint64_t serial
    cdef int64_t number        # of the stream; -1 = it is none
    cdef str kind, point, router, service, server
    cdef ClientAddress client
    cdef bint encrypted, internal
    cdef int64_t age_ms, idle_ms, requests, streams
    cdef uint64_t bytes_in, bytes_out
    cdef int fd                # of its connection of TCP, or -1

    def __init__(self, settings, /):
        self.ids, self.kinds, self.points, self.routers, self.services, self.servers, clients, self.external = settings
        self.clients = None if clients is None else Networks(clients)
        self.last = last_session()

    cdef bint look(self, object item, FlowStream stream, Reactor reactor) except -1:
        """Find out what there is to be known of a session, or of a stream of it. Returns whether it is asked for."""
        cdef int64_t now_ms = reactor.now_ms
        cdef Http1ClientConnection http1
        cdef FlowConnection flows
        cdef TcpConnection tcp
        cdef Arrival arrival
        cdef UdpSession udp
        self.router = self.service = self.server = None
        self.encrypted = self.internal = False
        self.number = self.age_ms = self.idle_ms = self.fd = -1
        self.requests = self.streams = self.bytes_in = self.bytes_out = 0
        if isinstance(item, UdpSession):
            udp = <UdpSession>item
            if udp.endpoint is None:
                return False
            self.kind = "udp"
            self.serial, self.point = udp.serial, udp.endpoint.entry_point.name
            self.age_ms, self.idle_ms = now_ms - udp.opened_ms, now_ms - udp.node.active_ms
            self.bytes_in, self.bytes_out = udp.bytes_in, udp.bytes_out
            read_address(<const sockaddr_storage*>udp.name, &self.client)
            if udp.endpoint.route is not None:
                self.router = udp.endpoint.route.name
            self.name(udp.balancer, udp.server)
            return self.takes()
        self.serial, self.point = (<ClientConnection>item).serial, (<ClientConnection>item).entry_point.name
        if isinstance(item, Http1ClientConnection):
            http1 = <Http1ClientConnection>item
            if http1.state == CLIENT_LINGERING or http1.state == CLIENT_CLOSED or (http1.state == CLIENT_FLUSHING and not http1.keep_alive):
                return False               # it ends already
            self.kind = "upgrade" if http1.state == CLIENT_TUNNEL else "http1"
            self.client, self.encrypted, self.requests, self.fd = http1.address, http1.encrypted, http1.requests, http1.socket.fd
            if http1.stream is None or http1.stream.exchange is None:
                self.idle_ms = now_ms - http1.idle_ms
            else:
                self.read_exchange(http1.stream.exchange, reactor)
            self.age_ms = now_ms - http1.opened_ms
        elif isinstance(item, FlowConnection):
            flows = <FlowConnection>item
            if not flows.is_open or (flows.shutdown == SHUTDOWN_FINAL and flows.flows.open_flows == 0):
                return False
            self.client, self.encrypted = flows.address, flows.encrypted
            if stream is not None:
                if stream.exchange is None or not stream.begun:
                    return False
                self.kind = "stream" if stream.tunnel is None else "upgrade"
                self.number = stream.flow.id
                self.read_exchange(stream.exchange, reactor)
            else:
                self.kind = "http3" if flows.version == 3 else "http2"
                self.requests, self.streams, self.age_ms = flows.requests, flows.flows.open_flows, now_ms - flows.opened_ms
                self.idle_ms = now_ms - flows.idle_ms if self.streams == 0 else -1
                if isinstance(item, Http2ClientConnection):
                    self.fd = (<Http2ClientConnection>item).socket.fd
        elif isinstance(item, TcpConnection):
            tcp = <TcpConnection>item
            if tcp.state == TCP_CLOSED:
                return False
            self.kind = "tcp"
            self.client, self.encrypted, self.fd = tcp.address, tcp.client.transport is not None, tcp.client.fd
            self.age_ms = <int64_t>((reactor.batch_ns - tcp.asked_ns) // 1000000)
            self.router = tcp.route.name
            self.name(tcp.balancer, tcp.server)
        else:
            arrival = <Arrival?>item
            if arrival.socket is None:
                return False
            self.kind = "handshake"
            self.client, self.age_ms, self.fd = arrival.learned.client, now_ms - arrival.opened_ms, arrival.socket.fd
        return self.takes()

    cdef int name(self, LoadBalancer balancer, Server server) except -1:
        if server is not None and not self.internal:
            self.service, self.server = balancer.name, server.key
        return 0

    cdef int read_exchange(self, Exchange exchange, Reactor reactor) except -1:
        cdef AnswerWay known = <AnswerWay>exchange
        if known.route is not None:
            self.router, self.internal = known.route.router, known.route.internal
        self.name(known.attempt.balancer, known.attempt.server)
        self.bytes_in, self.bytes_out = known.request_bytes, known.response_bytes
        self.age_ms = <int64_t>((reactor.batch_ns - known.started_ns) // 1000000)
        return 0

    cdef bint takes(self) except -1:
        if self.serial > self.last or (self.internal and self.external):
            return False
        if self.ids is not None:
            if self.serial not in self.ids:
                return False
            streams = self.ids[self.serial]
            if self.number >= 0 if streams is None else self.number not in streams:
                return False
        return ((self.clients is None or self.clients.hold(&self.client)) and is_one_of(self.kind, self.kinds)
                and is_one_of(self.point, self.points) and is_one_of(self.router, self.routers)
                and is_one_of(self.service, self.services) and is_one_of(self.server, self.servers))

    cdef tuple told(self):
        cdef char info[TCP_INFO_BYTES]
        cdef unsigned int length = TCP_INFO_BYTES
        if self.fd < 0 or getsockopt(self.fd, OF_TCP, TCP_INFO, info, &length) < 0:
            length = 0
        return (self.serial, self.number, self.kind, self.client.text[:self.client.text_len].decode("ascii"), self.client.port, self.point, self.router,
                self.service, self.server, self.encrypted, self.age_ms, self.idle_ms, self.bytes_in, self.bytes_out, self.streams,
                self.requests, info[:length])


cdef class Engine:
    """Runs on one event loop (uvloop's or asyncio's), and is called only from the thread of that loop.

    loop      the running loop.
    static    a `config.static.StaticConfig`, whose entry points it serves.
    region    the shared state; `worker` is the row of this worker in it.
    observer  gets every exchange after its end; None = there is none.
    tap       an `observability.tap.Tap`, which shows exchanges to those who watch single ones; None = nobody can.
    """

    cdef readonly Reactor reactor
    cdef SocketDialer dialer
    cdef dict entry_points             # EntryPoint by name
    cdef dict connections_by_point     # sets of ClientConnection by name of their entry point: all open ones of clients
    cdef list listeners
    cdef Reserve reserve
    cdef object servers                # Server by identity, of the table in force
    cdef object static
    cdef int workers                   # of the instance
    cdef UdpWorker udp                 # None before the first UDP socket opens
    cdef list udp_endpoints            # UdpEndpoint; those that have closed leave when another one opens
    cdef object udp_routes             # UdpRoute by entry point, of the table in force
    cdef Region region
    cdef int worker
    cdef dict advertised               # UDP port by name of the entry point, of which clients are told; 0 = the one that it has
    cdef dict quic                     # QuicEndpoint by name of its entry point; only those that speak HTTP/3

    def __init__(self, loop, static, Region region, worker: int, Observer observer=None, Tracer tracer=None, tap=None):
        cdef EntryPoint entry_point
        heap_adopt()
        self.reactor = Reactor(loop)
        self.dialer = SocketDialer(self.reactor, loop)
        self.servers = {}
        self.static = static
        self.workers = region.workers
        self.udp_endpoints = []
        self.udp_routes = {}
        self.listeners = []
        self.region = region
        self.worker = worker
        self.quic = {}
        self.entry_points = {}
        for index, (name, settings) in enumerate(static.entry_points.items()):
            entry_point = EntryPoint(name, settings, region, worker, index)
            if static.explain is not None:
                entry_point.explainer = Explainer(static.explain.header, static.explain.secret)
            if observer is not None:
                entry_point.watch(observer)
            entry_point.show(tap)
            if tracer is not None:
                entry_point.trace(tracer, settings.observability.tracing)
            self.entry_points[name] = entry_point
        self.advertised = {name: static.entry_points[name].http3.advertised_port for name in static.quic_points}
        self.connections_by_point = {name: set() for name in self.entry_points}
        self.reserve = self.reactor.relief = Reserve(list(self.connections_by_point.values()), region, worker)

    def watch(self, Observer observer) -> None:
        """Have every exchange from now on noted by another observer. None: by none."""
        for entry_point in self.entry_points.values():
            (<EntryPoint>entry_point).watch(observer)

    def memory(self) -> dict:
        """What this process keeps for its next use, and its connections, for a report. O(servers)."""
        cdef Py_ssize_t pooled = 0
        for server in self.servers.values():
            if (<Server>server).pool is not None:
                pooled += (<Pool>(<Server>server).pool).count
        self.reserve.measure()
        return {
            "kept": {"bufferBytes": buffer_bytes_kept(), "blockBytes": block_bytes_kept(), "exchanges": exchanges_kept()},
            "connections": {"clients": self.connections, "mostClients": self.reserve.most, "pooled": pooled},
        }

    def share_loop(self) -> None:
        """Declare that other tasks use the loop as well."""
        self.reactor.share_loop()

    @property
    def connections(self) -> int:
        """Open client connections, and sessions of UDP; 0 = drained."""
        return sum(map(len, self.connections_by_point.values())) + sum([each.sessions for each in self.udp_endpoints])

    def connections_of(self, entry_point: str) -> int:
        """Open client connections, or sessions, of one entry point."""
        return len(self.connections_by_point[entry_point]) + sum([each.sessions for each in self.udp_of(entry_point)])

    def udp_of(self, entry_point: str) -> list:
        """The UDP sockets of an entry point."""
        return [each for each in self.udp_endpoints if (<UdpEndpoint>each).entry_point.name == entry_point]

    def listen(self, entry_point: str, sock, adopted: bool = False) -> object:
        """Start accepting on a bound, listening, non-blocking socket, or reading one of UDP, whose ownership passes to the engine.

        adopted  it is that of another worker, which cannot.
        Returns the argument for `close_listener`.
        """
        if sock.type == socket.SOCK_DGRAM and entry_point in self.advertised:
            return self.listen_quic(entry_point, sock, adopted)
        if sock.type == socket.SOCK_DGRAM:
            return self.receive(entry_point, sock)
        cdef Listener listener = Listener(self.entry_points[entry_point], self.dialer,
                                          self.connections_by_point[entry_point], self.reserve, sock)
        self.reactor.enter()
        listener.open(self.reactor)
        listener.follow_routes()
        self.listeners.append(listener)
        return listener

    def receive(self, entry_point: str, sock) -> UdpEndpoint:
        """`listen` for a socket of UDP."""
        cdef UdpEndpoint endpoint
        self.reactor.enter()
        if self.udp is None:
            self.udp = UdpWorker(self.reactor, self.dialer.resolver, self.reserve)
        endpoint = UdpEndpoint(self.entry_points[entry_point], self.udp, sock, self.static.entry_points[entry_point], self.workers)
        endpoint.follow(self.udp_routes.get(entry_point), self.servers)
        self.udp_endpoints = [each for each in self.udp_endpoints if not each.closed]
        self.udp_endpoints.append(endpoint)
        endpoint.open()
        return endpoint

    def listen_quic(self, entry_point: str, sock, adopted: bool) -> object:
        """`listen` for the UDP port of an entry point that speaks HTTP/3."""
        cdef EntryPoint point
        from lbcore.transport.http3_client import Http3Endpoint        # loads its libraries

        self.reactor.enter()
        endpoint = self.quic.get(entry_point)
        if endpoint is None:
            endpoint = self.quic[entry_point] = Http3Endpoint(
                self.entry_points[entry_point], self.reactor, self.dialer, self.connections_by_point[entry_point], self.reserve,
                self.region, self.worker)
        point = <EntryPoint>self.entry_points[entry_point]
        port = sock.getsockname()[1]
        if port == 0:              # not bound yet: it will have the number of the port of TCP
            port = next((<Listener>each).sock.getsockname()[1] for each in self.listeners if (<Listener>each).entry_point is point)
        point.offer_http3(self.advertised.get(entry_point) or port)
        return endpoint.open(sock, adopted)

    def close_listener(self, listener) -> None:
        """Stop accepting on a listener that `listen` returned; other listeners continue."""
        self.reactor.enter()
        for endpoint in self.quic.values():
            endpoint.close_socket(listener)
        if isinstance(listener, UdpEndpoint):
            listener.stop_reading()
        elif listener in self.listeners:
            self.listeners.remove(listener)
            (<Listener>listener).close()

    def install(self, table) -> None:
        """Route by a `routing.table.Table`, which was compiled beside the one in force. Requests under way finish by that one.
        Servers that are in both keep their idle connections. The loop waits for this: the cost is that of what is new, not that of
        the table."""
        cdef EntryPoint entry_point
        self.reactor.enter()
        for name, index in table.indexes.items():
            entry_point = <EntryPoint>self.entry_points[name]
            entry_point.routes = <RouteIndex>index
            entry_point.encrypted_routes = <RouteIndex>table.encrypted_indexes[name]
            acceptor = table.acceptors.get(name)
            entry_point.encryption = None if acceptor is None else encryption_of(acceptor)
            entry_point.options_by_host = table.options_by_host.get(name)
            entry_point.options_by_router = table.options_by_router.get(name, {})
            if entry_point.explainer is not None:
                (<Explainer>entry_point.explainer).order = table.order[name]
                (<Explainer>entry_point.explainer).encrypted_order = table.encrypted_order[name]
        for name, point in self.entry_points.items():
            entry_point = <EntryPoint>point
            entry_point.tcp = table.tcp.get(name)
            entry_point.first_bytes_count = entry_point.encryption is not None or \
                (entry_point.tcp is not None and bool(entry_point.tcp.encrypted))
        for route in table.ends_tls:
            (<TcpRoute>route).encryption = encryption_of((<TcpRoute>route).acceptor)
        for listener in self.listeners:
            (<Listener>listener).follow_routes()
        # One that is made otherwise is another server under the same name: connections of the old one are not used again.
        for server in table.left:
            close_pool(server)
        for server in table.joined:
            open_pool(server)
            if (<Server>server).target is not None and (<Server>server).encryption is None:
                (<Server>server).encryption = server_encryption_of((<Server>server).target)
        self.servers = self.reserve.servers = table.servers
        self.udp_routes = table.udp
        for endpoint in self.udp_endpoints:
            endpoint.follow(table.udp.get((<UdpEndpoint>endpoint).entry_point.name), table.servers)

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process; sockets of UDP when their last session has ended."""
        self.reactor.enter()
        for listener in self.listeners:
            (<Listener>listener).close()
        self.listeners.clear()
        for endpoint in self.udp_endpoints:
            endpoint.drain()
        for endpoint in self.quic.values():
            endpoint.stop()

    def leave(self, entry_point: str) -> None:
        """Close the listening sockets of an entry point and drain it; other entry points continue."""
        cdef EntryPoint point = <EntryPoint>self.entry_points[entry_point]
        self.reactor.enter()
        for listener in [each for each in self.listeners if (<Listener>each).entry_point is point]:
            self.listeners.remove(listener)
            (<Listener>listener).close()
        for endpoint in self.udp_of(entry_point):
            endpoint.drain()
        if entry_point in self.quic:
            self.quic[entry_point].stop()
        point.draining = True
        for connection in list(self.connections_by_point[entry_point]):
            (<ClientConnection>connection).drain()

    def drain(self) -> None:
        """Close idle connections now, and the others when their exchange has ended."""
        self.reactor.enter()
        for name, entry_point in self.entry_points.items():
            if (<EntryPoint>entry_point).draining:
                continue
            (<EntryPoint>entry_point).draining = True
            for connection in list(self.connections_by_point[name]):
                (<ClientConnection>connection).drain()

    def sessions(self, SessionFilter asked, /) -> list:
        """The open sessions that are asked for: (number, number of the stream or -1, session), for `describe` and `end_session`. They may be
        used as long as the loop has not turned.
        """
        cdef list found = []
        cdef FlowStream stream
        cdef UdpEndpoint endpoint
        self.reactor.enter()
        for connections in self.connections_by_point.values():
            for item in connections:
                if asked.look(item, None, self.reactor):
                    found.append((asked.serial, -1, item))
                if isinstance(item, FlowConnection):
                    stream = stream_of((<FlowConnection>item).flows.newest)
                    while stream is not None:
                        if asked.look(item, stream, self.reactor):
                            found.append((asked.serial, asked.number, item))
                        stream = stream_of(stream.flow.older)
        for each in self.udp_endpoints:
            endpoint = <UdpEndpoint>each
            self.add_udp(asked, endpoint.table.fresh.newest, found)
            self.add_udp(asked, endpoint.table.proved.newest, found)
        return found

    cdef int add_udp(self, SessionFilter asked, SessionNode* node, list found) except -1:
        """Add the sessions from this one on, by last use."""
        while node != NULL:
            if asked.look(<UdpSession>node.owner, None, self.reactor):
                found.append((asked.serial, -1, <UdpSession>node.owner))
            node = node.older
        return 0

    def describe(self, SessionFilter asked, session, int64_t number, /) -> tuple:
        """What is known of a session or stream that `sessions` has found: number, number of the stream, kind, client, its port, entry point,
        router, service, server, whether it is encrypted, milliseconds since it began (-1: not known), and since it was used last, bytes from
        and to the client, streams, requests so far, and the `tcp_info` of its connection.
        """
        asked.look(session, None if number < 0 else self.find_stream(session, number), self.reactor)
        return asked.told()

    cdef FlowStream find_stream(self, FlowConnection connection, int64_t number):
        """An open stream with an exchange; None if there is none of that number."""
        cdef FlowStream stream = stream_of(connection.flows.newest)
        while stream is not None and (stream.flow.id != number or stream.exchange is None):
            stream = stream_of(stream.flow.older)
        return stream

    def end_session(self, item, int64_t number, /) -> bool:
        """End a session or stream that `sessions` has found: an exchange as if its server had failed, without a repetition; a tunnel both
        ways. Returns False if that was over already, by the end of another one.
        """
        cdef Http1ClientConnection http1
        cdef FlowConnection flows
        cdef FlowStream stream, older
        cdef Exchange exchange
        cdef bint was_open
        if isinstance(item, UdpSession):
            if (<UdpSession>item).endpoint is None:
                return False
            (<UdpSession>item).endpoint.stats.errors[<int>ERROR_CLOSED] += 1
            (<UdpSession>item).end()
            return True
        if isinstance(item, Http1ClientConnection):
            http1 = <Http1ClientConnection>item
            exchange = None if http1.stream is None else http1.stream.exchange
            http1.keep_alive = False
            if exchange is not None and http1.state != CLIENT_TUNNEL:
                exchange.break_off(ERROR_CLOSED, 502)
                return True
            if exchange is not None:
                exchange.error = ERROR_CLOSED
                exchange.tunnel_ended()
            else:
                http1.entry_point.stats.errors[<int>ERROR_CLOSED] += 1
            http1.close()
            return True
        if isinstance(item, FlowConnection):
            flows = <FlowConnection>item
            if not flows.is_open:
                return False
            if number >= 0:
                stream = self.find_stream(flows, number)
                return stream is not None and end_stream(stream, 502)
            was_open = flows.shutdown != SHUTDOWN_FINAL
            stream = stream_of(flows.flows.newest)
            while stream is not None and flows.is_open:
                older = stream_of(stream.flow.older)
                if stream.exchange is not None and stream.begun:
                    end_stream(stream, 0)
                    was_open = True
                else:
                    flows.flows.reset(&stream.flow, RESET_CANCELLED)
                stream = older
            if was_open:
                flows.entry_point.stats.errors[<int>ERROR_CLOSED] += 1
            if flows.is_open:
                flows.finish_shutdown()
            return was_open
        (<ClientConnection>item).entry_point.stats.errors[<int>ERROR_CLOSED] += 1
        if isinstance(item, TcpConnection):
            (<TcpConnection>item).close()
        else:
            (<Arrival>item).close()
        return True

    def cut(self, entry_point: str) -> None:
        """Close the connections of an entry point at once."""
        self.reactor.enter()
        for connection in list(self.connections_by_point[entry_point]):
            (<ClientConnection>connection).abort()
        for endpoint in self.udp_of(entry_point):
            endpoint.close()

    def close(self) -> None:
        """Close everything at once. Safe to call twice."""
        self.stop_accepting()
        for name in self.entry_points:
            self.cut(name)
        for stream in list(self.dialer.copies):
            (<MirrorStream>stream).expire()
        for server in self.servers.values():
            close_pool(server)
        for endpoint in self.quic.values():
            endpoint.close()
        self.dialer.close()
        self.reactor.close()


cdef bint end_stream(FlowStream stream, int status) except -1:
    """End the exchange of a stream: by an answer with `status`, if that is not 0 and can be sent still, or by a reset."""
    if stream.tunnel is None:
        stream.exchange.break_off(ERROR_CLOSED, status)
    else:
        stream.exchange.error = ERROR_CLOSED
        stream.tunnel.finish(True)
    return True


cdef object encryption_of(acceptor):
    """The Encryption of an acceptor; imports the TLS modules, which are needed only if TLS is configured."""
    from lbcore.transport.tls import TlsEncryption

    return TlsEncryption(acceptor)


cdef object server_encryption_of(target):
    from lbcore.transport.tls import TlsServerEncryption

    return TlsServerEncryption(target)


cdef int close_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.close()
    return 0


cdef int open_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.open()
    return 0
