# Lists of fields in the form in which libnghttp2 and nghttp3 take them; both copy what they are given before they return.

from libc.stdint cimport uint8_t

from lbcore.http.span cimport Span, span_of

cdef enum:
    NAME_STAYS = 2             # flag of a field: its name is a constant in lower case, to which the library may refer

cdef struct Field:             # laid out as nghttp2_nv and nghttp3_nv are
    const char* name           # in any case without NAME_STAYS: the libraries write it in lower case
    const char* value
    size_t name_length
    size_t value_length
    uint8_t flags

cdef struct FieldList:         # kept from one head to the next; its text belongs to the message that was listed
    Field* fields              # owned
    Py_ssize_t count
    Py_ssize_t capacity
    char status[4]             # the text of `:status`

cdef struct FieldBlock:        # fields with their text, in one block of the heap, which `heap_give` frees
    size_t count
    Field fields[1]            # `count`; their text stands behind them


cdef int list_begin(FieldList* list, Py_ssize_t most) noexcept


cdef inline void list_add(FieldList* list, Span name, Span value) noexcept nogil:
    """Append a field, for which there is room. White space around the value is none of it (RFC 9113 section 8.2.1)."""
    cdef Field* field = &list.fields[list.count]
    while value.len and (value.ptr[0] == c" " or value.ptr[0] == c"\t"):
        value = span_of(value.ptr + 1, value.len - 1)
    while value.len and (value.ptr[value.len - 1] == c" " or value.ptr[value.len - 1] == c"\t"):
        value.len -= 1
    field.name = name.ptr
    field.name_length = name.len
    field.value = value.ptr
    field.value_length = value.len
    field.flags = 0
    list.count += 1


cdef inline void list_named(FieldList* list, const char* name, Py_ssize_t length, Span value) noexcept nogil:
    """`list_add` for a name that is a constant in lower case."""
    list_add(list, span_of(name, length), value)
    list.fields[list.count - 1].flags = NAME_STAYS
