"""What a class in Python sees of an exchange: views on the heads of request and answer; and the answers that it makes. No I/O.

A view reads and changes a head where it lies: a text is made when it is asked for. It is open during a call, that of an async method
until it has ended or was cancelled. Any use of a closed view raises RuntimeError: the head may be that of another exchange by then.
What is written is checked first: nothing that a class sets can end a line, or change where a message ends.
"""

from urllib.parse import quote, urlsplit

cimport cython
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t

from lbcore.http.head cimport RequestHead as HeadOfRequest
from lbcore.http.known cimport H_DROPPED, H_HOST, H_OWN, is_managed
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request as RequestHead
from lbcore.http.response cimport Response as ResponseHead
from lbcore.http.span cimport Span, ascii_lower, span_of
from lbcore.middleware.base cimport Context

from lbcore.config.middlewares.headers import OF_CONNECTIONS
from lbcore.http.path import normalise

cdef enum:
    LEAST_STATUS = 200         # of an answer that a class makes: interim ones are not final
    MOST_STATUS = 599

cdef frozenset TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
cdef frozenset OF_LBCORE = frozenset(name.encode() for name in OF_CONNECTIONS) | {b"expect"}
cdef frozenset WITHOUT_BODY = frozenset((101, 204, 205, 304))
cdef object NONE = object()    # no default was given
cdef str PRINTABLE = "".join(map(chr, range(33, 127)))


cdef str text_of(Span span):
    """As text: what is not UTF-8 comes back unchanged when it is set."""
    return PyUnicode_DecodeUTF8(span.ptr, span.len, b"surrogateescape") if span.len else ""


cdef bytes data_of(str text):
    return text.encode("utf-8", "surrogateescape")


cdef bytes name_of(str name):
    """The name of a header that may be set. Raises ValueError."""
    cdef bytes found = data_of(name)
    if not found or not TOKEN.issuperset(found):
        raise ValueError(f"{name!r} is not the name of a header")
    if found.lower() in OF_LBCORE:
        raise ValueError(f"{name}: lbcore writes it as the connection needs it")
    return found


cdef bytes value_of(str name, str value):
    """The value of a header, without surrounding white space. Raises ValueError for one that ends the line, or has other controls."""
    cdef bytes found = data_of(value).strip(b" \t")
    cdef uint8_t byte
    for byte in found:
        if (byte < 32 and byte != 9) or byte == 127:
            raise ValueError(f"control characters in the value of {name}")
    return found


cdef bytes part_of(str what, str text):
    """A part of a request line. Raises ValueError for one that would end it."""
    cdef bytes found = data_of(text)
    cdef uint8_t byte
    for byte in found:
        if byte <= 32 or byte == 127:
            raise ValueError(f"white space or control characters in {what}")
    return found


cdef Span kept(Message message, bytes data) except *:
    return message.keep(span_of(data, len(data)))


cdef inline bint is_line(Message message, Py_ssize_t i) noexcept:
    """Whether there is such a header, for servers as well: one that was removed may leave an empty line behind."""
    cdef uint8_t kind = message.kinds[i]
    return kind != H_DROPPED and not (kind & H_OWN and is_managed(kind & <uint8_t>(~H_OWN)) and message.headers[i].value.len == 0)


cdef class Head:
    """What views on requests and on answers share."""

    cdef int set_line(self, Span name, Span lower, Span value) except -1:
        """Replace all headers of a name. The spans are valid as long as the message."""
        self.message.drop(lower.ptr, lower.len)
        return self.message.append(name, value)

    cdef int add_line(self, Span name, Span value) except -1:
        return self.message.append(name, value)

    cdef int drop_lines(self, Span name, Span lower) except -1:
        """Remove all headers of a name."""
        self.message.drop(lower.ptr, lower.len)
        return 0

    @property
    def headers(self) -> Headers:
        """The headers, which can be changed."""
        cdef Headers found = Headers.__new__(Headers)
        live(self)
        found.head = self
        return found


cdef Message live(Head head):
    if head.message is None:
        raise RuntimeError("the call for which this view was made is over: keep what is needed of it, not the view")
    return head.message


