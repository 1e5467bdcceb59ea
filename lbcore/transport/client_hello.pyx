"""What a client says when it begins TLS: the name it asks for and the protocols it offers, read and not taken.

Source: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3; RFC 7301. A hello may come in several records, however small. With
Encrypted ClientHello the name is the outer one.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lbcore.http.span cimport ascii_lower, span_of

cdef enum:
    HANDSHAKE_RECORD = 0x16
    CLIENT_HELLO = 1
    RECORD_HEAD = 5
    MESSAGE_HEAD = 4
    EXTENSION_NAME = 0
    EXTENSION_PROTOCOLS = 16
    HOST_NAME = 0


cdef struct Reader:
    const uint8_t* at
    Py_ssize_t left


cdef inline int take(Reader* reader, int size) noexcept nogil:
    """A number of 1 or 2 bytes, or -1."""
    cdef int value
    if reader.left < size:
        return -1
    value = reader.at[0] if size == 1 else reader.at[0] << 8 | reader.at[1]
    reader.at += size
    reader.left -= size
    return value


cdef inline bint part(Reader* reader, int size, Reader* inner) noexcept nogil:
    """What stands behind its length, a number of `size` bytes. False: it is cut off."""
    cdef int length = take(reader, size)
    if length < 0 or length > reader.left:
        return False
    inner.at = reader.at
    inner.left = length
    reader.at += length
    reader.left -= length
    return True


cdef int hello_read(const char* data, Py_ssize_t length, ClientHello* hello) noexcept nogil:
    """Read a hello from the first bytes of a connection. Returns HELLO_… Free it with `hello_free`, whatever came of it."""
    cdef const uint8_t* bytes = <const uint8_t*>data
    cdef Py_ssize_t at = 0, record, have = 0, wanted = -1, filled = 0
    cdef Reader body
    memset(hello, 0, sizeof(ClientHello))
    # First how long it is, and whether all of it is here.
    while wanted < 0 or have < wanted:
        if at >= HELLO_BYTES:
            return HELLO_BAD
        if length - at >= 1 and bytes[at] != HANDSHAKE_RECORD:
            return HELLO_BAD
        if length - at < RECORD_HEAD:
            return HELLO_PARTIAL
        record = bytes[at + 3] << 8 | bytes[at + 4]
        if record == 0 or record > HELLO_BYTES:
            return HELLO_BAD
        if length - at - RECORD_HEAD < record:
            return HELLO_PARTIAL if at + RECORD_HEAD + record <= HELLO_BYTES else HELLO_BAD
        have += record
        at += RECORD_HEAD + record
        if wanted < 0 and have >= MESSAGE_HEAD:
            wanted = length_of_message(bytes)
            if wanted < 0:
                return HELLO_BAD
    if bytes[3] << 8 | bytes[4] == have:
        body.at = bytes + RECORD_HEAD
    else:
        hello.joined = <uint8_t*>malloc(have)
        if hello.joined == NULL:
            return HELLO_BAD
        length = at
        at = 0
        while at < length:
            record = bytes[at + 3] << 8 | bytes[at + 4]
            memcpy(hello.joined + filled, bytes + at + RECORD_HEAD, record)
            filled += record
            at += RECORD_HEAD + record
        body.at = hello.joined
    body.at += MESSAGE_HEAD
    body.left = wanted - MESSAGE_HEAD
    return HELLO_WHOLE if read_body(body, hello) else HELLO_BAD


cdef Py_ssize_t length_of_message(const uint8_t* bytes) noexcept nogil:
    """The length of the message that begins in the first records, with its head, all of which is here; -1: it is no hello, or too long."""
    cdef uint8_t head[MESSAGE_HEAD]
    cdef Py_ssize_t at = 0, filled = 0, record, i, length
    while filled < MESSAGE_HEAD:
        record = bytes[at + 3] << 8 | bytes[at + 4]
        for i in range(record):
            if filled < MESSAGE_HEAD:
                head[filled] = bytes[at + RECORD_HEAD + i]
                filled += 1
        at += RECORD_HEAD + record
    length = <Py_ssize_t>head[1] << 16 | head[2] << 8 | head[3]
    return length + MESSAGE_HEAD if head[0] == CLIENT_HELLO and length + MESSAGE_HEAD <= HELLO_BYTES else -1


cdef bint read_body(Reader body, ClientHello* hello) noexcept nogil:
    cdef Reader inner, extensions
    cdef int kind
    if body.left < 34:                         # version and random
        return False
    body.at += 34
    body.left -= 34
    if not part(&body, 1, &inner) or not part(&body, 2, &inner) or not part(&body, 1, &inner):
        return False                           # session, suites, compressions
    if body.left == 0:
        return True
    if not part(&body, 2, &extensions):
        return False
    while extensions.left:
        kind = take(&extensions, 2)
        if kind < 0 or not part(&extensions, 2, &inner):
            return False
        if kind == EXTENSION_NAME and not read_name(inner, hello):
            return False
        if kind == EXTENSION_PROTOCOLS and not read_protocols(inner, hello):
            return False
    return True


cdef bint read_name(Reader extension, ClientHello* hello) noexcept nogil:
    cdef Reader names, name
    cdef int kind
    cdef Py_ssize_t i
    if not part(&extension, 2, &names):
        return False
    while names.left:
        kind = take(&names, 1)
        if not part(&names, 2, &name):
            return False
        if kind != HOST_NAME or hello.name_len:
            continue
        if name.left > NAME_BYTES:
            return False
        for i in range(name.left):
            hello.name[i] = ascii_lower(<char>name.at[i])
        hello.name_len = name.left
        if hello.name_len and hello.name[hello.name_len - 1] == c".":
            hello.name_len -= 1
    return True


cdef bint read_protocols(Reader extension, ClientHello* hello) noexcept nogil:
    cdef Reader listed, each
    if not part(&extension, 2, &listed):
        return False
    hello.protocols = span_of(<const char*>listed.at, listed.left)
    while listed.left:
        if not part(&listed, 1, &each):
            hello.protocols = span_of(NULL, 0)
            return False
    return True


cdef void hello_free(ClientHello* hello) noexcept nogil:
    free(hello.joined)
    hello.joined = NULL


def described(bytes data) -> tuple:
    """What `hello_read` returns, the name and the protocols as on the wire, for tests and tools."""
    cdef ClientHello hello
    cdef int result = hello_read(data, len(data), &hello)
    found = result, hello.name[:hello.name_len], hello.protocols.ptr[:hello.protocols.len] if hello.protocols.len else b""
    hello_free(&hello)
    return found
