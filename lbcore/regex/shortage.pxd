# Searches that could not be made for want of memory.

cdef void note_shortage() noexcept nogil
cdef bint take_shortage() noexcept nogil
