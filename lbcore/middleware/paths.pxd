# A path in place of another one, for middlewares that rewrite or redirect.


cdef class Replacement:
    cdef bytes path            # in normal form; empty: the root
    cdef bytes prefix          # in place of which it comes, without a slash at its end
    cdef bint is_whole         # it comes in place of all of the path

    cdef bytes of(self, bytes path)
