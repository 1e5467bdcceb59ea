# Sockets whose bytes are those of a stream.

from lbcore.transport.flow cimport Flow, FlowSession
from lbcore.transport.socket cimport OwnedSocket, Transport


cdef class FlowTransport(Transport):
    cdef FlowSession session
    cdef Flow* flow                    # of `stream`
    cdef object stream                 # kept alive; None after `shut`


cdef OwnedSocket flow_socket(FlowSession session, Flow* flow)
