# MD5 (RFC 1321), for rings that other programs build with it. Not for secrets.

from libc.stdint cimport uint8_t, uint32_t


cdef int md5(const uint8_t* data, Py_ssize_t length, uint32_t* digest) noexcept nogil
