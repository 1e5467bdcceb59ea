"""Batches of datagrams: the memory for them, in the form in which the kernel takes and gives several with one call."""

cimport cython
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc

cdef extern from "<sys/socket.h>" nogil:
    int getsockopt(int fd, int level, int name, void* value, unsigned int* size)
    enum:
        SOL_SOCKET

cdef enum:
    # The slots begin at different offsets in their pages, so that their first lines do not share the sets of a cache.
    STRIDE = DATAGRAM_BYTES + 576
    SO_MEMINFO = 55            # of Linux 4.12: nine numbers, of which the last is that of dropped datagrams (SK_MEMINFO_DROPS)
    MEMINFO_NUMBERS = 9
    MEMINFO_DROPS = 8


@cython.final
cdef class DatagramBatch:
    """`size` slots, each for a datagram of any length, with an address and control data."""

    def __cinit__(self, Py_ssize_t size):
        self.size = size
        self.messages = <mmsghdr*>calloc(size, sizeof(mmsghdr))
        self.vectors = <iovec*>calloc(size, sizeof(iovec))
        self.names = <char*>calloc(size, NAME_BYTES)
        self.controls = <char*>calloc(size, CONTROL_BYTES)
        self.data = <char*>malloc(size * STRIDE)
        if self.messages == NULL or self.vectors == NULL or self.names == NULL or self.controls == NULL or self.data == NULL:
            raise MemoryError
        for i in range(size):
            self.vectors[i].iov_base = self.place(i)
            self.messages[i].msg_hdr.msg_iov = &self.vectors[i]
            self.messages[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.messages)
        free(self.vectors)
        free(self.names)
        free(self.controls)
        free(self.data)

    cdef char* place(self, Py_ssize_t slot) noexcept nogil:
        """The bytes of a slot."""
        return self.data + slot * STRIDE

    cdef void expect(self, Py_ssize_t first, Py_ssize_t count, bint with_names) noexcept nogil:
        """Prepare slots for the receipt of datagrams, with their senders and control data or without."""
        cdef Py_ssize_t i
        for i in range(first, first + count):
            self.vectors[i].iov_len = DATAGRAM_BYTES
            self.messages[i].msg_hdr.msg_name = self.names + i * NAME_BYTES if with_names else NULL
            self.messages[i].msg_hdr.msg_namelen = NAME_BYTES if with_names else 0
            self.messages[i].msg_hdr.msg_control = self.controls + i * CONTROL_BYTES if with_names else NULL
            self.messages[i].msg_hdr.msg_controllen = CONTROL_BYTES if with_names else 0


cdef int read_overflow(int fd, uint32_t* dropped) noexcept nogil:
    """Read how many datagrams the kernel has dropped for want of room in a socket's queue. Returns -1 if it does not say."""
    cdef uint32_t numbers[MEMINFO_NUMBERS]
    cdef unsigned int size = sizeof(numbers)
    if getsockopt(fd, SOL_SOCKET, SO_MEMINFO, numbers, &size) < 0 or size < sizeof(numbers):
        return -1
    dropped[0] = numbers[MEMINFO_DROPS]
    return 0
