# Why an exchange went where it went, for clients that may know.

from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.routing.decision cimport Decision
from lbcore.routing.route cimport Route


cdef class Explainer:
    cdef bytes header                  # as it is written in answers
    cdef bytes lower
    cdef bytes secret
    cdef list order                    # (Rule, Route) of the entry point, as they are tried without TLS
    cdef list encrypted_order          # likewise, over TLS


cdef class Explanation:
    cdef Explainer explainer
    cdef EntryPoint entry_point
    cdef Route route                   # None = none matched
    cdef Decision decision             # of the exchange, which owns this
    cdef list before                   # routers that were tried and do not match
    cdef Py_ssize_t unnamed            # more of them
    cdef set replaced                  # steps of middlewares that have put another answer in place of one on its way back

    cdef int put(self, Request request, Response response, dict outcome) except -1
    cdef bytes text(self, Request request, dict outcome)


cdef Explanation explain_if_asked(EntryPoint entry_point, Route route, Request request, Decision decision)
