# Copies of a request for mirrors.

from libc.stdint cimport int64_t

from lbcore.http.request cimport Request
from lbcore.proxy.recording cimport Owner
from lbcore.routing.mirroring cimport Mirror


cdef class Copy(Owner):
    cdef Mirror mirror
    cdef Request request               # its own head, with the mirror's headers
    cdef bint has_body                 # which is sent along
    cdef int64_t charged               # bytes of `mirror.buffered` that are this copy's

    cdef void uncharge(self) noexcept
    cdef void shed(self) noexcept


cdef Copy make_copy(Request request, Mirror mirror)
