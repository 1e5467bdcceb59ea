# The asker: the properties of a client by which services choose, at layer 7, at layer 4, and for datagrams.

from lbcore.http.head cimport ClientAddress
from lbcore.http.request cimport Request


cdef class Asker:
    cdef const ClientAddress* address  # of the client; owned by the exchange or connection, valid until its end; NULL = not known
    cdef Request request               # None at layer 4
