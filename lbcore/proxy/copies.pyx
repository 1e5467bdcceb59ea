"""Copies of a request for mirrors: made when its head is complete, sent when its body is. No I/O."""

cimport cython
from libc.stdint cimport int64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.http.request cimport Request
from lbcore.http.span cimport span_of
from lbcore.proxy.recording cimport Owner
from lbcore.routing.mirroring cimport Mirror, MirrorPolicy


@cython.final
cdef class Copy(Owner):
    """One copy, from the head of the request to the moment in which it is sent. It owns its share of the mirror's room."""

    cdef bint admit(self, int64_t kept, int64_t more) noexcept:
        """Charge the mirror for what comes, as it comes. What does not fit ends the copy, and is counted."""
        if not Owner.admit(self, kept, more):
            self.uncharge()
            self.mirror.child.stats.oversized += 1
            return False
        if more > self.mirror.policy.max_buffered - self.mirror.buffered:
            self.shed()
            return False
        self.mirror.buffered += more
        self.charged += more
        return True

    cdef void starve(self) noexcept:
        self.shed()

    cdef void uncharge(self) noexcept:
        """Give the mirror's room back."""
        self.mirror.buffered -= self.charged
        self.charged = 0

    cdef void shed(self) noexcept:
        """The copy is not sent: no room, or its request was not completed."""
        self.uncharge()
        self.mirror.child.stats.shed += 1


cdef Copy make_copy(Request request, Mirror mirror):
    """A copy of a request's head for a mirror; None where it gets none, which is counted. O(length of the head)."""
    cdef MirrorPolicy policy = mirror.policy
    cdef bint has_body = request.framing.body != BODY_NONE
    cdef Copy copy
    if has_body and policy.with_body and 0 <= policy.max_body < request.framing.length:
        mirror.child.stats.oversized += 1
        return None
    if not mirror.has_room(request.framing.length if has_body and policy.with_body else 0):
        mirror.child.stats.shed += 1
        return None
    copy = Copy.__new__(Copy)
    copy.mirror = mirror
    copy.limit = policy.max_body
    copy.request = Request()
    copy.request.copy(request)
    copy.request.framing.expects_continue = False
    copy.request.drop(b"trailer", 7)       # none follow
    copy.has_body = has_body and policy.with_body
    for name, lower, value in policy.headers:
        copy.request.set_header(span_of(<bytes>name, len(<bytes>name)), span_of(<bytes>lower, len(<bytes>lower)),
                                span_of(<bytes>value, len(<bytes>value)))
    if has_body and not policy.with_body:
        copy.request.drop_body()
        copy.request.say_empty()
    return copy
