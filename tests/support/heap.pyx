"""The memory that lbcore gives to libraries, as tests use it."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lbcore.http.heap cimport LibraryMemory, heap_adopt, heap_give, heap_resize, heap_take
from lbcore.http2.memory cimport session_memory

cdef extern from "<sys/mman.h>" nogil:
    int mincore(void* address, size_t size, unsigned char* present)

cdef enum:
    PAGE_BYTES = 4096


def adopt() -> None:
    heap_adopt()


def take(size: int, fill: int) -> int:
    """The address of a block, all of which is written."""
    cdef void* block = heap_take(size)
    memset(block, fill, size)
    return <uintptr_t>block


def resize(address: int, size: int) -> int:
    return <uintptr_t>heap_resize(<void*><uintptr_t>address, size)


def write(address: int, size: int, fill: int) -> None:
    memset(<void*><uintptr_t>address, fill, size)


def read(address: int, size: int) -> bytes:
    return (<const char*><uintptr_t>address)[:size]


def give(address: int) -> None:
    heap_give(<void*><uintptr_t>address)


def pages_of_a_session(size: int) -> list:
    """Which pages of a session's block take memory, after others have written and freed as much."""
    cdef const LibraryMemory* memory = session_memory()
    cdef void* blocks[64]
    cdef void* block
    cdef unsigned char[16] present
    cdef size_t i, pages = size // PAGE_BYTES
    for i in range(64):
        blocks[i] = malloc(size)
        memset(blocks[i], 1, size)
    for i in range(64):
        free(blocks[i])
    block = memory.resize(NULL, size, memory.data)
    memset(block, 1, 64)
    mincore(block, pages * PAGE_BYTES, present)
    found = [present[i] & 1 for i in range(pages)]
    memset(block, 2, size)                 # all of it may be written
    memory.release(block, memory.data)
    return found
