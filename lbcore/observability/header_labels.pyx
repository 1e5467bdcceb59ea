"""Counters of requests by the values of some of their headers: one row per set of labels, of values, and worker. No I/O.

They stand beside those of `series`, as `requests_total` alone has such labels. Clients choose the values, so the number of rows is bounded:
requests with values beyond count in one more row of their other labels, and are counted as shed.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from lbcore.http.buffer cimport buffer_release
from lbcore.http.known cimport (
    H_HOST, H_OWN, H_X_FORWARDED_FOR, H_X_FORWARDED_OTHER, H_X_FORWARDED_SERVER, header_kind, is_managed,
)
from lbcore.http.render cimport ForwardPolicy, render_forwarded
from lbcore.http.request cimport Request
from lbcore.http.span cimport Span, span_ieq, span_of
from lbcore.observability.fields cimport is_read
from lbcore.selection.mix cimport hash_bytes
from lbcore.state.layout cimport LABEL_ROWS, LABEL_SHED_ROWS, MAX_LABELS, LabelRow
from lbcore.state.region cimport Region

cdef enum:
    INDEX_SIZE = 16384         # twice the rows, a power of two
    LONGEST = 123              # bytes of a value: so many values, each behind its length, have room in a row

MOST_HEADERS = MAX_LABELS
LONGEST_VALUE = LONGEST
SHED = "other"                 # the value of each label of requests that are shed


cdef Py_ssize_t shortened(Span value) noexcept nogil:
    """The length of a value as it is counted: no character of UTF-8 is cut in two."""
    cdef Py_ssize_t length = value.len, back
    if length <= LONGEST:
        return length
    length = LONGEST
    for back in range(4):              # more bytes than that continue no character
        if <unsigned char>value.ptr[LONGEST - back] & 0xC0 != 0x80:
            return LONGEST - back
    return length


@cython.final
cdef class HeaderLabels:
    """The rows of one worker. `headers`: names, in the order of the labels."""

    def __cinit__(self, Region region, worker, headers):
        if len(headers) > MAX_LABELS:
            raise ValueError(f"{len(headers)} headers: {MAX_LABELS} at most")
        region.check_worker(worker)
        self.region = region
        self.names = tuple([header.lower().encode() for header in headers])
        self.kinds = bytes([header_kind(span_of(<const char*>name, len(name))) for name in self.names])
        self.rows = region.label_rows(worker)
        self.used = &region.worker(worker).label_rows
        self.shed = &region.worker(worker).labels_shed
        memcpy(&self.seed, region.header.secret, sizeof(self.seed))
        self.index = <uint32_t*>calloc(INDEX_SIZE, sizeof(uint32_t))
        if self.index == NULL:
            raise MemoryError
        for row in range(self.used[0]):        # of the previous worker with this number
            self.enter(self.rows[<Py_ssize_t>row].hash, <uint32_t>row)

    def __dealloc__(self):
        free(self.index)
        buffer_release(&self.forwarded)

    cdef int read(self, Request request, const ForwardPolicy* forward) except -1:
        """Take the values that the headers of a request have now, after all middlewares; `add` counts by them."""
        cdef Py_ssize_t i, length
        cdef Span value
        cdef char* out = self.text
        for i in range(len(self.names)):
            value = self.value_of(request, forward, i)
            length = shortened(value)
            out[0] = <char>length
            if length:
                memcpy(out + 1, value.ptr, length)
            out += 1 + length
        self.length = out - self.text
        return 0

    cdef void add(self, uint64_t key) noexcept nogil:
        """Count the request that was read last. O(1). `key`: its other labels, as `series` has them."""
        cdef LabelRow* row = self.row_of(key, self.length, LABEL_ROWS - LABEL_SHED_ROWS)
        if row == NULL:
            self.shed[0] = self.shed[0] + 1    # `+= 1` needs the GIL where pointers are checked
            row = self.row_of(key, 0, LABEL_ROWS)
        if row != NULL:
            row.count += 1

    cdef Span value_of(self, Request request, const ForwardPolicy* forward, Py_ssize_t at) except *:
        """The first header of a name; empty if there is none. As in Traefik, `Host` is none."""
        cdef unsigned char kind = <unsigned char>(<const char*>self.kinds)[at]
        cdef bytes name = self.names[at]
        cdef Py_ssize_t i
        if kind == H_HOST or not is_read(request):
            return span_of(NULL, 0)
        if not is_managed(kind):
            return request.find(name, len(name))
        for i in range(request.n_headers):
            if request.kinds[i] == kind | H_OWN or (
                    request.kinds[i] == kind and forward.trusted and kind != H_X_FORWARDED_SERVER):
                if span_ieq(request.headers[i].name, name, len(name)):
                    return request.headers[i].value
        if kind in (H_X_FORWARDED_FOR, H_X_FORWARDED_OTHER) or request.head.client == NULL:
            return span_of(NULL, 0)
        return self.added(request, forward, name)

    cdef Span added(self, Request request, const ForwardPolicy* forward, bytes name) except *:
        """The value of a header that lbcore adds to the request; valid until the next call."""
        cdef Py_ssize_t start, stop, length = len(name)
        cdef const char* base
        self.forwarded.start = self.forwarded.end = 0
        if render_forwarded(request, forward, &self.forwarded) < 0:
            raise MemoryError
        base = self.forwarded.base
        start = 0
        while start < self.forwarded.end:
            stop = start
            while base[stop] != c"\r":
                stop += 1
            if stop - start >= length + 2 and base[start + length] == c":" and span_ieq(span_of(base + start, length), name, length):
                return span_of(base + start + length + 2, stop - start - length - 2)
            start = stop + 2
        return span_of(NULL, 0)

    cdef LabelRow* row_of(self, uint64_t key, Py_ssize_t length, uint64_t room) noexcept nogil:
        """The row of a key with the first `length` bytes of `text`, a new one if fewer than `room` are in use; else NULL."""
        cdef uint64_t hash = hash_bytes(self.text, length, self.seed ^ key), at = hash
        cdef LabelRow* row
        cdef uint32_t entry
        while True:
            entry = self.index[at & (INDEX_SIZE - 1)]
            if entry == 0:
                break
            row = &self.rows[entry - 1]
            if row.hash == hash and row.key == key and row.length == <uint32_t>length and memcmp(row.text, self.text, length) == 0:
                return row
            at += 1
        if self.used[0] >= room:
            return NULL
        row = &self.rows[self.used[0]]
        row.key = key
        row.hash = hash
        row.length = <uint32_t>length
        memcpy(row.text, self.text, length)
        self.used[0] = self.used[0] + 1
        self.index[at & (INDEX_SIZE - 1)] = <uint32_t>self.used[0]
        return row

    cdef void enter(self, uint64_t hash, uint32_t row) noexcept nogil:
        while self.index[hash & (INDEX_SIZE - 1)]:
            hash += 1
        self.index[hash & (INDEX_SIZE - 1)] = row + 1


def values_of(text: bytes, count: int) -> list[str]:
    """The values that the text of a row stands for. `count`: of labels."""
    if not text:
        return [SHED] * count
    found = []
    at = 0
    for _ in range(count):
        end = at + 1 + text[at]
        found.append(text[at + 1:end].decode("utf-8", "replace"))
        at = end
    return found
