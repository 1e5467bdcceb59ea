# The sockets on which clients' datagrams come in.

from libc.stdint cimport int64_t, uint64_t

from lbcore.transport.session_table cimport SessionKey
from lbcore.transport.udp_session cimport UdpSession
from lbcore.transport.udp_socket cimport UdpSocket


cdef class UdpEndpoint(UdpSocket):
    cdef int64_t timeout_ms            # after which an unused session ends
    cdef Py_ssize_t most               # sessions at once

    cdef int receive(self, int rounds) except -1
    cdef int dispatch(self, Py_ssize_t count) except -1
    cdef UdpSession begin(self, const SessionKey* key, uint64_t hash, Py_ssize_t slot, int* loss)
    cdef int arm_sweep(self) except -1
    cdef int end_all(self) except -1
