# The one type of everything that picks: algorithms, and what is around them.


cdef class Selector:
    pass
