# Who asks for a server: what choosing goes by, at layer 7, at layer 4, and for datagrams.

from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request


cdef class Asker:
    cdef const ClientAddress* address  # of the client, as long as the exchange or connection lives; NULL = not known
    cdef Request request               # None at layer 4
