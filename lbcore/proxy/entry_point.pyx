"""One entry point of this worker: what holds for every connection that comes in through it. No I/O."""

import ipaddress
import socket

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from lbcore.http.head cimport ClientAddress
from lbcore.http.path cimport (
    ENCODED_BACKSLASH, ENCODED_HASH, ENCODED_NULL, ENCODED_PERCENT, ENCODED_QUESTION_MARK, ENCODED_SEMICOLON, ENCODED_SLASH,
)
from lbcore.http.request cimport UNDERSCORE_DELETE, UNDERSCORE_KEEP, UNDERSCORE_REJECT
from lbcore.http.span cimport span_of
from lbcore.observability.observer cimport Observer
from lbcore.state.region cimport Region

UNDERSCORES = {"keep": UNDERSCORE_KEEP, "delete": UNDERSCORE_DELETE, "reject": UNDERSCORE_REJECT}
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
    return int(duration.total_seconds() * 1000)


@cython.final
cdef class EntryPoint:
    """The settings of an entry point (a `config.static.EntryPoint`) in the form the data plane reads."""

    def __cinit__(self, str name, settings, Region region, uint32_t worker, int index):
        transport, http, forwarded = settings.transport, settings.http, settings.forwarded_headers
        self.name = name
        self.region = region
        self.index = index
        self.stats = &region.worker(worker).entry_points[index]
        self.policy.max_header_bytes = http.max_header_bytes
        self.policy.underscores = UNDERSCORES[http.underscore_headers_strategy]
        self.policy.path.sanitise = http.sanitize_path
        self.policy.path.encode_semicolons = http.encode_query_semicolons
        self.policy.path.refused = 0
        for key, bit in ENCODED.items():
            if not getattr(http.encoded_characters, key):
                self.policy.path.refused |= bit
        responding = transport.responding_timeouts
        self.limits.read_timeout_ms = milliseconds(responding.read_timeout)
        self.limits.write_timeout_ms = milliseconds(responding.write_timeout)
        self.limits.idle_timeout_ms = milliseconds(responding.idle_timeout)
        self.limits.keep_alive_max_ms = milliseconds(transport.keep_alive_max_time)
        self.limits.keep_alive_max_requests = transport.keep_alive_max_requests
        self.server_name = socket.gethostname().encode()
        self.forward.server_name = span_of(self.server_name, len(self.server_name))
        self.forward.append_for = not forwarded.not_append_x_forwarded_for
        self.trusts_all = forwarded.insecure
        self.passed_on = frozenset(name.lower().encode() for name in forwarded.connection)
        self.read_networks(forwarded.trusted_ips)

    def read_networks(self, texts: list) -> None:
        networks = [ipaddress.ip_network(text, strict=False) for text in texts]
        self.networks = <Network*>malloc((len(networks) + 1) * sizeof(Network))
        if self.networks == NULL:
            raise MemoryError
        self.n_networks = len(networks)
        for i, network in enumerate(networks):
            packed = network.network_address.packed
            if network.version == 4:
                packed = bytes(10) + b"\xff\xff" + packed
            memcpy(self.networks[<int>i].ip, <const char*>packed, 16)
            self.networks[<int>i].bits = network.prefixlen + (96 if network.version == 4 else 0)

    def watch(self, Observer observer) -> None:
        """Have every exchange from now on noted."""
        self.observer = observer

    def __dealloc__(self):
        free(self.networks)

    cdef bint trusts(self, const ClientAddress* client) noexcept nogil:
        """Whether this client may set the managed forwarding headers itself. O(networks), once per connection."""
        cdef int i, whole, rest
        if self.trusts_all:
            return True
        for i in range(self.n_networks):
            whole = self.networks[i].bits // 8
            rest = self.networks[i].bits % 8
            if same_bytes(client.ip, self.networks[i].ip, whole) and (
                    rest == 0 or (client.ip[whole] ^ self.networks[i].ip[whole]) >> (8 - rest) == 0):
                return True
        return False


cdef bint same_bytes(const unsigned char* a, const unsigned char* b, int count) noexcept nogil:
    cdef int i
    for i in range(count):
        if a[i] != b[i]:
            return False
    return True
