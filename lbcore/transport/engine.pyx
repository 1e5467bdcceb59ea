"""The running data plane of one worker: entry points, their listeners and connections, and their routing table."""

import socket

from lbcore.http.buffer import bytes_kept as buffer_bytes_kept
from lbcore.http.heap import bytes_kept as block_bytes_kept
from lbcore.proxy.whole import exchanges_kept

from lbcore.http.heap cimport heap_adopt
from lbcore.observability.observer cimport Observer
from lbcore.observability.tracer cimport Tracer
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport Explainer
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.server cimport Server
from lbcore.routing.tcp_route cimport TcpRoute
from lbcore.state.region cimport Region
from lbcore.transport.connection cimport ClientConnection
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.listener cimport Listener
from lbcore.transport.mirror_stream cimport MirrorStream
from lbcore.transport.pool cimport Pool
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.udp_endpoint cimport UdpEndpoint
from lbcore.transport.udp_socket cimport UdpWorker


cdef class Engine:
    """Runs on one event loop (uvloop's or asyncio's), and is called only from the thread of that loop.

    loop      the running loop.
    static    a `config.static.StaticConfig`, whose entry points it serves.
    region    the shared state; `worker` is the row of this worker in it.
    observer  gets every exchange after its end; None = there is none.
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

    def __init__(self, loop, static, Region region, worker: int, Observer observer=None, Tracer tracer=None):
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