@cython.final
cdef class Headers:
    """The headers of a request or an answer, in order: several may have the same name, which is found in any case of letters."""

    cdef Head head

    cdef Py_ssize_t find(self, Message message, str name, Py_ssize_t first) except -2:
        """The position of the next header of a name, or -1."""
        cdef Py_ssize_t length = 0, i, k
        cdef const char* wanted
        cdef const char* found
        try:
            wanted = PyUnicode_AsUTF8AndSize(name, &length)
        except UnicodeEncodeError:
            return -1                      # no header has such a name
        if length == 0:
            return -1
        for i in range(first, message.n_headers):
            if message.headers[i].name.len == length and is_line(message, i):
                found = message.headers[i].name.ptr
                k = 0
                while k < length and ascii_lower(found[k]) == ascii_lower(wanted[k]):
                    k += 1
                if k == length:
                    return i
        return -1

    def get(self, str name not None, default=None):
        """The value of the first header of a name, or the default."""
        cdef Message message = live(self.head)
        cdef Py_ssize_t i = self.find(message, name, 0)
        return text_of(message.headers[i].value) if i >= 0 else default

    def __getitem__(self, str name not None) -> str:
        cdef Message message = live(self.head)
        cdef Py_ssize_t i = self.find(message, name, 0)
        if i < 0:
            raise KeyError(name)
        return text_of(message.headers[i].value)

    def getall(self, str name not None) -> list:
        """The values of all headers of a name, in order."""
        cdef Message message = live(self.head)
        cdef list values = []
        cdef Py_ssize_t i = self.find(message, name, 0)
        while i >= 0:
            values.append(text_of(message.headers[i].value))
            i = self.find(message, name, i + 1)
        return values

    def __contains__(self, name) -> bool:
        return isinstance(name, str) and self.find(live(self.head), <str>name, 0) >= 0

    def __len__(self) -> int:
        cdef Message message = live(self.head)
        cdef Py_ssize_t i, count = 0
        for i in range(message.n_headers):
            count += is_line(message, i)
        return count

    def __iter__(self):
        return iter(self.keys())

    def keys(self) -> list:
        """The name of each header, as it was written."""
        cdef Message message = live(self.head)
        cdef Py_ssize_t i
        return [text_of(message.headers[i].name) for i in range(message.n_headers) if is_line(message, i)]

    def values(self) -> list:
        """The value of each header."""
        cdef Message message = live(self.head)
        cdef Py_ssize_t i
        return [text_of(message.headers[i].value) for i in range(message.n_headers) if is_line(message, i)]

    def items(self) -> list:
        """Name and value of each header."""
        cdef Message message = live(self.head)
        cdef Py_ssize_t i
        return [(text_of(message.headers[i].name), text_of(message.headers[i].value))
                for i in range(message.n_headers) if is_line(message, i)]

    def __setitem__(self, str name not None, str value not None) -> None:
        """Replace all headers of a name by one. Raises ValueError, with nothing changed."""
        cdef Message message = live(self.head)
        cdef bytes written = name_of(name), data = value_of(name, value), lower = written.lower()
        if lower == b"host" and not data:
            raise ValueError("the host is empty")
        self.head.set_line(kept(message, written), span_of(lower, len(lower)), kept(message, data))

    def add(self, str name not None, str value not None) -> None:
        """Add a header to those of the same name. Raises ValueError, with nothing changed."""
        cdef Message message = live(self.head)
        cdef bytes written = name_of(name), data = value_of(name, value)
        if written.lower() == b"host":
            raise ValueError("there is one Host: set it")
        self.head.add_line(kept(message, written), kept(message, data))

    def __delitem__(self, str name not None) -> None:
        """Remove all headers of a name."""
        cdef Message message = live(self.head)
        cdef bytes written, lower
        if self.find(message, name, 0) < 0:
            raise KeyError(name)
        written = name_of(name)
        lower = written.lower()
        if lower == b"host":
            raise ValueError("a request has a Host")
        self.head.drop_lines(kept(message, written), span_of(lower, len(lower)))

    def pop(self, str name not None, default=NONE):
        """Remove all headers of a name. The value of the first one, or the default."""
        cdef object found = self.get(name, NONE)
        if found is NONE:
            if default is NONE:
                raise KeyError(name)
            return default
        del self[name]
        return found

    def setdefault(self, str name not None, str value not None) -> str:
        """The value of the first header of a name; set to `value` if there is none."""
        if name not in self:
            self[name] = value
        return self[name]

    def update(self, headers) -> None:
        """Replace headers by those of a mapping, or of pairs of name and value."""
        for name, value in pairs_of(headers):
            self[name] = value

    def __repr__(self) -> str:
        return "<Headers of a call that is over>" if self.head.message is None else f"<Headers {self.items()}>"


