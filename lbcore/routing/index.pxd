# The route index: finds the router of a request by its host and path, whatever the number of routers.

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from lbcore.http.head cimport RequestHead
from lbcore.http.span cimport Span
from lbcore.routing.matcher cimport Program, Test


cdef struct Entry:             # a router in a list
    const Test* tests          # its rule; borrowed from `programs`
    PyObject* payload          # borrowed from `payloads`
    uint32_t rank              # position in the order of priority

cdef struct Bucket:            # the routers that share a host; a slot of the hash table of hosts, empty when `key` is 0
    uint64_t key
    uint32_t number            # part of the keys of its paths
    uint32_t has_paths         # exact ones are filed
    uint32_t first_length      # in `lengths`: those that its path prefixes have, ascending
    uint32_t n_lengths
    uint32_t first             # in `entries`: those that ask for no path
    uint32_t count

cdef struct Slot:              # of the hash table of paths; empty when `count` is 0
    uint64_t key
    uint32_t first             # in `entries`
    uint32_t count


cdef struct Place:             # what the path of a request has to be
    uint64_t hash
    uint32_t kind              # AT_PATH, AT_PREFIX, or AT_REST: whatever it is
    uint32_t length

cdef struct Filing:            # under what a rule is filed: each of its hosts, and there each of its paths
    const Test* tests
    uint64_t* hosts            # keys; NO_HOST: whatever it is
    Place* places
    uint32_t n_hosts
    uint32_t n_places
    bint has_hosts
    bint has_labels            # `*` in place of the first label


cdef class FiledRule:
    cdef readonly object rule
    cdef Program program       # owns the tests
    cdef Filing filing         # owns its hosts and places


cdef class RouteIndex:
    cdef list payloads         # by rank
    cdef list rules            # FiledRule by rank, which own the tests
    cdef Bucket anywhere       # the routers that ask for no host
    cdef Bucket* hosts
    cdef uint64_t host_mask    # number of slots less one
    cdef bint has_hosts        # there are routers that ask for a host
    cdef bint has_labels       # there are hosts like `*.example.com`
    cdef Slot* slots
    cdef uint64_t mask         # number of slots less one
    cdef Entry* entries        # lists, each in the order of rank
    cdef uint32_t* lengths
    cdef uint64_t seed

    cdef int build(self, const Filing** filings, PyObject** payloads, Py_ssize_t count) noexcept nogil
    cdef int fill(self, void* filed, const Filing** filings, PyObject** payloads) noexcept nogil
    cdef object find(self, const RequestHead* head)
    cdef const Entry* first_match(self, const RequestHead* head) noexcept nogil
    cdef Bucket* bucket(self, uint64_t key) noexcept nogil
    cdef Slot* lookup(self, uint64_t key) noexcept nogil
    cdef const Entry* scan(self, uint32_t first, uint32_t count, const RequestHead* head, const Entry* best) noexcept nogil
    cdef const Entry* search(self, const Bucket* bucket, const RequestHead* head, const Entry* best) noexcept nogil
