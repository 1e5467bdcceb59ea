# The memory of one session of libnghttp2.

from lbcore.http.heap cimport LibraryMemory

cdef struct SessionMemory:     # outlives its session
    char* slot                 # owned, SLOT_BYTES: what the session makes at its beginning; NULL = there is none
    size_t used                # bytes of it
    int parts                  # blocks in it that were not given back
    bint is_making             # the session is being made, and its buffer for frames is still to come

cdef long page_bytes           # of the kernel; tests set it


cdef void own_memory(SessionMemory* own, LibraryMemory* memory) noexcept nogil
cdef void memory_is_owned(SessionMemory* own) noexcept nogil