cdef object pairs_of(object headers):
    return headers.items() if hasattr(headers, "items") else headers


@cython.final
cdef class Request(Head):
    """A request on its way to a server."""

    def __init__(self, str method not None="GET", str url not None="/", *, headers=(), bytes body not None=b"",
                 str client not None="127.0.0.1"):
        """A request that is of no exchange, to try a class with. Raises ValueError."""
        cdef RequestHead head = RequestHead()
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.netloc or "localhost"
        line = b"%s %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (
            part_of("the method", method), part_of("the target", target), part_of("the host", host))
        if head.parse_bytes(line) <= 0:
            raise ValueError(f"{method} {url} is not a request")
        head.come_from(client)
        head.head.encrypted = parts.scheme == "https"
        self.message = head
        self.content = body
        for name, value in pairs_of(headers):
            self.headers.add(name, value)

    cdef RequestHead head(self):
        return <RequestHead>live(self)

    cdef int open(self, RequestHead head, Context context) except -1:
        self.message, self.context = head, context
        return 0

    cdef void close(self) noexcept:
        if self.budget is not None:
            self.budget.give(len(self.content))
            self.budget = None
        self.message = self.context = self.kept = self.content = None

    cdef int set_line(self, Span name, Span lower, Span value) except -1:
        cdef RequestHead head = <RequestHead>self.message
        head.drop(lower.ptr, lower.len)
        head.add_own(name, value)
        if head.kinds[head.n_headers - 1] & <uint8_t>(~H_OWN) == H_HOST:
            head.forwarded_host = value
        return 0

    cdef int add_line(self, Span name, Span value) except -1:
        return (<RequestHead>self.message).add_own(name, value)

    cdef int drop_lines(self, Span name, Span lower) except -1:
        # A managed header that is removed stays as an empty one, so that none is written.
        return (<RequestHead>self.message).set_header(name, lower, span_of(NULL, 0))

    @property
    def method(self) -> str:
        return text_of(self.head().head.method)

    @property
    def scheme(self) -> str:
        """`https` or `http`, of the client's own connection."""
        return "https" if self.head().head.encrypted else "http"

    @property
    def host(self) -> str:
        """The host that the client asks for: in lower case, without port."""
        return text_of(self.head().head.host)

    @property
    def path(self) -> str:
        """The path, normalised and percent-encoded, as it goes to the server. Setting it raises ValueError for one that is refused."""
        return text_of(self.head().head.path)

    @path.setter
    def path(self, str path not None) -> None:
        cdef RequestHead head = self.head()
        cdef bytes found = part_of("the path", path)
        if not found.startswith(b"/") or b"?" in found or b"#" in found:
            raise ValueError("a path begins with a slash, and has no ? and no #")
        head.head.path = kept(head, <bytes>normalise(found)[0])

    @property
    def query(self) -> str:
        """What follows the `?`, as it was sent; empty without one. Set to an empty text it is removed."""
        return text_of(self.head().head.query)

    @query.setter
    def query(self, str query not None) -> None:
        cdef RequestHead head = self.head()
        cdef bytes found = part_of("the query", query)
        if b"#" in found:
            raise ValueError("a query has no #")
        head.head.query = kept(head, <bytes>quote(found, safe=PRINTABLE).encode())
        head.head.has_query = len(found) > 0

    @property
    def version(self) -> str:
        """`HTTP/1.1`, `HTTP/2` or `HTTP/3`, as the client speaks."""
        cdef HeadOfRequest* head = &self.head().head
        return f"HTTP/{head.major_version}" if head.major_version > 1 else f"HTTP/1.{head.minor_version}"

    @property
    def client(self) -> str:
        """The client's address, without port; empty if it came through a Unix socket."""
        cdef HeadOfRequest* head = &self.head().head
        return head.client.text[:head.client.text_len].decode("ascii")

    @property
    def client_port(self) -> int:
        return self.head().head.client.port

    @property
    def user(self) -> str | None:
        """The user, as a middleware before this one has found it; it stands in the access log."""
        cdef RequestHead head = self.head()
        return head.user.decode("utf-8", "surrogateescape") if head.user is not None else None

    @user.setter
    def user(self, str name) -> None:
        self.head().user = data_of(name) if name is not None else None

    @property
    def body(self) -> bytes:
        """The whole body, for a class with a `body_limit`. RuntimeError for others, which see none."""
        live(self)
        if self.content is None:
            raise RuntimeError("the class has no body_limit, so bodies pass it by")
        return self.content

    @property
    def state(self) -> dict:
        """What the class keeps for this exchange: `on_response` finds there what `on_request` has put."""
        live(self)
        if self.kept is None:
            found = self.context.state() if self.context is not None else None
            if found is None:
                found = {}
                if self.context is not None:
                    self.context.keep_state(found)
            self.kept = <dict?>found
        return self.kept

    def __repr__(self) -> str:
        return "<Request of a call that is over>" if self.message is None else f"<Request {self.method} {self.host}{self.path}>"


