"""Fields of HTTP/2 and HTTP/3 without the libraries that decode and encode them, which refuse most of what is wrong."""

from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from lbcore.http.buffer cimport Buffer, buffer_release
from lbcore.http.field_list cimport FieldBlock, FieldList
from lbcore.http.fields cimport list_request, pack_trailers, take_trailer_field
from lbcore.http.head cimport ClientAddress
from lbcore.http.heap cimport heap_give
from lbcore.http.message cimport Message
from lbcore.http.render cimport ForwardPolicy, render_request
from lbcore.http.request cimport Request
from lbcore.http.span cimport span_of


def takes(bytes name, bytes value) -> bool:
    """Whether a field may be a line of HTTP/1."""
    return take_trailer_field(Message(), span_of(name, len(name)), span_of(value, len(value))) == 0


def translate(bytes wire, tuple own, *, bint trusted, bint append_for, bint encrypted, bint pass_host, bytes client, bytes prefix,
              bint websocket) -> tuple:
    """A request to a server in both forms: the head of HTTP/1, and the fields of HTTP/2. `own`: headers that a middleware sets."""
    cdef Request request = Request()
    cdef ForwardPolicy policy
    cdef ClientAddress address
    cdef Buffer out
    cdef FieldList fields
    cdef bytes name, lower, value
    memset(&out, 0, sizeof(out))
    memset(&fields, 0, sizeof(fields))
    memset(&address, 0, sizeof(address))
    memcpy(address.text, <const char*>client, len(client))
    address.text_len = len(client)
    request.set_client(&address)
    policy.trusted, policy.append_for, policy.encrypted, policy.pass_host = trusted, append_for, encrypted, pass_host
    policy.server_name = span_of(b"edge", 4)
    policy.server_authority = span_of(b"10.0.0.1:80", 11)
    assert request.parse_bytes(wire) > 0
    request.set_client(&address)
    kept = [(name, name.lower(), value) for name, value in own]
    for name, lower, value in kept:
        request.set_header(span_of(name, len(name)), span_of(lower, len(lower)), span_of(value, len(value)))
    try:
        if render_request(request, &policy, span_of(prefix, len(prefix)), &out) < 0 \
                or list_request(request, &policy, span_of(prefix, len(prefix)), encrypted, websocket, &fields) < 0:
            raise MemoryError
        return out.base[out.start:out.end], [
            (fields.fields[i].name[:fields.fields[i].name_length].lower(), fields.fields[i].value[:fields.fields[i].value_length])
            for i in range(fields.count)
        ]
    finally:
        buffer_release(&out)
        free(fields.fields)


def packed(list lines) -> list:
    """The trailers that are sent of those that came."""
    cdef Message trailers = Message()
    cdef FieldBlock* block = NULL
    for name, value in lines:
        assert take_trailer_field(trailers, span_of(name, len(name)), span_of(value, len(value))) == 0
    assert pack_trailers(trailers, &block) == 0
    trailers.clear()
    if block == NULL:
        return []
    try:
        return [(block.fields[i].name[:block.fields[i].name_length], block.fields[i].value[:block.fields[i].value_length])
                for i in range(block.count)]
    finally:
        heap_give(block)
