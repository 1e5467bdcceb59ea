# One exchange from its first byte to its last.

from cpython.object cimport PyObject

from lbcore.middleware.base cimport Pending
from lbcore.proxy.entry_point cimport EntryPoint
from lbcore.proxy.answer_way cimport AnswerWay
from lbcore.proxy.exchange cimport ClientStream, Dialer, Exchange


cdef class WholeExchange(AnswerWay):
    cdef int run_middlewares(self, Pending settled) except -1
    cdef bint descend(self) except -1
    cdef int trace_router(self) except -1
    cdef void end_steps(self, Py_ssize_t step) noexcept
    cdef int call_ends(self, Py_ssize_t step, PyObject** ending) except -1


cdef Exchange exchange_take(EntryPoint entry_point, ClientStream client, Dialer dialer)
cdef void exchange_give(Exchange exchange) noexcept
