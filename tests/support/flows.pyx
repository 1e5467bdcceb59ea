"""The output of a session of HTTP/3, without a connection."""

from libc.string cimport memset

from lbcore.transport.flow cimport Flow
from lbcore.transport.http3_session cimport Http3Session


def goes_on(*, Py_ssize_t waiting, Py_ssize_t unacknowledged, Py_ssize_t of_others) -> bool:
    """Whether the source of a flow that was full continues.

    waiting         bytes of its output that were not sent.
    unacknowledged  bytes that were; of_others: those of other flows.
    """
    cdef Http3Session session = Http3Session.__new__(Http3Session)
    cdef Flow flow
    memset(&flow, 0, sizeof(flow))
    flow.full = True
    flow.output.waiting = session.buffered = waiting
    flow.output.unacknowledged = unacknowledged
    session.unacknowledged = unacknowledged + of_others
    session.give_room(&flow)
    session.first_ready = session.last_ready = NULL
    return not flow.full
