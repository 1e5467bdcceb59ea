# The shared region, for C.

cimport cython

from lbcore.state.totals cimport Totals


@cython.final
cdef class Region(Totals):
    cdef void set_secret(self, bytes secret) noexcept
    cdef void set_ticket_keys(self, bytes keys) noexcept
