# The hash key: the part of a request by which consistent hashing chooses.

from libc.stdint cimport uint64_t

from lbcore.routing.asker cimport Asker


cdef enum KeySource:
    KEY_ADDRESS                # of the client
    KEY_HEADER
    KEY_COOKIE
    KEY_QUERY
    KEY_PATH


cdef class HashKey:
    cdef int source            # KeySource
    cdef bytes name            # of the header (lower case), cookie or parameter
    cdef int depth             # KEY_ADDRESS: 0 = the peer, n = the nth from the right in X-Forwarded-For

    cdef bint read(self, Asker asker, uint64_t* hash) except *

