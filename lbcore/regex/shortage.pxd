# Searches that could not be made for want of memory.

cdef void note_shortage() noexcept nogil
cdef int check_shortage() except -1
