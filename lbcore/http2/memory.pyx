"""The memory of libnghttp2's sessions.

A session allocates 16 KiB for the frame that it encodes, and most write no more than a few hundred bytes of them. From the heap, such a
block would lie where others have written before. Here it begins on a page of its own, so that pages which are never written take no
memory: an idle connection costs one of its five.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from lbcore.http.sanitizer cimport POOLS

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, long offset)
    int madvise(void* address, size_t size, int advice)
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MADV_DONTNEED
        MADV_NOHUGEPAGE

cdef enum:
    PAGE_BYTES = 4096
    LEAST_BYTES = 16384        # smaller blocks come from the heap, and larger ones than a slot
    SLOT_BYTES = 20480
    AREA_SLOTS = 256
    KEPT_SLOTS = 64            # free ones that keep their pages

cdef char** areas = NULL       # each of AREA_SLOTS; they stay for the life of the process
cdef Py_ssize_t area_count = 0
cdef char** unused = NULL      # free slots, with room for all; the last KEPT_SLOTS at most have pages
cdef Py_ssize_t unused_count = 0


cdef bint add_area() noexcept:
    """Map another area. Returns False without memory."""
    global areas, area_count, unused, unused_count
    cdef void* moved = realloc(areas, (area_count + 1) * sizeof(char*))
    cdef char* area
    cdef Py_ssize_t i
    if moved == NULL:
        return False
    areas = <char**>moved
    moved = realloc(unused, (area_count + 1) * AREA_SLOTS * sizeof(char*))
    if moved == NULL:
        return False
    unused = <char**>moved
    area = <char*>mmap(NULL, AREA_SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if area == <char*>-1:
        return False
    madvise(area, AREA_SLOTS * SLOT_BYTES, MADV_NOHUGEPAGE)
    areas[area_count] = area
    area_count += 1
    for i in range(AREA_SLOTS):
        unused[unused_count] = area + (AREA_SLOTS - 1 - i) * SLOT_BYTES
        unused_count += 1
    return True


cdef bint is_slot(void* block) noexcept:
    cdef Py_ssize_t i
    if <uintptr_t>block % PAGE_BYTES:
        return False                   # as nearly all blocks of the heap
    for i in range(area_count):
        if areas[i] <= <char*>block < areas[i] + AREA_SLOTS * SLOT_BYTES:
            return True
    return False


cdef void* allocate(size_t size, void* data) noexcept:
    global unused_count
    if LEAST_BYTES <= size <= SLOT_BYTES and (unused_count or add_area()):
        unused_count -= 1
        return unused[unused_count]
    return malloc(size)


cdef void release(void* block, void* data) noexcept:
    global unused_count
    if not is_slot(block):
        free(block)
        return
    if unused_count >= KEPT_SLOTS:
        madvise(block, SLOT_BYTES, MADV_DONTNEED)
    unused[unused_count] = <char*>block
    unused_count += 1


cdef void* allocate_zeroed(size_t count, size_t size, void* data) noexcept:
    return calloc(count, size)


cdef void* resize(void* block, size_t size, void* data) noexcept:
    cdef void* moved
    if not is_slot(block):
        return realloc(block, size)
    if size <= SLOT_BYTES:
        return block
    moved = malloc(size)
    if moved != NULL:
        memcpy(moved, block, SLOT_BYTES)
        release(block, data)
    return moved


cdef Memory memory
memory.data = NULL
memory.allocate = allocate
memory.release = release
memory.allocate_zeroed = allocate_zeroed
memory.resize = resize


cdef Memory* session_memory() noexcept:
    """The allocator for a session; NULL: the heap, where a sanitizer looks after it."""
    return &memory if POOLS else NULL
