# OTLP's encoding (Protocol Buffers) of attributes and spans, written in place: what is sent to collectors is put together from it.
#
# Nothing here allocates. The caller has seen to the room: see `attribute_room`.

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from lbcore.http.span cimport Span
from lbcore.http.utf8 cimport is_ascii, utf8_step

cdef enum:
    LONGEST_VALUE = 4096       # bytes of a text of an attribute; what is beyond is cut off
    KEY_ROOM = 96              # most bytes of an attribute without its text: tags, lengths, and a key of at most 64 bytes
    SPAN_OF_SCOPE = 0x12       # tag of ScopeSpans.spans, a message
    SPAN_TRACE_ID = 0x0A
    SPAN_ID = 0x12
    SPAN_TRACE_STATE = 0x1A
    SPAN_PARENT_ID = 0x22
    SPAN_NAME = 0x2A
    SPAN_KIND = 0x30
    SPAN_START = 0x39
    SPAN_END = 0x41
    SPAN_ATTRIBUTE = 0x4A
    SPAN_STATUS = 0x7A
    KIND_INTERNAL = 1
    KIND_SERVER = 2
    KIND_CLIENT = 3


cdef inline Py_ssize_t varint_size(uint64_t value) noexcept nogil:
    cdef Py_ssize_t size = 1
    while value >= 128:
        value >>= 7
        size += 1
    return size


cdef inline char* put_varint(char* out, uint64_t value) noexcept nogil:
    while value >= 128:
        out[0] = <char>(value & 127 | 128)
        out += 1
        value >>= 7
    out[0] = <char>value
    return out + 1


cdef inline char* put_fixed64(char* out, int tag, uint64_t value) noexcept nogil:
    """A number of eight bytes, as times have."""
    out[0] = <char>tag
    memcpy(out + 1, &value, 8)
    return out + 9


cdef inline char* put_raw(char* out, int tag, const void* data, Py_ssize_t length) noexcept nogil:
    """Fewer than 128 bytes."""
    out[0] = <char>tag
    out[1] = <char>length
    memcpy(out + 2, data, length)
    return out + 2 + length


cdef inline void mend_utf8(char* text, Py_ssize_t length) noexcept nogil:
    """Make a question mark of each byte that is not UTF-8: a collector refuses all of a message with such a byte."""
    cdef Py_ssize_t i = 0, step
    if is_ascii(text, length):
        return
    while i < length:
        step = utf8_step(<const unsigned char*>text + i, length - i)
        if step == 0:
            text[i] = c"?"
            step = 1
        i += step


cdef inline char* put_utf8(char* out, const char* text, Py_ssize_t length) noexcept nogil:
    """A text, mended."""
    if length:
        memcpy(out, text, length)
        mend_utf8(out, length)
    return out + length


cdef inline char* put_text(char* out, int tag, const char* key, Py_ssize_t key_length, Span value) noexcept nogil:
    """An attribute with a text. `tag`: of the field of the message around it."""
    cdef Py_ssize_t length = value.len if value.len < LONGEST_VALUE else LONGEST_VALUE
    cdef Py_ssize_t inner
    out[0] = <char>tag
    if key_length + length < 122:              # every length is one byte
        out[1] = <char>(6 + key_length + length)
        out = put_raw(out + 2, 0x0A, key, key_length)
        out[0] = 0x12
        out[1] = <char>(2 + length)
        out[2] = 0x0A
        out[3] = <char>length
        return put_utf8(out + 4, value.ptr, length)
    inner = 1 + varint_size(length) + length
    out = put_varint(out + 1, 3 + key_length + varint_size(inner) + inner)
    out = put_raw(out, 0x0A, key, key_length)
    out[0] = 0x12
    out = put_varint(out + 1, inner)
    out[0] = 0x0A
    out = put_varint(out + 1, length)
    return put_utf8(out, value.ptr, length)


cdef inline char* put_number(char* out, int tag, const char* key, Py_ssize_t key_length, uint64_t value) noexcept nogil:
    """An attribute with a number."""
    cdef Py_ssize_t inner = 1 + varint_size(value)
    out[0] = <char>tag
    out = put_varint(out + 1, 4 + key_length + inner)
    out = put_raw(out, 0x0A, key, key_length)
    out[0] = 0x12
    out[1] = <char>inner
    out[2] = 0x18
    return put_varint(out + 3, value)


cdef inline char* begin_message(char* out, int tag) noexcept nogil:
    """A message whose length `end_message` fills in."""
    out[0] = <char>tag
    return out + 4


cdef inline void end_message(char* begin, const char* end) noexcept nogil:
    """The length of a message below 2 MiB, in three bytes. `begin`: what `begin_message` was given."""
    cdef Py_ssize_t length = end - begin - 4
    begin[1] = <char>(length & 127 | 128)
    begin[2] = <char>(length >> 7 & 127 | 128)
    begin[3] = <char>(length >> 14)
