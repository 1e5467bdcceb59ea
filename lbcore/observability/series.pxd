# Counters of requests by labels, in the shared region.

from libc.stdint cimport uint32_t, uint64_t

from lbcore.state.layout cimport MAX_BUCKETS, MetricRow


cdef enum SeriesKind:
    SERIES_ENTRY_POINT = 0
    SERIES_ROUTER
    SERIES_SERVICE
    SERIES_TLS                 # of one of these: over TLS, by version and suite

cdef enum Protocol:
    PROTOCOL_HTTP = 0
    PROTOCOL_SSE
    PROTOCOL_WEBSOCKET
    PROTOCOL_GRPC
    PROTOCOL_GRPC_WEB


cdef class Series:
    cdef MetricRow* rows               # the rows of this worker, in the region
    cdef uint64_t* used                # number of rows in use, in the region
    cdef uint32_t* index               # by hash of the key: row + 1; 0 = none. Owned
    cdef object region                 # keeps the memory mapped
    cdef uint64_t bounds_ns[MAX_BUCKETS]           # upper, ascending
    cdef int n_bounds

    cdef void enter(self, uint64_t key, uint32_t row) noexcept
    cdef void add(self, uint64_t key, uint64_t duration_ns, uint64_t bytes_in, uint64_t bytes_out) noexcept nogil


cdef int suite_index(const char* name) noexcept


cdef inline uint64_t tls_series_key(int kind, uint32_t index, int version, int suite) noexcept nogil:
    """Likewise; of requests over TLS 1.`version`. `kind`: not SERIES_TLS itself."""
    return (<uint64_t>1 << 63 | <uint64_t>SERIES_TLS << 61 | <uint64_t>kind << 56 | <uint64_t>index << 32
            | <uint64_t>version << 8 | <uint64_t>suite)


cdef inline uint64_t series_key(int kind, uint32_t index, int status, int method, int protocol) noexcept nogil:
    """The key of a set of labels. It is never 0, because the top bit is set."""
    return (<uint64_t>1 << 63 | <uint64_t>kind << 61 | <uint64_t>index << 32 | <uint64_t>status << 16
            | <uint64_t>method << 8 | <uint64_t>protocol)
