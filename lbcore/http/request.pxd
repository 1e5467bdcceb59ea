# A request head: parsed, validated, and changed by middlewares until it is forwarded.

from lbcore.http.head cimport ClientAddress, RequestHead
from lbcore.http.message cimport Message
from lbcore.http.path cimport PathOptions
from lbcore.http.span cimport Span


cdef enum AliasStrategy:       # the treatment of headers whose name servers may take for another name: see `is_alias`
    ALIAS_KEEP = 0
    ALIAS_DELETE
    ALIAS_REJECT

cdef struct RequestPolicy:     # options of an entry point
    Py_ssize_t max_header_bytes
    Py_ssize_t max_header_lines
    PathOptions path
    int aliases                # AliasStrategy
    bint underscores_only      # only `_` makes a name an alias

cdef enum TargetForm:
    TARGET_ORIGIN = 0          # /path?query
    TARGET_ABSOLUTE            # http://authority/path
    TARGET_ASTERISK            # OPTIONS *


cdef class Request(Message):
    cdef RequestHead head      # its spans point into the arena; `headers` and `client` at fields of this object
    cdef int target_form       # TargetForm
    cdef bint is_head          # the method is HEAD
    cdef Span forwarded_host   # Host for the server in place of the client's, in the arena or a constant; empty when not set
    cdef bint is_last_hop      # lbcore answers it: `OPTIONS *`, or OPTIONS and TRACE with Max-Forwards 0
    cdef bint lacks_host       # the request is refused because it has no Host
    cdef bint has_host         # a Host header was sent; HTTP/1.0 may omit it
    cdef Message trailers      # the trailer section; None until one was parsed, empty when the request has none
    cdef bytes tls_subject     # of the client's certificate; None without one. Set anew for each request by the connection
    cdef tuple tls_chain       # the client's certificates, its own first, each as the base64 of its DER; None or empty without one
    cdef bytes user            # that the client is, or says to be; None = nobody has looked
    cdef bint from_grpc_web    # a middleware has made a call of gRPC of it
    cdef ClientAddress address # of the client; all zero when nothing is known

    cdef inline Span present_host(self) noexcept nogil:
        """The Host after all middlewares so far."""
        return self.forwarded_host if self.forwarded_host.len else self.head.authority

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t length, Py_ssize_t seen, const RequestPolicy* policy) noexcept
    cdef int add_header(self, Span name, Span value) except -1
    cdef int add_own(self, Span name, Span value) except -1
    cdef int set_header(self, Span name, Span lower, Span value) except -1
    cdef void drop_managed(self) noexcept
    cdef int drop_listed(self, frozenset visible) except -1
    cdef Message trailer_section(self)
    cdef Message trailers_to_forward(self)
    cdef void settle_connection(self) noexcept
    cdef int note_forwarded(self) except -1
    cdef void release_aliases(self) noexcept
    cdef int follow_path(self) except -1
    cdef void clear(self) noexcept
    cdef int copy(self, Request other) except -1
    cdef int refer_to(self, Request other) except -1
    cdef void set_client(self, const ClientAddress* address) noexcept
    cdef void drop_body(self) noexcept
    cdef int say_empty(self) except -1
    cdef int set_body(self, Py_ssize_t length) except -1
    cdef bint is_idempotent(self) noexcept
    cdef int malformed_status(self, const char* data, Py_ssize_t length) noexcept
    cdef int classify(self, const RequestPolicy* policy) noexcept
    cdef int count_hop(self) noexcept
    cdef int read_target(self, const RequestPolicy* policy) noexcept
    cdef void lower_host(self) noexcept


cdef list announced_trailers(Request request)
