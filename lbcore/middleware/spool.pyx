"""A filter that passes nothing on before the whole body has come: in memory up to a limit, beyond in a file of no name.

It has all of the body, and gives it again to each sink that is put behind it.
"""

import logging
import os
import tempfile
import time

cimport cython
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy
from posix.unistd cimport close, pread, pwrite

from lbcore.http.message cimport Message
from lbcore.http.sink cimport Filter, Sink
from lbcore.http.span cimport Span, span_of
from lbcore.middleware.base cimport Context, Pending

_log = logging.getLogger("lbcore.middleware")

cdef int64_t silent_until_ns = 0   # the next line about files may be logged

cdef enum:
    FIRST_BYTES = 16384
    PART_BYTES = 65536         # given at once
    PATIENCE_MS = 86400000     # for a body: the entry point's own timeouts end it earlier
    SILENCE_NS = 10000000000   # after a line about files


cdef class Spool(Filter):
    """Takes a body of any pace; `whole` is called when it is complete."""

    def __cinit__(self):
        self.file = -1
        self.keeps_all = True

    def __dealloc__(self):
        free(self.base)
        if self.budget is not None and self.room:
            self.budget.give(self.room)
        if self.file >= 0:
            close(self.file)

    cdef void connect(self, Sink next) noexcept:
        """Another sink, which has been given nothing."""
        self.given = 0
        self.ended = False
        Filter.connect(self, next)
        if not self.complete:
            self.blocked = False

    cdef int put(self, Span data) except -1:
        if self.most_bytes and self.size + data.len > self.most_bytes:
            self.refused = True
            return self.refusal
        try:
            self.keep(data.ptr, data.len)
        except OSError as error:
            return self.lack(error)
        self.size += data.len
        return 0

    cdef int lack(self, error) except -1:
        """There is no descriptor for a file, or no room in it: the body is shed, which is no fault of either end."""
        global silent_until_ns
        cdef int64_t now_ns = time.monotonic_ns()
        self.budget.row.bodies_shed += 1
        if now_ns >= silent_until_ns:
            silent_until_ns = now_ns + SILENCE_NS
            _log.error("a body cannot be written to a file in %s: %s", tempfile.gettempdir(), error)
        return 503

    cdef int keep(self, const char* data, Py_ssize_t length) except -1:
        """Append bytes. Raises OSError."""
        cdef Py_ssize_t front = <Py_ssize_t>max(<int64_t>0, min(<int64_t>length, self.memory_bytes - self.size))
        if front and self.size + front > self.room and not self.grow(<Py_ssize_t>self.size + front):
            front = self.room - <Py_ssize_t>self.size
            self.memory_bytes = self.room      # there is no memory: the rest goes to the file
        if front:
            memcpy(self.base + self.size, data, front)
        return self.write(data + front, length - front) if length > front else 0

    cdef bint grow(self, Py_ssize_t wanted) noexcept:
        """Make room for `wanted` bytes, within the budget of the instance. False: there is no memory."""
        cdef Py_ssize_t room = <Py_ssize_t>min(self.memory_bytes, <int64_t>max(wanted, max(<Py_ssize_t>FIRST_BYTES, 2 * self.room)))
        cdef char* moved
        if not self.budget.take(room - self.room):
            return False
        moved = <char*>realloc(self.base, room)
        if moved == NULL:
            self.budget.give(room - self.room)
            return False
        self.base = moved
        self.room = room
        return True

    cdef int write(self, const char* data, Py_ssize_t length) except -1:
        """Append bytes to the file."""
        cdef int64_t at = max(<int64_t>0, self.size - self.memory_bytes)
        cdef Py_ssize_t done
        if self.file < 0:
            self.file = nameless_file()
        while length:
            done = pwrite(self.file, data, length, at)
            if done < 0:
                if errno == EINTR:
                    continue
                raise OSError(errno, os.strerror(errno))
            data += done
            at += done
            length -= done
        return 0

    cdef int give(self) except -1:
        cdef int64_t front = min(self.size, self.memory_bytes)
        cdef Py_ssize_t count
        cdef char* part
        cdef int status
        if not self.complete or self.given >= self.size:
            return 0
        count = <Py_ssize_t>min(<int64_t>PART_BYTES, (front if self.given < front else self.size) - self.given)
        if self.given < front:
            part = self.base + self.given
            self.given += count
            status = self.next.put(span_of(part, count))
            return status if status else 1
        part = <char*>malloc(count)
        if part == NULL:
            raise MemoryError
        try:
            while True:
                count = pread(self.file, part, count, self.given - self.memory_bytes)
                if count >= 0 or errno != EINTR:
                    break
            if count <= 0:
                raise OSError(errno, "a body that was written to a file cannot be read")
            self.given += count
            status = self.next.put(span_of(part, count))
        finally:
            free(part)
        return status if status else 1

    cdef int end(self, Message trailers) except -1:
        self.complete = True
        self.trailers = trailers
        self.whole()
        return 0 if self.next is None else self.go_on()

    cdef int whole(self) except -1:
        """All of the body has come."""
        return 0

    cdef bytes contents(self):
        """All of the body, copied: for bodies of a bounded size. Raises OSError."""
        cdef Py_ssize_t front = <Py_ssize_t>min(self.size, self.memory_bytes), rest = <Py_ssize_t>self.size - front
        cdef list parts = [self.base[:front]] if front else []
        at = 0
        while at < rest:
            part = os.pread(self.file, rest - at, at)
            if not part:
                raise OSError("a body that was written to a file cannot be read")
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    cdef int drained(self) except -1:
        return 0 if self.next is None else Filter.drained(self)

    cdef int flush(self) except -1:
        return Filter.flush(self) if self.complete and self.next is not None else 0


cdef class WholeBody(Pending):
    """The wait until a request is complete."""


@cython.final
cdef class RequestSpool(Spool):
    """The body of a request, which waits until it has come."""

    cdef int wait(self, Context context, int64_t memory_bytes, int64_t most_bytes, int refusal) except -1:
        """Have the body come, and the exchange wait for it. To be followed by `return WAIT`. See `Spool` for the limits."""
        self.memory_bytes, self.most_bytes, self.refusal = memory_bytes, most_bytes, refusal
        self.budget = context.budget()
        self.pending = WholeBody.__new__(WholeBody)
        context.add_request_filter(self)
        context.keep_state(self)
        context.wait(self.pending, PATIENCE_MS)
        return context.take_body()

    cdef int whole(self) except -1:
        cdef WholeBody pending = self.pending
        self.pending = None
        return 0 if pending is None else pending.settle()


cdef int nameless_file() except -1:
    """A descriptor of a file that ends with it."""
    folder = tempfile.gettempdir()
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (AttributeError, OSError):
        descriptor, path = tempfile.mkstemp(prefix="lbcore-", dir=folder)
        os.unlink(path)
        return descriptor
