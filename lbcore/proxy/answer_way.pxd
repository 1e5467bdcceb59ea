# The way of an answer to the client.

from libc.stdint cimport uint64_t

from lbcore.middleware.base cimport Pending, Reply
from lbcore.proxy.explainer cimport Explanation
from lbcore.proxy.way_back cimport WayBack
from lbcore.http.sink cimport Filter, Sink
from lbcore.routing.route cimport Route
from lbcore.proxy.attempts cimport Attempting


cdef enum Sender:                      # what sends the rest of an answer whose head was sent
    SENDER_STREAM = 0                  # the server's stream reads it, and puts it into `answer_sink`
    SENDER_EXCHANGE                    # the exchange has it, and has put what the client takes: it may be over
    SENDER_WAITS                       # none so far: the answer waits in a middleware, and its head was not sent


cdef class Hold(Reply):                # that a filter has on the head of an answer, until it has been settled
    cdef Filter filter


cdef class AnswerWay(Attempting):
    cdef Route route                   # None until one matched
    cdef Py_ssize_t passed             # middlewares of it that let the request through: these see the answer
    cdef WayBack way_back
    cdef Sink answer_filters           # the first filter of the chain that ends at `client`, or `client`; set with the answer
    cdef Hold hold                     # None = no middleware holds the head of the answer back
    cdef Filter shut                   # has let the head go, and keeps the body until that is sent or held by another one; None = no filter has
    cdef bint answer_ended             # the answer's end was put, into `answer_sink`
    cdef Explanation explanation       # None = none is asked for
    cdef uint64_t started_ns           # monotonic; exact where the entry point has an observer, else that of the batch of events

    cdef int send_answer(self) except -1
    cdef int send_middlewares_answer(self) except -1
    cdef int note_refusal(self, Py_ssize_t step, int status) except -1
    cdef int note_refused_body(self, Sink sink, int status) except -1
    cdef int frame_answer(self) except -1
    cdef int go_back(self, Pending settled) except -1
    cdef int go_on_back(self, Pending settled) except -1
    cdef int begin_way_back(self) except -1
    cdef int replace_answer(self) except -1
    cdef int drop_filters(self) except -1
    cdef int let_head_go(self) except -1
    cdef int open_filters(self) except -1
    cdef int put_head(self) except -1
    cdef int put_answer(self) except -1
    cdef int finish(self) except -1
    cdef dict outcome(self)
    cdef list verdicts(self, bint answered)
    cdef int set_cookies(self) except -1
    cdef int tell_observer(self) except -1
    cdef int tell_attempts(self) except -1
