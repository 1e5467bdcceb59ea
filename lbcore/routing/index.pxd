# Which router takes a request: found through its host and path, whatever the number of routers.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.head cimport RequestHead
from lbcore.http.span cimport Span
from lbcore.routing.matcher cimport Test


cdef struct Entry:
    uint32_t rank              # position in the order of priority
    const Test* tests

cdef struct Slot:              # of the hash table; empty when `count` is 0
    uint64_t key
    uint32_t first             # in `entries`
    uint32_t count

cdef struct Bucket:            # the routers that share a host, or that ask for none
    uint32_t first_length      # in `lengths`: those that path prefixes in this bucket have, ascending
    uint32_t n_lengths


cdef class RouteIndex:
    cdef tuple payloads        # by rank
    cdef list programs         # keeps the tests alive
    cdef Slot* slots
    cdef uint64_t mask         # number of slots less one
    cdef Entry* entries        # lists, each in the order of rank
    cdef Bucket* buckets       # bucket 0: no host
    cdef uint32_t* lengths
    cdef uint64_t seed

    cdef int fill(self, dict filed, dict numbers, list lengths) except -1
    cdef uint64_t key(self, str text, uint64_t kind, uint64_t bucket)
    cdef object find(self, const RequestHead* head)
    cdef uint32_t first_match(self, const RequestHead* head) noexcept nogil
    cdef Slot* lookup(self, uint64_t key) noexcept nogil
    cdef uint32_t scan(self, uint64_t key, const RequestHead* head, uint32_t best) noexcept nogil
    cdef uint32_t search_bucket(self, uint32_t bucket, const RequestHead* head, uint32_t best) noexcept nogil
