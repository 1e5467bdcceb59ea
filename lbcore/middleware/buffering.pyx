"""buffering: bodies are read whole before they go on, in memory or a file; answers that are not wanted are asked for again. No I/O
but that of the files."""

cimport cython
from libc.stdint cimport int64_t

from lbcore.http.framing cimport BODY_LENGTH, BODY_NONE
from lbcore.http.number cimport put_decimal
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.http.span cimport span_bytes, span_of
from lbcore.middleware.base cimport ANSWER, PASS, WAIT, Context, Middleware, Pending, Tries
from lbcore.middleware.spool cimport RequestSpool, Spool

from lbcore.middleware.expression import Function, compile_condition

cdef enum:
    MEMORY_BYTES = 1048576     # of a body, if the configuration says nothing
    MOST_ATTEMPTS = 11

cdef bytes TOO_LARGE = b"Request Entity Too Large"


cdef class Attempted:
    """What a retryExpression is about."""

    cdef readonly int attempts
    cdef readonly int status
    cdef readonly str method

    @property
    def failed(self) -> bool:
        """Whether no server has answered."""
        return self.status == 502 or self.status == 504


@cython.final
cdef class Wishes(Tries):
    """Of one exchange: an answer is dropped while an expression is true."""

    cdef object condition
    cdef str method

    cdef bint repeats(self, Request request) noexcept:
        return True

    cdef bint drops(self, int status, int made) noexcept:
        cdef Attempted attempted = Attempted.__new__(Attempted)
        attempted.attempts, attempted.status, attempted.method = made, status, self.method
        return self.condition(attempted)


@cython.final
cdef class AnswerSpool(Spool):
    """Holds the head back as well: it says the length, or the answer is another one.

    It says none in front of trailers, for which HTTP/1 needs chunks, and which a stream could not get that ends with its head.
    """

    cdef Context context               # the exchange, which outlives the filter's use
    cdef Response response

    cdef int whole(self) except -1:
        cdef Response response = self.response
        cdef char* digits
        if self.trailers is not None:
            return self.context.release_head()
        digits = response.alloc(20)
        response.drop(b"content-length", 14)
        response.append(span_of(b"Content-Length", 14), span_of(digits, put_decimal(digits, self.size) - digits))
        response.framing.body = BODY_LENGTH if self.size else BODY_NONE
        response.framing.length = self.size
        return self.context.release_head()


@cython.final
cdef class Buffering(Middleware):
    """The `buffering` middleware of Traefik."""

    cdef int64_t most_request, memory_request, most_answer, memory_answer
    cdef object condition              # None = the first answer is the client's

    def __init__(self, str name, config):
        self.name = name
        self.sees_answer = True
        self.most_request, self.most_answer = config.max_request_body_bytes, config.max_response_body_bytes
        self.memory_request = config.mem_request_body_bytes or MEMORY_BYTES
        self.memory_answer = config.mem_response_body_bytes or MEMORY_BYTES
        if config.retry_expression:
            self.condition = compile_condition(config.retry_expression, {
                "Attempts": Function(int, (), lambda: lambda seen: seen.attempts),
                "ResponseCode": Function(int, (), lambda: lambda seen: seen.status),
                "IsNetworkError": Function(bool, (), lambda: lambda seen: seen.failed),
                "RequestMethod": Function(str, (), lambda: lambda seen: seen.method),
            })

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef RequestSpool spool
        cdef Wishes wishes
        if request.framing.upgrade:
            return PASS
        if self.condition is not None and context.state() is None:
            wishes = Wishes(MOST_ATTEMPTS, goes_on=True)
            wishes.sees_answers = True
            wishes.condition, wishes.method = self.condition, span_bytes(request.head.method).decode("latin-1")
            context.set_tries(wishes)
        if request.framing.body == BODY_NONE:
            return PASS
        if request.framing.body == BODY_LENGTH and 0 < self.most_request < request.framing.length:
            answer.status = 413
            answer.text = span_of(TOO_LARGE, len(TOO_LARGE))
            return ANSWER
        spool = RequestSpool.__new__(RequestSpool)
        spool.wait(context, self.memory_request, self.most_request, 413)
        return WAIT

    cdef int on_settled(self, Request request, Response answer, Context context, Pending pending) except -1:
        cdef RequestSpool spool = <RequestSpool>context.state()
        if pending.expired:
            answer.status = 408
            return ANSWER
        request.set_body(<Py_ssize_t>spool.size)
        return PASS

    cdef int on_response(self, Request request, Response answer, Context context) except -1:
        cdef AnswerSpool spool
        if answer.framing.body == BODY_NONE or answer.status < 200:
            return PASS
        spool = AnswerSpool.__new__(AnswerSpool)
        spool.memory_bytes, spool.most_bytes, spool.refusal = self.memory_answer, self.most_answer, 500
        spool.budget = context.budget()
        spool.context, spool.response = context, answer
        context.add_answer_filter(spool)
        return context.hold_head()
