"""The memory of one session of libnghttp2.

A session is a structure of some 2.5 KiB, tables, and a buffer of 16 KiB for the longest frame that it may send, of which it writes no
more than a few hundred bytes. They lie in a slot of whole pages, the buffer last: it begins in the page of the structure, and the
pages behind take no memory until they are written. In a block of libc's heap they would: freed blocks of others have lain there, and
the head of the next block stands in the last page.

In a build with the address sanitizer, all of a slot is hidden but the blocks that are in use.
"""

from libc.stdlib cimport realloc
from libc.string cimport memcpy, memset

from lbcore.http.heap cimport LibraryMemory, fill_memory, heap_give, heap_resize, heap_take
from lbcore.http.sanitizer cimport GAP_BYTES, POOLS, first_hidden, hide, show

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t size, int protection, int flags, int fd, ssize_t offset)
    int madvise(void* address, size_t size, int advice)
    void* MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MADV_DONTNEED, MADV_NOHUGEPAGE

cdef extern from "<unistd.h>" nogil:
    long sysconf(int name)
    int _SC_PAGESIZE

cdef enum:
    PAGE_BYTES = 4096
    STEP_BYTES = 16
    FREED = 0xDD                               # in a free slot in a build with sanitizers: the library itself is not watched
    SLOT_BYTES = 20480         # five pages: one, and the longest frame with its head
    FRAME_BYTES = 16384        # payload of that: no other block of a new session is as large
    FIRST_BYTES = 3584         # of the first page for other blocks; the rest is for frames, of which few are longer
    SLOTS = 64                 # that are had from the kernel at a time
    WARM_SLOTS = 64            # most free ones whose pages are kept

cdef char** spare = NULL       # free slots, room for all that there are
cdef size_t spare_count = 0
cdef size_t slot_count = 0     # all that there are
page_bytes = sysconf(_SC_PAGESIZE)


cdef bint make_slots() noexcept nogil:
    """More free slots. False: there is no memory."""
    global spare, spare_count, slot_count
    cdef void* moved = realloc(spare, (slot_count + SLOTS) * sizeof(char*))
    cdef void* region
    cdef int i
    if moved == NULL:
        return False
    spare = <char**>moved
    region = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if region == MAP_FAILED:
        return False
    madvise(region, SLOTS * SLOT_BYTES, MADV_NOHUGEPAGE)           # a huge page would be taken as a whole
    hide(region, SLOTS * SLOT_BYTES)
    for i in range(SLOTS):
        spare[spare_count] = <char*>region + i * SLOT_BYTES
        spare_count += 1
    slot_count += SLOTS
    return True


cdef void empty_pages(char* start, size_t size) noexcept nogil:
    """Have pages of a slot take no memory until they are written. Where those of the kernel are larger, as 16 or 64 KiB are with ARM, it
    would empty what lies in the same page: other slots."""
    if page_bytes == PAGE_BYTES:
        madvise(start, size, MADV_DONTNEED)


cdef char* take_slot() noexcept nogil:
    """A slot of which no page but the first takes memory. NULL: there is none."""
    global spare_count
    if spare_count == 0 and not make_slots():
        return NULL
    spare_count -= 1
    empty_pages(spare[spare_count] + PAGE_BYTES, SLOT_BYTES - PAGE_BYTES)
    return spare[spare_count]


cdef void give_slot(char* slot) noexcept nogil:
    global spare_count
    if not POOLS:
        show(slot, SLOT_BYTES)
        memset(slot, FREED, SLOT_BYTES)
        hide(slot, SLOT_BYTES)
    if spare_count >= WARM_SLOTS:
        empty_pages(slot, SLOT_BYTES)
    spare[spare_count] = slot
    spare_count += 1


cdef bint is_within(const SessionMemory* own, const void* block) noexcept nogil:
    return own.slot != NULL and own.slot <= <const char*>block < own.slot + SLOT_BYTES


cdef void* take_part(SessionMemory* own, size_t size, size_t limit) noexcept nogil:
    """The next bytes of the slot, or a block of the heap if they would end behind `limit`."""
    cdef size_t start = own.used
    if own.slot == NULL or size > limit - start:
        return heap_take(size)
    own.used = min(<size_t>SLOT_BYTES, start + (size + STEP_BYTES - 1) // STEP_BYTES * STEP_BYTES + GAP_BYTES)
    own.parts += 1
    show(own.slot + start, size)
    return own.slot + start


cdef size_t size_of_part(SessionMemory* own, char* part) noexcept nogil:
    """The bytes of a block in the slot; without sanitizers, those up to the slot's end."""
    cdef char* end = first_hidden(part, <size_t>(own.slot + SLOT_BYTES - part))
    return <size_t>((own.slot + SLOT_BYTES if end == NULL else end) - part)


cdef void* allocate(size_t size, void* data) noexcept nogil:
    cdef SessionMemory* own = <SessionMemory*>data
    if own.is_making and own.used < FIRST_BYTES:
        return take_part(own, size, FIRST_BYTES)
    return heap_take(size)


cdef void* allocate_zeroed(size_t count, size_t size, void* data) noexcept nogil:
    cdef void* block = NULL
    if size == 0 or count <= <size_t>-1 // size:
        block = allocate(count * size, data)
    if block != NULL:
        memset(block, 0, count * size)
    return block


cdef void* resize(void* block, size_t size, void* data) noexcept nogil:
    cdef SessionMemory* own = <SessionMemory*>data
    cdef void* moved
    if block == NULL:                          # the library makes its buffers so
        if not own.is_making or size < FRAME_BYTES:
            return allocate(size, data)
        own.is_making = False
        return take_part(own, size, SLOT_BYTES)
    if not is_within(own, block):
        return heap_resize(block, size)
    moved = heap_take(size)
    if moved != NULL:
        memcpy(moved, block, min(size, size_of_part(own, <char*>block)))
        release(block, data)
    return moved


cdef void release(void* block, void* data) noexcept nogil:
    cdef SessionMemory* own = <SessionMemory*>data
    if not is_within(own, block):
        heap_give(block)
        return
    if not POOLS:
        memset(block, FREED, max(<size_t>1, size_of_part(own, <char*>block)))      # one that is free already is hidden
        hide(block, size_of_part(own, <char*>block))
    own.parts -= 1
    if own.parts == 0:
        give_slot(own.slot)
        own.slot = NULL


cdef void own_memory(SessionMemory* own, LibraryMemory* memory) noexcept nogil:
    """Make `memory` the allocator of one session, which is made next; `memory_is_owned` is to be called when that is done.

    The session copies the allocator, and refers to `own` until it is deleted.
    """
    fill_memory(memory)
    own.slot = take_slot()
    own.used = 0
    own.parts = 0
    own.is_making = own.slot != NULL
    memory.data = own
    memory.allocate = allocate
    memory.allocate_zeroed = allocate_zeroed
    memory.resize = resize
    memory.release = release


cdef void memory_is_owned(SessionMemory* own) noexcept nogil:
    """The session was made, or could not be made: what it asks for from here on are blocks of the heap."""
    own.is_making = False
    if own.slot != NULL and own.parts == 0:
        give_slot(own.slot)
        own.slot = NULL
