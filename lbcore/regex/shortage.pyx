"""Searches that could not be made for want of memory: what searches without an exception of its own asks here afterwards."""

cdef bint short = False


cdef void note_shortage() noexcept nogil:
    """A search has found nothing for want of memory alone."""
    global short
    short = True


cdef int check_shortage() except -1:
    """Raise MemoryError if there was such a search since the last call."""
    global short
    if short:
        short = False
        raise MemoryError("no memory for the text that a regular expression is to match")
    return 0
