"""Records of the access log for a collector of OpenTelemetry: the fields of a line as attributes, encoded into a ring. No I/O."""

import time

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

from lbcore.http.span cimport span_of
from lbcore.observability.protobuf cimport (
    KEY_ROOM, SPAN_OF_SCOPE, begin_message, end_message, put_fixed64, put_number, put_raw, put_text, put_varint,
)
from lbcore.observability.record cimport Record
from lbcore.observability.ring cimport LineWriter

cdef enum:
    RECORD_OF_SCOPE = SPAN_OF_SCOPE    # the tag of ScopeLogs.log_records is the same
    RECORD_TIME = 0x09
    RECORD_SEVERITY = 0x10
    RECORD_SEVERITY_TEXT = 0x1A
    RECORD_BODY = 0x2A
    RECORD_ATTRIBUTE = 0x32
    RECORD_TRACE_ID = 0x4A
    RECORD_SPAN_ID = 0x52
    RECORD_OBSERVED = 0x59
    INFO = 9
    LONGEST_KEY = 100


cdef int put_record(LineWriter records, dict fields, const Record* record) except -1:
    """Add the record of an exchange that has just ended."""
    cdef list pairs = []
    cdef Py_ssize_t room = 4 * KEY_ROOM
    cdef bytes name, text
    cdef uint64_t now_ns = time.time_ns(), bits
    cdef double number
    cdef char* begin
    cdef char* out
    for key, value in fields.items():
        name = key.encode()[:LONGEST_KEY]
        if not isinstance(value, (int, float)):
            value = str(value).encode()
            room += len(value)
        room += KEY_ROOM + len(name)
        pairs.append((name, value))
    begin = records.begin(room)
    if begin == NULL:
        return 0
    out = begin_message(begin, RECORD_OF_SCOPE)
    out = put_fixed64(out, RECORD_TIME, now_ns)
    out = put_fixed64(out, RECORD_OBSERVED, now_ns)
    out[0] = RECORD_SEVERITY
    out[1] = INFO
    out = put_raw(out + 2, RECORD_SEVERITY_TEXT, b"info", 4)
    out = put_raw(out, RECORD_BODY, b"\x0a\x00", 2)            # an empty text, as Traefik's is
    if record.trace != NULL:
        out = put_raw(out, RECORD_TRACE_ID, record.trace.trace_id, 16)
        out = put_raw(out, RECORD_SPAN_ID, record.trace.span_id, 8)
    for name, value in pairs:
        if isinstance(value, bytes):
            text = value
            out = put_text(out, RECORD_ATTRIBUTE, name, len(name), span_of(text, len(text)))
        elif isinstance(value, float):
            number = value
            memcpy(&bits, &number, 8)
            out[0] = RECORD_ATTRIBUTE
            out = put_varint(out + 1, len(name) + 13)
            out = put_raw(out, 0x0A, <const char*>name, len(name))
            out[0] = 0x12
            out[1] = 9
            out = put_fixed64(out + 2, 0x21, bits)
        else:
            out = put_number(out, RECORD_ATTRIBUTE, name, len(name), value)
    end_message(begin, out)
    records.commit(out, record.ended_ns, 1)
    return 0
