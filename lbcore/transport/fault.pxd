# What the errno of a failed send says.

from libc.errno cimport ECONNRESET, EPIPE


cdef inline bint is_gone(int fault) noexcept nogil:
    """The peer takes nothing more. What it has sent before can still be read, and leads to its end."""
    return fault == EPIPE or fault == ECONNRESET
