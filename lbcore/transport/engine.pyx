"""The data plane of one worker: entry points, their listeners and connections, and the table they route by."""

from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.server cimport Server
from lbcore.state.region cimport Region
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.http1_client cimport Http1Client
from lbcore.transport.listener cimport Listener
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.shadow cimport Shadow

from lbcore.middleware.respond import Ping
from lbcore.routing.compile import compile_table


cdef class Engine:
    """Lives on one event loop (uvloop's or asyncio's) and is called from its thread alone.

    loop    the running loop.
    static  a `config.static.StaticConfig`.
    region  the shared state; `worker` is the row of this worker in it.
    """

    cdef Reactor reactor
    cdef SocketDialer dialer
    cdef object static
    cdef Region region
    cdef object worker
    cdef dict entry_points             # EntryPoint by name
    cdef dict servers                  # Server by identity, of the table in force
    cdef list listeners
    cdef set clients                   # Http1Client, open ones
    cdef object table
    cdef object ping

    def __init__(self, loop, static, Region region, worker: int):
        self.reactor = Reactor(loop)
        self.dialer = SocketDialer(self.reactor, loop)
        self.static = static
        self.ping = Ping()
        self.region = region
        self.worker = worker
        self.servers = {}
        self.listeners = []
        self.clients = set()
        self.entry_points = {
            name: EntryPoint(name, settings, region, worker, index)
            for index, (name, settings) in enumerate(static.entry_points.items())
        }

    @property
    def connections(self) -> int:
        """Open client connections; 0 = drained."""
        return len(self.clients)

    def listen(self, entry_point: str, sock) -> None:
        """Start accepting on a bound, listening, non-blocking socket, which is the engine's from now on."""
        cdef Listener listener = Listener(self.entry_points[entry_point], self.dialer, self.clients, sock)
        listener.open(self.reactor)
        self.listeners.append(listener)

    def apply(self, dynamic, slots) -> list:
        """Compile a `config.dynamic.DynamicConfig` and swap it in; requests under way end on the table they began with.

        Returns the routers, services and middlewares that cannot run, with their errors; they are left out alone. Servers
        that stay keep their state and their idle connections.
        """
        cdef EntryPoint entry_point
        table = compile_table(dynamic, self.static, slots, self.region, self.worker, self.servers, self.ping)
        for name, index in table.indexes.items():
            entry_point = <EntryPoint>self.entry_points[name]
            entry_point.routes = <RouteIndex>index
        for name, server in self.servers.items():
            if name not in table.servers:
                close_pool(server)
        for server in table.servers.values():
            open_pool(server)
        self.servers = table.servers
        self.table = table
        return table.disabled

    def terminate(self) -> None:
        """Say through ping that this instance is about to stop; everything else goes on."""
        if self.static.ping is not None:
            self.ping.terminate(self.static.ping.terminating_status_code)

    def stop_accepting(self) -> None:
        """Close the listening sockets of this process."""
        for listener in self.listeners:
            (<Listener>listener).close()
        self.listeners.clear()

    def drain(self) -> None:
        """Close idle connections now and the others when their exchange has ended."""
        cdef Http1Client client
        for entry_point in self.entry_points.values():
            (<EntryPoint>entry_point).draining = True
        for item in list(self.clients):
            client = <Http1Client>item
            client.drain()

    def close(self) -> None:
        """Close everything at once."""
        self.stop_accepting()
        for client in list(self.clients):
            (<Http1Client>client).drop()
        for shadow in list(self.dialer.shadows):
            (<Shadow>shadow).expire()
        for server in self.servers.values():
            close_pool(server)
        self.reactor.close()


cdef int close_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.close()
    return 0


cdef int open_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.open()
    return 0
