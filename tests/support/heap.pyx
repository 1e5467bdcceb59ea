"""The memory that lbcore gives to libraries, as tests use it."""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from lbcore.http.heap cimport LibraryMemory, heap_adopt, heap_give, heap_resize, heap_take
cimport lbcore.http2.memory as sessions
from lbcore.http2.memory cimport SessionMemory, memory_is_owned, own_memory

cdef extern from "<sys/mman.h>" nogil:
    int mincore(void* address, size_t size, unsigned char* present)

cdef extern from * nogil:
    """
    /* Of the sanitizer, if it is in this process: this module itself may be built without. */
    extern void *__asan_region_is_poisoned(void *start, size_t size) __attribute__((weak));
    #define lbcore_first_watched(start, size) \\
        ((char *)(__asan_region_is_poisoned ? __asan_region_is_poisoned(start, size) : (void *)0))
    """
    char* first_hidden "lbcore_first_watched"(void* start, size_t size)

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


cdef struct Made:                # as a session of libnghttp2, which is made of these blocks
    SessionMemory own
    LibraryMemory memory
    char* session
    void* table
    char* buffer


cdef void make(Made* made, size_t structure, size_t frames) except *:
    memset(made, 0xFF, sizeof(Made))
    own_memory(&made.own, &made.memory)
    made.session = <char*>made.memory.allocate_zeroed(1, structure, made.memory.data)
    made.table = made.memory.allocate(1024, made.memory.data)
    made.buffer = <char*>made.memory.resize(NULL, frames, made.memory.data)
    memory_is_owned(&made.own)
    assert made.session[:structure] == bytes(structure)
    memset(made.session, 1, structure)
    memset(made.table, 2, 1024)
    memset(made.buffer, 3, 64)


cdef void delete(Made* made) noexcept:
    made.memory.release(NULL, made.memory.data)
    made.memory.release(made.table, made.memory.data)
    made.memory.release(made.buffer, made.memory.data)
    made.memory.release(made.session, made.memory.data)


def pages_of_a_session(structure: int, frames: int, page_bytes: int = PAGE_BYTES) -> list:
    """Which pages of a session take memory, from its structure on, after another one that has written all of its buffer. `page_bytes`:
    what the kernel is said to have."""
    cdef Made made
    cdef unsigned char[16] present
    cdef size_t i, pages = (structure + frames) // PAGE_BYTES
    cdef long before = sessions.page_bytes
    sessions.page_bytes = page_bytes
    for _ in range(2):
        make(&made, structure, frames)
        mincore(made.session, pages * PAGE_BYTES, present)
        memset(made.buffer, 4, frames)
        delete(&made)
    sessions.page_bytes = before
    return [present[i] & 1 for i in range(pages)]


def watched_parts() -> list:
    """Of a session that is made, whose table is given back, that is deleted, and whose slot another one has: what is hidden of its
    structure, of its table, and of what is behind this."""
    cdef Made made
    cdef list found = []
    cdef char* slot
    cdef int step
    for step in range(4):
        if step in (0, 3):
            make(&made, 2500, 16394)
            slot = made.own.slot
        elif step == 1:
            made.memory.release(made.table, made.memory.data)
        else:
            made.table = NULL
            delete(&made)
        found.append((first_hidden(slot, 2500) != NULL, first_hidden(slot + 2528, 1024) == slot + 2528,
                      first_hidden(slot + 2528 + 1024, 1) != NULL))
    delete(&made)
    return found


def sessions_apart(count: int, structure: int, frames: int, larger: int) -> None:
    """Sessions at the same time, all of whose blocks are written: each has its own. `larger`: that a buffer grows to in the end."""
    cdef Made* made = <Made*>malloc(count * sizeof(Made))
    cdef char* more
    cdef int i
    for i in range(count):
        make(&made[i], structure, frames)
        memset(made[i].session, i, structure)
        memset(made[i].table, i + 1, 1024)
        memset(made[i].buffer, i + 2, frames)
    for i in range(count):
        more = <char*>made[i].memory.resize(NULL, frames, made[i].memory.data)         # a head of several frames has a buffer for each
        memset(more, 0xFF, frames)
        assert made[i].session[:structure] == bytes([i % 256]) * structure
        assert (<char*>made[i].table)[:1024] == bytes([(i + 1) % 256]) * 1024
        assert made[i].buffer[:frames] == bytes([(i + 2) % 256]) * frames
        made[i].memory.release(more, made[i].memory.data)
        if i % 2:
            made[i].buffer = <char*>made[i].memory.resize(made[i].buffer, larger, made[i].memory.data)
            assert made[i].buffer[:frames] == bytes([(i + 2) % 256]) * frames
            memset(made[i].buffer, 0xFF, larger)
    for i in range(count):
        delete(&made[i])
        assert made[i].own.slot == NULL
    free(made)
