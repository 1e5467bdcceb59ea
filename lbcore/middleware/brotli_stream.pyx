"""Brotli by pointer, from the module of the package `brotli`: its encoder takes and gives back some 2 MiB for each answer.

The package's own class has them from the system each time, which costs a fifth of the whole. Here the large blocks are kept
for the next encoder, up to a bound. The GIL is held throughout, so nothing else needs a lock. No I/O.
"""

import ctypes

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc

from lbcore.http.sanitizer cimport POOLS

cdef enum:
    PROCESS = 0                    # BrotliEncoderOperation
    FLUSH = 1
    FINISH = 2
    QUALITY = 1                    # BrotliEncoderParameter
    WINDOW = 2
    KEPT_BLOCKS = 16
    KEPT_BYTES = 8 << 20           # of all kept blocks
    LEAST_KEPT = 64 << 10          # smaller blocks are malloc's own
    HEAD = 16                      # before each block: its size

ctypedef void* (*Allocate)(void* opaque, size_t size) noexcept nogil
ctypedef void (*Release)(void* opaque, void* block) noexcept nogil
ctypedef void* (*Create)(Allocate allocate, Release release, void* opaque) noexcept nogil
ctypedef void (*Destroy)(void* state) noexcept nogil
ctypedef int (*SetParameter)(void* state, int parameter, uint32_t value) noexcept nogil
ctypedef int (*Compress)(
    void* state, int operation, size_t* available_in, const uint8_t** next_in, size_t* available_out, uint8_t** next_out,
    size_t* total_out
) noexcept nogil
ctypedef int (*Ask)(void* state) noexcept nogil
ctypedef const uint8_t* (*Take)(void* state, size_t* size) noexcept nogil

cdef Create create = NULL
cdef Destroy destroy = NULL
cdef SetParameter set_parameter = NULL
cdef Compress compress_stream = NULL
cdef Ask has_more = NULL
cdef Take take_output = NULL
cdef object library = None         # as long as its functions are called

cdef char* kept[KEPT_BLOCKS]       # each begins with its head
cdef size_t n_kept = 0, kept_bytes = 0


cdef void* allocate(void* opaque, size_t size) noexcept nogil:
    """A block of memory: one that was kept, if it has this very size."""
    global n_kept, kept_bytes
    cdef size_t i
    cdef char* block
    if size >= LEAST_KEPT:
        for i in range(n_kept):
            if (<size_t*>kept[i])[0] == size:
                block = kept[i]
                n_kept -= 1
                kept[i] = kept[n_kept]
                kept_bytes -= size
                return block + HEAD
    block = <char*>malloc(size + HEAD)
    if block == NULL:
        return NULL
    (<size_t*>block)[0] = size
    return block + HEAD


cdef void release(void* opaque, void* given) noexcept nogil:
    """Keep a large block while there is room, else free it."""
    global n_kept, kept_bytes
    cdef char* block
    cdef size_t size
    if given == NULL:
        return
    block = <char*>given - HEAD
    size = (<size_t*>block)[0]
    if POOLS and size >= LEAST_KEPT and n_kept < KEPT_BLOCKS and kept_bytes + size <= KEPT_BYTES:
        kept[n_kept] = block
        n_kept += 1
        kept_bytes += size
    else:
        free(block)


def load(str path):
    """Find the encoder in a library. Raises OSError, or AttributeError if it does not show its functions."""
    global create, destroy, set_parameter, compress_stream, has_more, take_output, library
    if library is not None:
        return
    found = ctypes.CDLL(path)

    def address(name):
        return ctypes.cast(getattr(found, "BrotliEncoder" + name), ctypes.c_void_p).value

    create = <Create><uintptr_t>address("CreateInstance")
    destroy = <Destroy><uintptr_t>address("DestroyInstance")
    set_parameter = <SetParameter><uintptr_t>address("SetParameter")
    compress_stream = <Compress><uintptr_t>address("CompressStream")
    has_more = <Ask><uintptr_t>address("HasMoreOutput")
    take_output = <Take><uintptr_t>address("TakeOutput")
    library = found


def kept_memory():
    """Bytes in blocks that wait for the next encoder."""
    return kept_bytes


cdef class BrotliStream:
    """One stream; `load` was called."""

    cdef void* state

    def __cinit__(self, uint32_t quality, uint32_t window):
        if library is None:
            raise RuntimeError("the encoder was not loaded")
        self.state = create(allocate, release, NULL)
        if self.state == NULL:
            raise MemoryError
        if not set_parameter(self.state, QUALITY, quality) or not set_parameter(self.state, WINDOW, window):
            raise ValueError("the library knows no quality or window")

    def __dealloc__(self):
        if self.state != NULL:
            destroy(self.state)

    def compress(self, data):
        """What is ready after these bytes, which are read in place."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.run(PROCESS, <const uint8_t*>view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def flush(self):
        """All that the bytes so far come to."""
        return self.run(FLUSH, NULL, 0)

    def finish(self):
        """The end of the stream."""
        return self.run(FINISH, NULL, 0)

    cdef bytes run(self, int operation, const uint8_t* data, size_t length):
        cdef size_t room = 0, size
        cdef uint8_t* nowhere = NULL
        cdef const uint8_t* ready
        cdef list pieces = []
        while True:
            if not compress_stream(self.state, operation, &length, &data, &room, &nowhere, NULL):
                raise MemoryError
            while has_more(self.state):
                size = 0
                ready = take_output(self.state, &size)
                pieces.append((<const char*>ready)[:size])
            if length == 0:
                return b"".join(pieces)
