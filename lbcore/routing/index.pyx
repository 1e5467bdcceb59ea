from lbcore.http.head cimport RequestHead

cdef class RouteIndex:
    def __init__(self, routes):
        self.routes = list(routes)
    cdef object find(self, RequestHead* head):
        return self.routes[0] if self.routes else None
