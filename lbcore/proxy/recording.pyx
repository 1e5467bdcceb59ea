"""The body of a request, kept while it passes, and given once more to the server that comes next. No I/O."""

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from lbcore.http.span cimport Span
from lbcore.http.sink cimport Filter, Sink
from lbcore.state.budget cimport MemoryBudget

cdef enum:
    FIRST_BYTES = 4096
    REPLAY_BYTES = 65536               # put at once: what the server does not take at once stays in the recording
    DOUBLED_BELOW = 4 << 20            # beyond, the room grows by a quarter at a time


cdef class Owner:
    """What the body is kept for: a fallback that may be asked, or a copy for a mirror. Each has its own limit."""

    cdef bint admit(self, int64_t kept, int64_t more) noexcept:
        """Whether `more` bytes may follow the `kept` ones. False: the body is not for this one."""
        return self.limit < 0 or more <= self.limit - kept

    cdef void starve(self) noexcept:
        """There is no memory for the body."""
        pass


@cython.final
cdef class Replay(Owner):
    """A fallback that may be asked, for as long as all of the body is kept."""

    cdef bint admit(self, int64_t kept, int64_t more) noexcept:
        if Owner.admit(self, kept, more):
            return True
        if not self.required:
            self.budget.row.bodies_shed += 1
        return False


@cython.final
cdef class Recording(Filter):
    """A filter that keeps: bytes in order, as long as it has owners and the instance's budget has room."""

    def __cinit__(self, MemoryBudget budget):
        self.budget = budget
        self.owners = []

    def __dealloc__(self):
        free(self.base)
        if self.budget is not None and self.room:
            self.budget.give(self.room)

    cdef void connect(self, Sink next) noexcept:
        """Another sink, which has been given nothing."""
        self.given = 0
        self.ended = False
        Filter.connect(self, next)

    cdef int put(self, Span data) except -1:
        cdef int status = self.add(data)
        self.given = self.size
        return status if status else Filter.put(self, data)

    cdef int give(self) except -1:
        """What another sink was given already, before more comes."""
        cdef Span part
        cdef int status
        if self.given >= self.size:
            return 0
        part = self.part(self.given, REPLAY_BYTES)
        self.given += part.len
        status = self.next.put(part)
        return status if status else 1

    cdef bint join(self, Owner owner) except *:
        """Keep the body for one more owner. False: what is kept is above its limit already."""
        if self.starved:
            owner.overflowed = True
            owner.starve()
            return False
        if not owner.admit(0, self.size):
            owner.overflowed = True
            return False
        self.owners.append(owner)
        return True

    cdef int leave(self, Owner owner) except -1:
        """This owner does not need the body any more; when it was the last one, nothing is kept."""
        if owner in self.owners:
            self.owners.remove(owner)
            if not self.owners:
                self.forget()
        return 0

    cdef int add(self, Span data) except -1:
        """Keep some more. Returns 0, or 413: it is longer than an owner may have that cannot do without. Amortised O(bytes)."""
        cdef Owner owner
        cdef int status = 0
        if not self.owners or data.len == 0:
            return 0
        for item in self.owners[:]:
            owner = <Owner>item
            if not owner.admit(self.size, data.len):
                owner.overflowed = True
                self.owners.remove(owner)
                if isinstance(owner, Replay) and (<Replay>owner).required:
                    status = 413
        if not self.owners:
            self.forget()
            return status
        if data.len > self.room - self.size and not self.grow(self.size + data.len):
            self.starved = True
            for item in self.owners:
                owner = <Owner>item
                owner.overflowed = True
                owner.starve()
            self.owners.clear()
            self.forget()
            return status
        memcpy(self.base + self.size, data.ptr, data.len)
        self.size += data.len
        return status

    cdef bint grow(self, Py_ssize_t wanted) noexcept:
        """Make room for `wanted` bytes in all. False: there is no memory."""
        cdef Py_ssize_t room = max(FIRST_BYTES, 2 * self.room if self.room < DOUBLED_BELOW else self.room + self.room // 4)
        cdef char* moved
        room = max(room, wanted)
        if not self.budget.take(room - self.room):
            return False
        moved = <char*>realloc(self.base, room)
        if moved == NULL:
            self.budget.give(room - self.room)
            return False
        self.base = moved
        self.room = room
        return True

    cdef void forget(self) noexcept:
        """Keep nothing of it."""
        free(self.base)
        self.base = NULL
        self.budget.give(self.room)
        self.room = self.size = 0


@cython.final
cdef class RefusedBody:
    """What a server was sent of a body, and did not look at: bytes that were taken from the budget, and go back with it."""

    def __cinit__(self, MemoryBudget budget, bytes text):
        self.budget = budget
        self.text = text
        self.room = len(text)

    def __dealloc__(self):
        if self.budget is not None:
            self.budget.give(self.room)
