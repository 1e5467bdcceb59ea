"""What the benchmarks measure with: an empty call, the selectors' own loop without Python, allocations, splice(2).

Built by `bench.micro.native`; not part of the package.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint64_t

from lbcore.http.request cimport Request
from lbcore.routing.index cimport RouteIndex
from lbcore.selection.clock cimport monotonic_ns
from lbcore.selection.algorithm cimport Algorithm
from lbcore.transport.splice cimport Pipe, pipe_drain, pipe_fill, pipe_give, pipe_take

cdef extern from "Python.h" nogil:
    ctypedef enum PyMemAllocatorDomain:
        PYMEM_DOMAIN_RAW
        PYMEM_DOMAIN_MEM
        PYMEM_DOMAIN_OBJ
    ctypedef struct PyMemAllocatorEx:
        void* ctx
        void* (*malloc)(void*, size_t) noexcept nogil
        void* (*calloc)(void*, size_t, size_t) noexcept nogil
        void* (*realloc)(void*, void*, size_t) noexcept nogil
        void (*free)(void*, void*) noexcept nogil
    void PyMem_GetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)
    void PyMem_SetAllocator(PyMemAllocatorDomain domain, PyMemAllocatorEx* allocator)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void* data, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)


cdef class Empty:
    """The yardstick: what calling a method of a Cython class costs when it does nothing."""

    def call(self):
        pass

    def call_with(self, key):
        pass

    def pick(self, key=None, *, accept=None, exclude=()):
        pass


cdef PyMemAllocatorEx[3] genuine
cdef uint64_t allocated = 0


cdef void* counted_malloc(void* which, size_t size) noexcept nogil:
    global allocated
    cdef PyMemAllocatorEx* one = <PyMemAllocatorEx*>which
    allocated += 1
    return one.malloc(one.ctx, size)


cdef void* counted_calloc(void* which, size_t count, size_t size) noexcept nogil:
    global allocated
    cdef PyMemAllocatorEx* one = <PyMemAllocatorEx*>which
    allocated += 1
    return one.calloc(one.ctx, count, size)


cdef void* counted_realloc(void* which, void* old, size_t size) noexcept nogil:
    global allocated
    cdef PyMemAllocatorEx* one = <PyMemAllocatorEx*>which
    allocated += 1
    return one.realloc(one.ctx, old, size)


cdef void plain_free(void* which, void* old) noexcept nogil:
    cdef PyMemAllocatorEx* one = <PyMemAllocatorEx*>which
    one.free(one.ctx, old)


def allocations(run, argument) -> int:
    """How often `run(argument)` asks CPython for memory, in all three of its domains; what is freed again counts too."""
    global allocated
    cdef PyMemAllocatorDomain[3] domains = [PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ]
    cdef PyMemAllocatorEx counting
    cdef int i
    for i in range(3):
        PyMem_GetAllocator(domains[i], &genuine[i])
        counting.ctx = &genuine[i]
        counting.malloc = counted_malloc
        counting.calloc = counted_calloc
        counting.realloc = counted_realloc
        counting.free = plain_free
        PyMem_SetAllocator(domains[i], &counting)
    allocated = 0
    try:
        run(argument)
        return allocated
    finally:
        for i in range(3):
            PyMem_SetAllocator(domains[i], &genuine[i])


def native_ns(Algorithm lb, hashes, Py_ssize_t count) -> float:
    """Nanoseconds per pick of a loop in C over `choose`. hashes: a buffer of 64-bit hashes, of which the number is a power of two."""
    cdef Py_buffer view
    cdef const uint64_t* keys
    cdef Py_ssize_t i, mask, found = 0
    cdef uint64_t before
    PyObject_GetBuffer(hashes, &view, PyBUF_SIMPLE)
    try:
        keys = <const uint64_t*>view.buf
        mask = view.len // 8 - 1
        lb.enter()
        with nogil:
            before = monotonic_ns()
            for i in range(count):
                found += lb.choose(keys[i & mask], NULL)
            before = monotonic_ns() - before
        lb.leave()
        if found < 0:
            raise RuntimeError("nobody was picked")
        return before / <double>count
    finally:
        PyBuffer_Release(&view)


def matched_ns(RouteIndex index, list requests, Py_ssize_t rounds) -> float:
    """Nanoseconds per request of finding the router of each of these, which are parsed."""
    cdef Py_ssize_t i
    cdef Request request
    cdef uint64_t before = monotonic_ns()
    for i in range(rounds):
        for request in requests:
            if index.find(&request.head) is None:
                raise RuntimeError("a request has no router")
    return (monotonic_ns() - before) / <double>(rounds * len(requests))


def spliced_ns(int source, int sink, Py_ssize_t size) -> int:
    """Nanoseconds that moving `size` bytes, which wait at `source`, through a pipe to `sink` takes."""
    cdef Pipe* pipe = pipe_take()
    cdef Py_ssize_t moved = 0, n
    cdef uint64_t before
    if pipe == NULL:
        raise OSError("no pipe")
    try:
        with nogil:
            before = monotonic_ns()
            while moved < size:
                n = pipe_fill(pipe, source, size - moved)
                if n <= 0:
                    break
                n = pipe_drain(pipe, sink)
                if n <= 0:
                    break
                moved += n
            before = monotonic_ns() - before
        if moved != size:
            raise OSError(f"{moved} of {size} bytes were moved")
        return before
    finally:
        pipe_give(pipe)


def copied_ns(int source, int sink, Py_ssize_t size, unsigned char[::1] buffer) -> int:
    """The same through a buffer of this process: recv(2) and send(2)."""
    cdef Py_ssize_t moved = 0, n
    cdef uint64_t before
    with nogil:
        before = monotonic_ns()
        while moved < size:
            n = recv(source, &buffer[0], min(size - moved, buffer.shape[0]), 0)
            if n <= 0 or send(sink, &buffer[0], n, 0) != n:
                break
            moved += n
        before = monotonic_ns() - before
    if moved != size:
        raise OSError(f"{moved} of {size} bytes were moved")
    return before
