"""The memory of the libraries that lbcore loads: blocks of the heap, of which freed ones are kept for the next request.

A TLS handshake allocates and frees some 650 blocks, a stream of HTTP/2 some 20. libc keeps seven freed blocks of a size at hand, and
merges and splits the others, which costs several times as much. Here freed blocks are kept by size, up to a limit, for one thread:
the one of the data plane. To other threads, and for what is kept no more, the functions are those of libc, whose blocks all of
these are: it does not matter which thread frees a block. In a build with sanitizers, which watch the heap, nothing is kept.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from lbcore.http.sanitizer cimport POOLS

cdef extern from * nogil:
    """
    #include <malloc.h>
    #include <pthread.h>
    #include <stdint.h>
    #include <stdlib.h>

    /* The calling thread, in one instruction where the compiler knows how. */
    #if defined(__has_builtin)
    #if __has_builtin(__builtin_thread_pointer)
    #define lbcore_this_thread() ((uintptr_t)__builtin_thread_pointer())
    #endif
    #endif
    #ifndef lbcore_this_thread
    #define lbcore_this_thread() ((uintptr_t)pthread_self())
    #endif

    /* malloc_usable_size looks at the header of the block behind, too, which is not in the cache. glibc has the size in front of the
       block, with flags in the lowest three bits; lbcore_try_sizes finds out whether that is so in this process. */
    static int lbcore_reads_sizes = 0;

    static inline size_t lbcore_size_before(void *block) {
        __asm__("" : "+r"(block));     /* the compiler is not to know that the block begins here */
        return ((const size_t *)block)[-1] & ~(size_t)7;
    }

    static inline size_t lbcore_whole_size(void *block) {
        return lbcore_reads_sizes ? lbcore_size_before(block) : malloc_usable_size(block) + 8;
    }

    static void lbcore_try_sizes(void) {
    #if defined(__GLIBC__) && defined(__LP64__) && !defined(__SANITIZE_ADDRESS__)
        void *blocks[64];
        int i, same = 1;
        for (i = 0; i < 64; i++) {
            blocks[i] = malloc((size_t)(i * i * 8 + i));
            same = same && blocks[i] != NULL && lbcore_size_before(blocks[i]) == malloc_usable_size(blocks[i]) + 8;
        }
        for (i = 0; i < 64; i++)
            free(blocks[i]);
        lbcore_reads_sizes = same;
    #endif
    }
    """
    size_t this_thread "lbcore_this_thread"()
    size_t whole_size "lbcore_whole_size"(void* block)
    void try_sizes "lbcore_try_sizes"()
    size_t malloc_usable_size(void* block)
    void prefetch "__builtin_prefetch"(const void* block, int writes)

cdef enum:
    STEP_BYTES = 16
    EXTRA_BYTES = 8            # libc's own in front of each block, whose sizes with these are whole steps
    LEAST_STEPS = 2            # of libc's smallest block
    CLASSES = 1537             # sizes in steps: up to 24 KiB, above the largest buffer of OpenSSL
    KEPT_BYTES = 4194304       # most bytes in kept blocks

cdef struct Kept:
    Kept* next

cdef Kept* kept[CLASSES]       # freed blocks by size with EXTRA_BYTES, in steps
cdef size_t kept_bytes = 0
cdef size_t keeper = 0         # the thread that they are kept for; 0 = none yet

try_sizes()


cdef void heap_adopt() noexcept nogil:
    """Keep freed blocks for the calling thread, unless there is one that they are kept for."""
    global keeper
    if POOLS and keeper == 0:
        keeper = this_thread()


cdef void* heap_take(size_t size) noexcept nogil:
    """As malloc."""
    global kept_bytes
    cdef size_t steps = max(<size_t>LEAST_STEPS, (size + EXTRA_BYTES + STEP_BYTES - 1) // STEP_BYTES)
    cdef Kept* block
    if steps < CLASSES and this_thread() == keeper:
        block = kept[steps]
        if block != NULL:
            kept[steps] = block.next
            prefetch(block.next, 1)        # the next block of this size: with many streams at once it has left the cache
            kept_bytes -= steps * STEP_BYTES
            return block
    return malloc(steps * STEP_BYTES - EXTRA_BYTES)


cdef void heap_give(void* block) noexcept nogil:
    """As free."""
    global kept_bytes
    cdef size_t steps
    if block == NULL:
        return
    if this_thread() == keeper:
        steps = whole_size(block) // STEP_BYTES
        if steps < CLASSES and kept_bytes + steps * STEP_BYTES <= KEPT_BYTES:
            (<Kept*>block).next = kept[steps]
            kept[steps] = <Kept*>block
            kept_bytes += steps * STEP_BYTES
            return
    free(block)


cdef void* heap_resize(void* block, size_t size) noexcept nogil:
    """As realloc."""
    cdef size_t room
    cdef void* moved
    if block == NULL:
        return heap_take(size)
    if size == 0:
        heap_give(block)
        return NULL
    room = malloc_usable_size(block)
    if room // 2 < size <= room:
        return block
    moved = heap_take(size)
    if moved != NULL:
        memcpy(moved, block, min(room, size))
        heap_give(block)
    return moved


# For libraries that take an allocator

cdef void* allocate(size_t size, void* data) noexcept nogil:
    return heap_take(size)


cdef void release(void* block, void* data) noexcept nogil:
    heap_give(block)


cdef void* allocate_zeroed(size_t count, size_t size, void* data) noexcept nogil:
    cdef void* block = NULL
    if size == 0 or count <= <size_t>-1 // size:
        block = heap_take(count * size)
    if block != NULL:
        memset(block, 0, count * size)
    return block


cdef void* resize(void* block, size_t size, void* data) noexcept nogil:
    return heap_resize(block, size)


cdef LibraryMemory memory
fill_memory(&memory)


cdef void fill_memory(LibraryMemory* memory) noexcept nogil:
    """Make it an allocator of these blocks."""
    memory.data = NULL
    memory.allocate = allocate
    memory.release = release
    memory.allocate_zeroed = allocate_zeroed
    memory.resize = resize


cdef const LibraryMemory* library_memory() noexcept nogil:
    """An allocator of these blocks; it lasts as long as the process."""
    return &memory


def bytes_kept() -> int:
    """Bytes in kept blocks, for a report."""
    return kept_bytes
