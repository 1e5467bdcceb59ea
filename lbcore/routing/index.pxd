from lbcore.http.head cimport RequestHead

cdef class RouteIndex:
    cdef list routes
    cdef object find(self, RequestHead* head)
