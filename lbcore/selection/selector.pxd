# The interface of everything that picks, algorithms and wrappers around them.


cdef class Selector:
    pass
