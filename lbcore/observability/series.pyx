"""Counters of requests by labels: one row per set of labels and worker, in the shared region. No I/O.

A worker alone writes its rows, without locks and Python objects; readers add up the rows of all workers.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from lbcore.selection.mix cimport mix64
from lbcore.state.layout cimport MAX_BUCKETS, METRIC_ROWS, MetricRow
from lbcore.state.region cimport Region

METHODS = ("EXTENSION_METHOD", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
PROTOCOLS = ("http", "sse", "websocket", "grpc", "grpc-web")
KINDS = ("entrypoint", "router", "service")  # SeriesKind, less SERIES_TLS
# Suites of TLS by IANA's names; what is not among them counts as the first.
SUITES = (
    "other", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    *(f"TLS_ECDHE_{key}_WITH_{cipher}" for key in ("ECDSA", "RSA") for cipher in (
        "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "AES_128_CBC_SHA256", "AES_128_CBC_SHA",
        "AES_256_CBC_SHA", "AES_256_CBC_SHA384", "3DES_EDE_CBC_SHA", "RC4_128_SHA")),
    *(f"TLS_RSA_WITH_{cipher}" for cipher in (
        "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "AES_128_CBC_SHA256", "AES_256_CBC_SHA256", "AES_128_CBC_SHA",
        "AES_256_CBC_SHA", "3DES_EDE_CBC_SHA", "RC4_128_SHA")),
)

cdef double LONGEST_NS = 9e18  # longer bounds are never reached

cdef enum:
    INDEX_SIZE = 131072        # twice the rows, a power of two


@cython.final
cdef class Series:
    """The rows of one worker. `buckets`: upper bounds of the histogram of durations, in seconds, ascending."""

    def __cinit__(self, Region region, worker, buckets):
        if len(buckets) > MAX_BUCKETS:
            raise ValueError(f"{len(buckets)} buckets: {MAX_BUCKETS} at most")
        region.check_worker(worker)
        self.region = region
        self.rows = region.metric_rows(worker)
        self.used = &region.worker(worker).metric_rows
        self.index = <uint32_t*>calloc(INDEX_SIZE, sizeof(uint32_t))
        if self.index == NULL:
            raise MemoryError
        for row in range(self.used[0]):        # of the previous worker with this number
            self.enter(self.rows[<Py_ssize_t>row].key, <uint32_t>row)
        self.n_bounds = len(buckets)
        for number, bound in enumerate(sorted(buckets)):
            self.bounds_ns[<int>number] = <uint64_t>min(<double>bound * 1e9, LONGEST_NS)

    def __dealloc__(self):
        free(self.index)

    cdef void enter(self, uint64_t key, uint32_t row) noexcept:
        cdef uint64_t at = mix64(key)
        while self.index[at & (INDEX_SIZE - 1)]:
            at += 1
        self.index[at & (INDEX_SIZE - 1)] = row + 1

    cdef void add(self, uint64_t key, uint64_t duration_ns, uint64_t bytes_in, uint64_t bytes_out) noexcept nogil:
        """Count a request. O(1). If no row is left, requests with new labels are not counted."""
        cdef uint64_t at = mix64(key)
        cdef MetricRow* row
        cdef uint32_t* entry
        cdef int bucket
        while True:
            entry = &self.index[at & (INDEX_SIZE - 1)]
            if entry[0] == 0:
                if self.used[0] >= METRIC_ROWS:
                    return
                row = &self.rows[self.used[0]]
                row.key = key
                self.used[0] = self.used[0] + 1
                entry[0] = <uint32_t>self.used[0]
                break
            row = &self.rows[entry[0] - 1]
            if row.key == key:
                break
            at += 1
        row.count += 1
        row.duration_ns += duration_ns
        row.bytes_in += bytes_in
        row.bytes_out += bytes_out
        for bucket in range(self.n_bounds):
            if duration_ns <= self.bounds_ns[bucket]:
                row.buckets[bucket] += 1
                break


cdef enum:
    SEEN_SUITES = 16

cdef const char* seen[SEEN_SUITES]     # names that were asked for, which are constants of OpenSSL's
cdef int seen_index[SEEN_SUITES]
cdef int n_seen = 0


cdef int suite_index(const char* name) noexcept:
    """Index into SUITES of the name that OpenSSL has for a suite."""
    global n_seen
    cdef int i, found
    for i in range(n_seen):
        if seen[i] == name:
            return seen_index[i]
    text = name.decode("ascii", "replace")
    found = SUITES.index(text) if text in SUITES else 0
    if n_seen < SEEN_SUITES:
        seen[n_seen], seen_index[n_seen] = name, found
        n_seen += 1
    return found


def tls_labels_of(key: int) -> tuple[str, int, str, str] | None:
    """Kind, index, version and suite that a row's key stands for; None: the row is none of TLS."""
    if key >> 61 & 3 != SERIES_TLS:
        return None
    return KINDS[key >> 56 & 3], key >> 32 & 0xFFFFFF, f"1.{key >> 8 & 0xFF}", SUITES[key & 0xFF]


def labels_of(key: int) -> tuple[str, int, int, str, str]:
    """The labels of a row's key: kind, index, status, method and protocol."""
    kind = KINDS[key >> 61 & 3]
    return kind, key >> 32 & 0xFFFFFF, key >> 16 & 0x3FF, METHODS[key >> 8 & 0xFF], PROTOCOLS[key & 0xFF]
