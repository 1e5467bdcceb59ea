"""One server of a service. No I/O."""

from urllib.parse import urlsplit

cimport cython
from libc.stdint cimport uint32_t

from lbcore.http.span cimport span_of
from lbcore.state.region cimport Region

UNIX = "unix:"


def split_url(url: str) -> tuple:
    """`(host, port, authority, path)` of a server's URL; port 0 for a Unix socket. Raises ValueError with the reason.

    http://host[:port][/path], or unix:/path/of/socket. Sources: RFC 3986 section 3.
    """
    if url.startswith(UNIX):
        path = url.removeprefix(UNIX)
        path = "/" + path.lstrip("/") if path.startswith("/") else path
        if not path:
            raise ValueError("a unix: URL needs the path of a socket, e.g. unix:/run/app.sock")
        return path, 0, "localhost", ""
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ValueError(f"scheme {parts.scheme!r} is not supported by this version of lbcore: use http:// or unix:")
    if not parts.hostname:
        raise ValueError("no host in the URL")
    if parts.username is not None:
        raise ValueError("user information in the URL is not supported")
    port = parts.port
    return parts.hostname, 80 if port is None else port, parts.netloc, parts.path


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
        self.cell = region.server(slot)
        self.stats = region.server_stats(worker, slot)

    def __repr__(self) -> str:
        return f"Server({self.name!r})"
