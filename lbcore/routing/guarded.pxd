# A service with middlewares in front of it.

from lbcore.routing.service cimport Service


cdef class Guarded(Service):
    cdef readonly tuple middlewares    # Middleware
    cdef readonly Service service
    cdef readonly tuple spans          # name and attributes of the spans of its middlewares, as `Route.spans`; None = no trace is detailed
    cdef tuple span_texts              # likewise, encoded; None until the first trace
