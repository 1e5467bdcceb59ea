"""Who asks for a server: what choosing goes by, at layer 7, at layer 4, and for datagrams. No I/O."""

cimport cython


@cython.final
cdef class Asker:
    """The client's address, and its request where there is one. Owned by the exchange or connection; services do not keep it."""
