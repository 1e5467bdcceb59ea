"""One server of a service. No I/O."""

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.span cimport span_of
from lbcore.routing.member cimport Member
from lbcore.state.region cimport Region

from lbcore.config.network import is_http2, split_address, split_url
from lbcore.http.path import quote_path


cdef enum:
    UNKNOWN_STREAMS = 100      # at a time, where the server has not said how many it allows (RFC 9113 section 6.5.2)


@cython.final
cdef class Server(Member):
    """A member reached under a URL, or at layer 4 an address, which is its key. ValueError for one it cannot use."""

    def __cinit__(self, str name, str url, Region region, uint32_t worker, uint32_t slot, bint preserve_path=False,
                  object target=None, bint offers_http2=False):
        self.host, self.port, authority, path = split_url(url) if "://" in url else split_address(url)
        self.authority_bytes = authority.encode()
        self.authority = span_of(self.authority_bytes, len(self.authority_bytes))
        self.prefix_bytes = quote_path(path.rstrip("/")) if preserve_path else b""
        self.prefix = span_of(self.prefix_bytes, len(self.prefix_bytes))
        self.preserve_path = preserve_path
        self.target = target
        self.offers_http2 = offers_http2
        self.is_http2 = is_http2(url)
        self.multiplexes = UNKNOWN_STREAMS if self.is_http2 else 0

    @property
    def url(self) -> str:
        """As written."""
        return self.key
