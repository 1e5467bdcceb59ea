"""A middleware for tests whose filters see both bodies: they change each byte, count, hold back, and refuse, as headers say."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.sink cimport Filter
from lbcore.http.span cimport Span, span_bytes, span_of
from lbcore.middleware.base cimport PASS, Context, Middleware


cdef class Seen:
    """What one direction has seen."""

    cdef readonly int64_t bytes
    cdef readonly int64_t ends
    cdef readonly int64_t stalls       # times the sink behind took no more
    cdef readonly int64_t pushed       # times something was put all the same: none is right


cdef class Flip(Filter):
    """Changes the case of letters; keeps the last byte back until the next ones, or the end, come."""

    cdef Seen seen
    cdef int64_t limit                 # bytes; -1 = any
    cdef int64_t count
    cdef char kept
    cdef bint keeps

    cdef int put(self, Span data) except -1:
        cdef char* copy
        cdef Py_ssize_t i
        cdef int status
        if data.len == 0:
            return 0
        if self.blocked:
            self.seen.pushed += 1
        self.seen.bytes += data.len
        self.count += data.len
        if 0 <= self.limit < self.count:
            return 413
        copy = <char*>malloc(data.len + 1)
        if copy == NULL:
            raise MemoryError
        try:
            copy[0] = self.kept
            for i in range(data.len):
                copy[i + 1] = data.ptr[i] ^ 0x20
            self.kept = copy[data.len]
            status = Filter.put(self, span_of(copy if self.keeps else copy + 1, data.len if self.keeps else data.len - 1))
        finally:
            free(copy)
        self.keeps = True
        if self.blocked:
            self.seen.stalls += 1
        return status

    cdef int give(self) except -1:
        cdef int status
        if not self.complete or not self.keeps:
            return 0
        self.keeps = False
        status = self.next.put(span_of(&self.kept, 1))
        return status if status else 1

    cdef int end(self, Message trailers) except -1:
        self.seen.ends += 1
        return Filter.end(self, trailers)


cdef class Affine(Filter):
    """Makes `factor * byte + summand` of each byte: two of these that change places make another body."""

    cdef unsigned char factor
    cdef unsigned char summand

    cdef int put(self, Span data) except -1:
        cdef char* copy = <char*>malloc(data.len + 1)
        cdef Py_ssize_t i
        if copy == NULL:
            raise MemoryError
        try:
            for i in range(data.len):
                copy[i] = <char>(self.factor * <unsigned char>data.ptr[i] + self.summand)
            return Filter.put(self, span_of(copy, data.len))
        finally:
            free(copy)


cdef class Arithmetic(Middleware):
    """Has both bodies pass an Affine."""

    cdef unsigned char factor
    cdef unsigned char summand

    def __init__(self, str name, int factor, int summand):
        self.name = name
        self.sees_answer = True
        self.factor = factor
        self.summand = summand

    cdef Affine affine(self):
        cdef Affine filter = Affine.__new__(Affine)
        filter.factor = self.factor
        filter.summand = self.summand
        return filter

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        context.add_request_filter(self.affine())
        return PASS

    cdef int on_response(self, Request request, Response response, Context context) except -1:
        context.add_answer_filter(self.affine())
        return 0


cdef class Tap(Middleware):
    cdef readonly Seen up
    cdef readonly Seen down

    def __init__(self, str name):
        self.name = name
        self.sees_answer = True
        self.up = Seen()
        self.down = Seen()

    cdef Flip flip(self, Seen seen, int64_t limit):
        cdef Flip filter = Flip.__new__(Flip)
        filter.seen = seen
        filter.limit = limit
        return filter

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Span limit = request.find(b"x-limit", 7)
        context.add_request_filter(self.flip(self.up, int(span_bytes(limit)) if limit.len else -1))
        return PASS

    cdef int on_response(self, Request request, Response response, Context context) except -1:
        cdef Span limit = request.find(b"x-answer-limit", 14)
        context.add_answer_filter(self.flip(self.down, int(span_bytes(limit)) if limit.len else -1))
        return 0
