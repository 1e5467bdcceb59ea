"""One entry point of this worker: what holds for every connection that comes in through it. No I/O."""

import socket

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.path cimport (
    ENCODED_BACKSLASH, ENCODED_HASH, ENCODED_NULL, ENCODED_PERCENT, ENCODED_QUESTION_MARK, ENCODED_SEMICOLON, ENCODED_SLASH,
)
from lbcore.http.request cimport ALIAS_DELETE, ALIAS_KEEP, ALIAS_REJECT
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_of
from lbcore.observability.observer cimport Observer
from lbcore.observability.tracer cimport Tracer
from lbcore.observability.span_encoder import attribute
from lbcore.http.networks cimport Networks
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.region cimport Region

ALIASES = {"keep": ALIAS_KEEP, "delete": ALIAS_DELETE, "reject": ALIAS_REJECT}
ENCODED = {
    "allow_encoded_slash": ENCODED_SLASH,
    "allow_encoded_back_slash": ENCODED_BACKSLASH,
    "allow_encoded_null_character": ENCODED_NULL,
    "allow_encoded_semicolon": ENCODED_SEMICOLON,
    "allow_encoded_percent": ENCODED_PERCENT,
    "allow_encoded_question_mark": ENCODED_QUESTION_MARK,
    "allow_encoded_hash": ENCODED_HASH,
}


def milliseconds(duration) -> int:
    """As `config.units.milliseconds`, which this package does not know."""
    seconds = duration.total_seconds()
    return max(1, int(seconds * 1000)) if seconds > 0 else 0


@cython.final
cdef class EntryPoint:
    """The settings of an entry point (a `config.static.EntryPoint`) in the form the data plane reads."""

    def __cinit__(self, str name, settings, Region region, uint32_t worker, int index):
        transport, http, forwarded = settings.transport, settings.http, settings.forwarded_headers
        self.name = name
        self.region = region
        self.tapped_until_ns = &region.header.tapped_until_ns
        self.logged = settings.observability.access_logs
        self.counted = settings.observability.metrics
        self.index = index
        self.budget = MemoryBudget(region, worker)
        self.stats = &region.worker(worker).entry_points[index]
        self.policy.max_header_bytes = http.max_header_bytes
        self.policy.max_header_lines = http.max_header_lines
        self.policy.aliases = ALIASES[http.alias_headers_strategy or http.underscore_headers_strategy]
        self.policy.underscores_only = not http.alias_headers_strategy
        self.policy.path.sanitise = http.sanitize_path
        self.policy.path.encode_semicolons = http.encode_query_semicolons
        self.policy.path.refused = 0
        for key, bit in ENCODED.items():
            if not getattr(http.encoded_characters, key):
                self.policy.path.refused |= bit
        responding = transport.responding_timeouts
        self.limits.read_timeout_ms = milliseconds(responding.read_timeout)
        self.limits.header_timeout_ms = milliseconds(responding.header_timeout)
        if not self.limits.header_timeout_ms or 0 < self.limits.read_timeout_ms < self.limits.header_timeout_ms:
            self.limits.header_timeout_ms = self.limits.read_timeout_ms
        self.limits.min_body_rate = responding.min_body_rate
        self.limits.write_timeout_ms = milliseconds(responding.write_timeout)
        # 0 stands for `readTimeout`, as in Go; below there is no limit.
        self.limits.idle_timeout_ms = max(0, milliseconds(responding.idle_timeout or responding.read_timeout))
        self.limits.keep_alive_max_ms = milliseconds(transport.keep_alive_max_time)
        self.limits.keep_alive_max_requests = transport.keep_alive_max_requests
        self.http2.streams = settings.http2.max_concurrent_streams
        self.http2.decoder_bytes = settings.http2.max_decoder_header_table_size
        self.http2.encoder_bytes = settings.http2.max_encoder_header_table_size
        self.server_name = socket.gethostname().encode()
        self.forward.server_name = span_of(self.server_name, len(self.server_name))
        self.forward.append_for = not forwarded.not_append_x_forwarded_for
        self.trusted = Networks(forwarded.trusted_ips, forwarded.insecure)
        self.visible_hop_headers = frozenset(name.lower().encode() for name in forwarded.connection)
        if settings.proxy_protocol is not None:
            self.proxies = Networks(settings.proxy_protocol.trusted_ips, settings.proxy_protocol.insecure)

    def offer_http3(self, port: int) -> None:
        """Tell clients of HTTP/1 and HTTP/2 over TLS that HTTP/3 is spoken on that UDP port (RFC 7838)."""
        self.alt_svc = b'h3=":%d"; ma=2592000' % port

    cdef int tell_of_http3(self, Response response) except -1:
        response.append(span_of(b"Alt-Svc", 7), span_of(<const char*>self.alt_svc, len(self.alt_svc)))
        return 0

    cdef object options_of(self, bytes host):
        """The name of the TLS options of a host; None: those of all others."""
        cdef object found = self.options_by_host.get(host)
        cdef Py_ssize_t dot
        if found is None:
            dot = host.find(b".")
            if dot > 0:
                found = self.options_by_host.get(b"*" + host[dot:])
        return found

    cdef bint misdirected(self, bytes server_name, Route route):
        """Whether a request came over a connection whose handshake went by other options than those of its router, whatever its host
        is: a router may take more hosts than it names, and hosts that others name. route: None = no router takes it."""
        return route is not None and self.options_by_router.get(route.root) != self.options_of(server_name)

    def watch(self, Observer observer) -> None:
        """Have every exchange from now on noted. observer: None = none of them."""
        self.observer = observer

    def show(self, tap) -> None:
        """Show exchanges to those who watch single ones."""
        self.tap = tap

    def trace(self, tracer, bint unrouted) -> None:
        """Have the exchanges of routers that are traced leave spans, and, if `unrouted`, those that no router takes."""
        self.tracer = <Tracer?>tracer
        self.trace_text = attribute("entry_point", self.name)
        self.traced = unrouted