@cython.final
cdef class Response(Head):
    """An answer: a server's on its way to the client, or one that the class makes, which may be given any number of times."""

    def __init__(self, int status=200, body=b"", headers=()):
        """An answer in place of a server's. Raises ValueError.

        status   200 to 599.
        body     bytes, or text, which is sent as UTF-8, and as `text/plain` if no header says otherwise.
        headers  a mapping, or pairs of name and value.
        """
        cdef ResponseHead head = ResponseHead()
        check_status(status)
        head.status = status
        self.message = head
        for name, value in pairs_of(headers):
            self.headers.add(name, value)
        if isinstance(body, str):
            self.content = (<str>body).encode()
            if body and "content-type" not in self.headers:
                self.headers["Content-Type"] = "text/plain; charset=utf-8"
        else:
            self.content = bytes(memoryview(body))
        if self.content and status in WITHOUT_BODY:
            raise ValueError(f"an answer of status {status} has no body")

    cdef ResponseHead head(self):
        return <ResponseHead>live(self)

    cdef int open(self, ResponseHead head) except -1:
        self.message = head
        return 0

    cdef void close(self) noexcept:
        self.message = None

    cdef int put(self, ResponseHead answer) except -1:
        """Make `answer` a copy of this one, which is of the class' own, without framing."""
        cdef ResponseHead head = self.head()
        cdef Py_ssize_t i
        if self.content is None:
            raise TypeError("the view on another answer was given in place of a Response of the class' own")
        answer.clear()
        answer.status = head.status
        for i in range(head.n_headers):
            if is_line(head, i):
                answer.append(answer.keep(head.headers[i].name), answer.keep(head.headers[i].value))
        answer.text = kept(answer, self.content)
        return 0

    @property
    def status(self) -> int:
        """The status. Setting it raises ValueError for one that has a body where this one has none, or the other way round."""
        return self.head().status

    @status.setter
    def status(self, int status) -> None:
        cdef ResponseHead head = self.head()
        check_status(status)
        if status != head.status and (status in WITHOUT_BODY or head.status in WITHOUT_BODY):
            raise ValueError(f"an answer of status {head.status} cannot become one of {status}: give another Response")
        head.status = status
        head.reason = span_of(NULL, 0)

    @property
    def body(self) -> bytes:
        """The body of an answer that a class has made. RuntimeError for a server's, which passes by."""
        live(self)
        if self.content is None:
            raise RuntimeError("the body of a server's answer passes the class by")
        return self.content

    def __repr__(self) -> str:
        return "<Response of a call that is over>" if self.message is None else f"<Response {self.status}>"


cdef int check_status(int status) except -1:
    if not LEAST_STATUS <= status <= MOST_STATUS:
        raise ValueError(f"{status} is not the status of a final answer: {LEAST_STATUS} to {MOST_STATUS}")
    return 0
