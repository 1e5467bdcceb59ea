"""The memory of libnghttp2's sessions.

A session allocates 16 KiB for the longest frame that it may send, and writes no more than a few hundred bytes of them. Freed blocks of
others have lain there, whose pages would stay. So this block begins on a page, and gives the pages behind it back to the kernel,
which it gets anew when it writes them.
"""

from lbcore.http.heap cimport LibraryMemory, fill_memory, heap_resize, heap_take
from lbcore.http.sanitizer cimport POOLS

cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void** block, size_t alignment, size_t size)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* address, size_t size, int advice)
    int MADV_DONTNEED

cdef enum:
    PAGE_BYTES = 4096
    SPARSE_BYTES = 16384       # least size of a block that is written at its beginning only


cdef void* allocate(size_t size, void* data) noexcept nogil:
    cdef void* block = NULL
    if not POOLS or size < SPARSE_BYTES:
        return heap_take(size)
    if posix_memalign(&block, PAGE_BYTES, size):
        return NULL
    madvise(<char*>block + PAGE_BYTES, (size - PAGE_BYTES) // PAGE_BYTES * PAGE_BYTES, MADV_DONTNEED)
    return block


cdef void* resize(void* block, size_t size, void* data) noexcept nogil:
    return allocate(size, data) if block == NULL else heap_resize(block, size)     # the library makes its buffers so


cdef LibraryMemory memory
fill_memory(&memory)
memory.allocate = allocate
memory.resize = resize


cdef const LibraryMemory* session_memory() noexcept:
    """The allocator of all sessions."""
    return &memory
