# The spans of an exchange: see the module.

from lbcore.http.request cimport Request
from lbcore.middleware.base cimport Reply
from lbcore.proxy.exchange cimport Exchange
from lbcore.routing.guarded cimport Guarded
from lbcore.routing.route cimport Route


cdef int begin_trace(Exchange exchange, bint detailed) except -1
cdef int enter_router(Exchange exchange, Route route) except -1
cdef int enter_middleware(Exchange exchange, Route route, Py_ssize_t step) except -1
cdef int enter_gate(Exchange exchange, Guarded gate, Py_ssize_t step) except -1
cdef int trace_attempt(Exchange exchange) except -1
cdef int name_attempt(Exchange exchange) except -1
cdef int trace_answer(Exchange exchange) except -1
cdef int trace_question(Exchange exchange, Request question, str address) except -1
cdef int trace_reply(Exchange exchange, Reply reply) except -1
cdef int end_trace(Exchange exchange, list attempts) except -1
