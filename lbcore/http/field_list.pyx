"""Lists of fields for the libraries of HTTP/2 and HTTP/3: their memory. No I/O."""

from libc.stdlib cimport realloc

cdef enum:
    FIRST_FIELDS = 64


cdef int list_begin(FieldList* list, Py_ssize_t most) noexcept:
    """Empty the list, and make room for `most` fields. Returns 0, or -1 without memory."""
    cdef Py_ssize_t capacity = max(list.capacity, <Py_ssize_t>FIRST_FIELDS)
    cdef void* moved
    list.count = 0
    if most <= list.capacity:
        return 0
    while capacity < most:
        capacity *= 2
    moved = realloc(list.fields, capacity * sizeof(Field))
    if moved == NULL:
        return -1
    list.fields = <Field*>moved
    list.capacity = capacity
    return 0
