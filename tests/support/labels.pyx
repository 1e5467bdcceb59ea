"""Counts requests by the values of their headers, without a connection."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from lbcore.http.head cimport ClientAddress
from lbcore.http.render cimport ForwardPolicy
from lbcore.http.request cimport Request
from lbcore.http.span cimport span_of
from lbcore.observability.header_labels cimport HeaderLabels


def count(HeaderLabels labels, list heads, uint64_t key, bint trusted=False):
    """Count requests with these headers, each by one key."""
    cdef Request request = Request()
    cdef ClientAddress client
    cdef ForwardPolicy forward
    memset(&client, 0, sizeof(client))
    memset(&forward, 0, sizeof(forward))
    client.text[:3] = b"::1"
    client.text_len = 3
    forward.trusted = trusted
    forward.server_name = span_of(b"edge", 4)
    for head in heads:
        request.parse_bytes(b"GET / HTTP/1.1\r\nHost: a.test:81\r\n" + head + b"\r\n")
        request.set_client(&client)
        labels.read(request, &forward)
        labels.add(key)
