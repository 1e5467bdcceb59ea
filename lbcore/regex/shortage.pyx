"""Searches that could not be made for want of memory: what searches without an exception of its own asks here afterwards."""

cdef bint short = False


cdef void note_shortage() noexcept nogil:
    """A search has found nothing for want of memory alone."""
    global short
    short = True


cdef bint take_shortage() noexcept nogil:
    """Whether there was such a search since the last call."""
    global short
    cdef bint was = short
    if was:
        short = False
    return was
