# Views on the heads of an exchange, for classes in Python: open during a call, closed after it; and answers of such a class.

from lbcore.http.message cimport Message
from lbcore.http.request cimport Request as RequestHead
from lbcore.http.response cimport Response as ResponseHead
from lbcore.http.span cimport Span
from lbcore.middleware.base cimport Context
from lbcore.state.budget cimport MemoryBudget


cdef class Head:
    cdef Message message       # the head, which outlives the view's use: the exchange's until `close`, or the view's own; None = the call is over

    cdef int set_line(self, Span name, Span lower, Span value) except -1
    cdef int add_line(self, Span name, Span value) except -1
    cdef int drop_lines(self, Span name, Span lower) except -1


cdef class Request(Head):
    cdef Context context       # of the exchange; None for a request that is not of one
    cdef dict kept             # `state`, as far as it was asked for; else None
    cdef bytes content         # the body, if the class asks for bodies
    cdef MemoryBudget budget   # of which `content` is a part until `close`; None: it is not

    cdef RequestHead head(self)
    cdef int open(self, RequestHead head, Context context) except -1
    cdef void close(self) noexcept


cdef class Response(Head):
    cdef bytes content         # the body of an answer of the class' own; None for a view

    cdef ResponseHead head(self)
    cdef int open(self, ResponseHead head) except -1
    cdef void close(self) noexcept
    cdef int put(self, ResponseHead answer) except -1
