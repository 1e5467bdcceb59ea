# Batches of datagrams: the system calls that move several at once, and the memory for them.

from libc.stdint cimport uint32_t

from lbcore.transport.inet cimport iovec, mmsghdr

cdef extern from "<sys/socket.h>" nogil:
    Py_ssize_t send_datagram "send"(int fd, const void* data, size_t length, int flags)

cdef enum:
    DATAGRAM_BYTES = 65536     # room for the longest one: 65,507 bytes over IPv4, 65,527 over IPv6
    NAME_BYTES = 32            # room for a sockaddr_in6
    CONTROL_BYTES = 64         # room for one in6_pktinfo; a multiple of 8


cdef class DatagramBatch:
    cdef Py_ssize_t size               # slots
    cdef mmsghdr* messages             # owned, one of each for every slot
    cdef iovec* vectors                # owned
    cdef char* names                   # owned, NAME_BYTES each
    cdef char* controls                # owned, CONTROL_BYTES each
    cdef char* data                    # owned; a page that was never touched costs no memory

    cdef char* place(self, Py_ssize_t slot) noexcept nogil
    cdef void expect(self, Py_ssize_t first, Py_ssize_t count, bint with_names) noexcept nogil


cdef int read_overflow(int fd, uint32_t* dropped) noexcept nogil
