"""The asker: the properties of a client by which services choose, at layer 7, at layer 4, and for datagrams. No I/O."""

cimport cython


@cython.final
cdef class Asker:
    """The client's address, and its request if there is one. Owned by the exchange or connection; services must not keep it."""
