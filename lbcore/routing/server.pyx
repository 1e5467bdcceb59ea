"""One server of a service. No I/O."""

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.span cimport span_of
from lbcore.state.region cimport Region

from lbcore.config.network import split_url

@cython.final
cdef class Server:
    """Where one server is reached, its shared cell and this worker's counters. Raises ValueError for a URL it cannot use."""

    def __cinit__(self, str name, str url, bint preserve_path, Region region, uint32_t worker, uint32_t slot):
        self.name = name
        self.url = url
        self.host, self.port, authority, path = split_url(url)
        self.authority_bytes = authority.encode()
        self.authority = span_of(self.authority_bytes, len(self.authority_bytes))
        self.prefix_bytes = path.rstrip("/").encode() if preserve_path else b""
        self.prefix = span_of(self.prefix_bytes, len(self.prefix_bytes))
        region.check_server(slot)
        self.slot = slot
        self.preserve_path = preserve_path
        self.cell = region.server(slot)
        self.stats = region.server_stats(worker, slot)

    def __repr__(self) -> str:
        return f"Server({self.name!r})"
