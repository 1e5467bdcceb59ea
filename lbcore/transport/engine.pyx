"""The data plane of one worker: entry points, their listeners and connections, and the table they route by."""

import contextlib
import logging

from lbcore.observability.access_log cimport AccessLog
from lbcore.observability.observer cimport Observer
from lbcore.observability.series cimport Series
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.explainer cimport Explainer
from lbcore.routing.index cimport RouteIndex
from lbcore.routing.server cimport Server
from lbcore.state.region cimport Region
from lbcore.transport.dialer cimport SocketDialer
from lbcore.transport.connection cimport Connection
from lbcore.transport.listener cimport Listener
from lbcore.transport.reactor cimport Reactor
from lbcore.transport.reserve cimport Reserve
from lbcore.transport.shadow cimport Shadow

from lbcore.middleware.respond import Ping
from lbcore.observability.ring import LineReader
from lbcore.observability.writer import LogWriter
from lbcore.routing.compile import compile_table
from lbcore.routing.queue import adopt

cdef double LOG_WAIT_S = 0.02         # how long a line of the access log waits for older ones of other workers

_log = logging.getLogger("lbcore.access_log")


cdef class Engine:
    """Lives on one event loop (uvloop's or asyncio's) and is called from its thread alone.

    loop    the running loop.
    static  a `config.static.StaticConfig`.
    region  the shared state; `worker` is the row of this worker in it.
    admin   URL of the server behind `api@internal`; empty: there is none.
    """

    cdef readonly Reactor reactor
    cdef SocketDialer dialer
    cdef object static
    cdef Region region
    cdef object worker
    cdef dict entry_points             # EntryPoint by name
    cdef dict servers                  # Server by identity, of the table in force
    cdef dict queues                   # WaitQueue by the name of its service, likewise
    cdef list listeners
    cdef set clients                   # Connection, open ones of clients
    cdef Reserve reserve
    cdef object table
    cdef object ping

    cdef str admin
    cdef AccessLog log                 # None = none is written
    cdef object log_writer
    cdef object loop

    def __init__(self, loop, static, Region region, worker: int, admin: str = ""):
        self.loop = loop
        self.reactor = Reactor(loop)
        self.dialer = SocketDialer(self.reactor, loop)
        self.static = static
        self.ping = Ping()
        self.region = region
        self.worker = worker
        self.servers = {}
        self.queues = {}
        self.listeners = []
        self.clients = set()
        self.reserve = self.reactor.relief = Reserve(self.clients)
        self.entry_points = {
            name: EntryPoint(name, settings, region, worker, index)
            for index, (name, settings) in enumerate(static.entry_points.items())
        }
        self.admin = admin
        if static.explain is not None:
            for point in self.entry_points.values():
                (<EntryPoint>point).explainer = Explainer(static.explain.header, static.explain.secret)
        self.watch()

    def watch(self) -> None:
        """Count and log exchanges, as far as the configuration asks for it."""
        prometheus = self.static.metrics.prometheus if self.static.metrics is not None else None
        settings = self.static.access_log
        self.log = None
        self.log_writer = None
        if prometheus is None and settings is None:
            return
        series = Series(self.region, self.worker, prometheus.buckets) if prometheus is not None else None
        if settings is not None:
            self.log = log = AccessLog(settings, self.region, self.worker)
            region = self.region
            self.log_writer = LogWriter(
                settings.file_path, region.fd, LineReader(region), lambda: log.pending_bytes,
                lambda: region.log_lines_lost, 1.0 if settings.buffering_size else LOG_WAIT_S, self.say)
        by = (prometheus.add_entry_points_labels, prometheus.add_routers_labels, prometheus.add_services_labels) \
            if prometheus is not None else (False, False, False)
        for point in self.entry_points.values():
            (<EntryPoint>point).watch(Observer(series, self.log, *by))

    def say(self, level, text) -> None:
        """Put something into the log of this process, from another thread."""
        with contextlib.suppress(RuntimeError):        # the loop is closed
            self.loop.call_soon_threadsafe(_log.log, level, text)

    def share_loop(self) -> None:
        """The loop serves others, too."""
        self.reactor.share_loop()

    def reopen_log(self) -> None:
        """Open the access log anew: it was moved aside."""
        if self.log_writer is not None:
            self.log_writer.reopen()

    @property
    def connections(self) -> int:
        """Open client connections; 0 = drained."""
        return len(self.clients)

    def listen(self, entry_point: str, sock) -> object:
        """Start accepting on a bound, listening, non-blocking socket, which is the engine's from now on.

        Returns what `close_listener` takes.
        """
        cdef Listener listener = Listener(self.entry_points[entry_point], self.dialer, self.clients, self.reserve, sock)
        listener.open(self.reactor)
        if listener.entry_point.tcp is not None:
            listener.serve_tcp()
        self.listeners.append(listener)
        return listener

    def close_listener(self, listener) -> None:
        """Stop accepting on what `listen` gave; the others go on."""
        if listener in self.listeners:
            self.listeners.remove(listener)
            (<Listener>listener).close()

    def prepare(self, dynamic, slots) -> object:
        """Compile a `config.dynamic.DynamicConfig` to a `routing.compile.Table`, for `commit`.

        What cannot run is left out alone, and stands in `disabled` of the table. Nothing that runs is changed, so that a
        table may be dropped, and the loop may go on in another thread. Servers that stay are those of the table in force.
        """
        return compile_table(dynamic, self.static, slots, self.region, self.worker, self.servers, self.ping, self.admin)

    def commit(self, table) -> None:
        """Route by a table of `prepare`; requests under way end on the one they began with.

        No other table may have been committed since it was prepared. Servers that stay keep their state and their idle
        connections.
        """
        cdef EntryPoint entry_point
        table.take_effect()
        self.queues = adopt(self.queues, table.balancers)
        for name, index in table.indexes.items():
            entry_point = <EntryPoint>self.entry_points[name]
            entry_point.routes = <RouteIndex>index
            if entry_point.explainer is not None:
                (<Explainer>entry_point.explainer).order = table.order[name]
        for name, point in self.entry_points.items():
            (<EntryPoint>point).tcp = table.tcp.get(name)
        for listener in self.listeners:
            if (<Listener>listener).entry_point.tcp is not None:
                (<Listener>listener).serve_tcp()
        for name, server in self.servers.items():
            if name not in table.servers:
                close_pool(server)
        for server in table.servers.values():
            open_pool(server)
        self.servers = self.reserve.servers = table.servers
        self.table = table

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
        for entry_point in self.entry_points.values():
            (<EntryPoint>entry_point).draining = True
        for item in list(self.clients):
            (<Connection>item).drain()

    def close(self) -> None:
        """Close everything at once."""
        self.stop_accepting()
        for client in list(self.clients):
            (<Connection>client).drop()
        for shadow in list(self.dialer.shadows):
            (<Shadow>shadow).expire()
        for server in self.servers.values():
            close_pool(server)
        self.dialer.close()
        if self.log is not None:
            self.log_writer.close()
            self.log = None
        self.reactor.close()


cdef int close_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.close()
    return 0


cdef int open_pool(Server server) except -1:
    if server.pool is not None:
        server.pool.open()
    return 0
