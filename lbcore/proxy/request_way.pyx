"""The way of a request's body to the server: filters, what is kept of it for others, and where it goes now. No I/O."""

import logging

from libc.stdint cimport int64_t, uint64_t

from lbcore.http.framing cimport BODY_NONE
from lbcore.http.message cimport Message
from lbcore.http.request cimport Request
from lbcore.http.span cimport span_of
from lbcore.proxy.copies cimport Copy, make_copy
from lbcore.proxy.recording cimport Recording, RefusedBody, Replay
from lbcore.http.sink cimport Filter, Sink
from lbcore.routing.decision cimport Decision, FailoverStep
from lbcore.routing.failover cimport most_repeatable
from lbcore.routing.mirroring cimport Mirror
from lbcore.state.budget cimport MemoryBudget
from lbcore.state.layout cimport ERROR_BAD_REQUEST, ERROR_REFUSED, ERROR_RESOURCE
from lbcore.proxy.exchange cimport Exchange, ServerStream

_log = logging.getLogger("lbcore.proxy")


cdef class RequestWay(Exchange):
    """The part of an exchange that the body of its request goes through."""

    cdef void attach(self, ServerStream stream) noexcept:
        """A stream to the server chosen is there, if not connected yet: the body goes to it from now on."""
        self.stream = stream
        if self.request_tail is None:
            self.request_sink = stream
        else:
            self.request_tail.connect(stream)
            self.request_sink = self.request_filters
            self.request_sink.blocked = True       # until `server_ready` has asked the whole chain

    cdef int add_request_filter(self, Filter filter) except -1:
        filter.step = self.step
        if self.refused is not None:
            self.lose_refused()                # the filter would have to see it
        filter.connect(None)                   # a filter in front may have bytes to give before the stream is there
        if self.request_tail is None:
            self.request_filters = filter
        else:
            self.request_tail.connect(filter)
        self.request_tail = filter
        return 0

    cdef int take_body(self) except -1:
        self.takes_body = True
        return 0

    cdef int begin_wait(self) except -1:
        if not self.takes_body:
            return Exchange.begin_wait(self)
        self.takes_body = False
        Exchange.begin_wait(self)
        return self.begin_body()

    cdef int begin_body(self) except -1:
        """Have the body come into the filters: first what one of them has kept of it, then the rest. What it leads to may end the
        exchange."""
        cdef bint ended = self.body_ended
        cdef int status
        if self.body_lost:
            return self.no_body()
        self.request_sink = self.request_filters
        status = self.request_sink.drained()
        if status:
            return self.body_refused(status)
        return 0 if ended else self.client.want_body()

    cdef void keep_refused(self, bytes body) noexcept:
        if self.rivals is not None:
            return                             # all of it is at hand, and another server is at work
        if self.entry_point.budget.take(len(body)):
            self.refused = RefusedBody(self.entry_point.budget, body)

    cdef void lose_refused(self) noexcept:
        """What was sent of the body has no meaning behind other filters."""
        self.refused = None
        self.body_lost = True

    cdef int send_refused(self) except -1:
        """Send what a server did not look at to another one, or to this one once more."""
        cdef RefusedBody body = self.refused
        self.refused = None
        self.stream.put(span_of(body.text, len(body.text)))
        if self.body_ended:
            self.stream.end(self.request.trailers_to_forward())
        return self.stream.flush()

    cdef MemoryBudget budget(self):
        return self.entry_point.budget

    cdef bint keeps_body(self) noexcept:
        """Whether the last filter has all of the body, for each server that is asked: also for one of a fallback, which does not come
        by the filters of the main service. O(filters)."""
        cdef Filter tail = self.request_tail
        cdef Filter filter = self.request_filters
        cdef Py_ssize_t step
        if tail is None or not tail.keeps_all or not tail.complete:
            return False
        if self.decision.failover is None:
            return True
        step = self.gates.step_of(self.gates_to_stay())
        while filter is not tail:
            if filter.step >= step and filter is not self.recording:
                return False                   # has changed the body, before the last one has got it
            filter = <Filter>filter.next
        return True

    cdef BodySource body_source(self) noexcept:
        """Where the body comes from if the request is sent once more. All that asks once more goes by this. O(filters)."""
        if self.request.framing.body == BODY_NONE or (self.request_bytes == 0 and not self.body_ended):
            return SOURCE_CLIENT
        if self.is_replayable():
            return SOURCE_RECORDING
        if self.keeps_body():
            return SOURCE_FILTER
        if self.refused is not None:
            return SOURCE_REFUSED
        if not self.is_subrequest:
            return SOURCE_NONE
        return SOURCE_REWOUND if self.request_filters is None else SOURCE_REWOUND_AT_SERVICE

    cdef Py_ssize_t gates_to_stay(self) noexcept:
        """The number of gates that the request has passed and that stay whatever Failover asks its fallback."""
        cdef FailoverStep outermost = self.decision.failover
        if outermost is None:
            return len(self.gates.entered)
        while outermost.outer is not None:
            outermost = outermost.outer
        # A request that no service has taken, for want of a server, has not come to the gates in front of the Failover.
        return min(outermost.before.gates, len(self.gates.entered))

    cdef int leave_gates(self) except -1:
        """The body comes once more: pass the gates anew whose filters have seen some of it."""
        if self.recording is not None and self.recording is not self.request_tail:
            return self.gates.go_back(min(self.recorded_behind, len(self.gates.entered)), self.request, self)
        if self.is_subrequest and self.request_tail is not None and not self.keeps_body():
            return self.gates.go_back(0, self.request, self)
        return 0

    cdef int leave_filters(self, Py_ssize_t step) except -1:
        """Take the filters of the middlewares from `step` on out of the request's chain, which leads to no stream just now.

        The first of them stays if it has all of the body: that is the body in front of these middlewares, which nothing else may have.
        """
        cdef Filter filter
        cdef list kept = []
        cdef bint recorded = self.recording is not None and self.is_replayable() and self.recording.complete
        cdef bint is_first = True, lost = False
        if self.request_tail is None:
            return 0
        for item in self.listed_filters():
            filter = <Filter>item
            if filter.step < step or filter is self.recording:
                kept.append(filter)
                continue
            if is_first and filter.keeps_all and filter.complete and not recorded:
                filter.step = step - 1
                kept.append(filter)
            else:
                lost = lost or filter.complete
                filter.connect(None)
                if self.refused is not None:
                    self.lose_refused()        # as the filter has made it
            is_first = False
        if lost and not recorded:
            if self.is_subrequest and not kept:
                self.begin_anew()
            elif not kept or not (<Filter>kept[len(kept) - 1]).keeps_all:
                self.body_lost = True
        return self.link_filters(kept)

    cdef int no_body(self) except -1:
        """The server that the body was meant for could not be reached, and there is none for another one."""
        self.error = ERROR_REFUSED
        return self.answer(502, None, False)

    cdef int begin_anew(self) except -1:
        """The body of a request of lbcore's own comes once more."""
        self.body_ended = False
        self.request_bytes = 0
        return self.client.rewind()

    cdef list listed_filters(self):
        """The filters of the request's chain, the client's side first."""
        cdef list found = []
        cdef Filter filter = self.request_filters
        while filter is not None:
            found.append(filter)
            filter = None if filter is self.request_tail else <Filter>filter.next
        return found

    cdef int link_filters(self, list filters) except -1:
        """Have these be the request's chain. One whose next filter stays goes on as it was."""
        cdef Py_ssize_t i, last = len(filters) - 1
        if last < 0:
            self.request_filters = self.request_tail = None
            return 0
        for i in range(last):
            if (<Filter>filters[i]).next is not filters[i + 1]:
                (<Filter>filters[i]).connect(<Filter>filters[i + 1])
        self.request_filters = <Filter>filters[0]
        if self.request_tail is not filters[last]:
            self.request_tail = <Filter>filters[last]
            self.request_tail.connect(self.stream)
        return 0

    cdef int add_recording(self) except -1:
        """Keep the body as it goes on to the server, which is not chosen or not asked yet."""
        self.recording = Recording(self.entry_point.budget)
        return self.place_recording()

    cdef int place_recording(self) except -1:
        """Put the recording, which has seen nothing so far, where all that may be asked for the request have the same body:
        before the filters of gates behind the outermost Failover. Copies get the body as it is there, too. A filter that has taken
        the body gives it to what comes behind it."""
        cdef list filters = [item for item in self.listed_filters() if item is not self.recording]
        cdef Py_ssize_t step, place = 0, i
        self.recorded_behind = 0 if self.repeats_answers() else self.gates_to_stay()
        step = self.gates.step_of(self.recorded_behind)
        while place < len(filters) and (<Filter>filters[place]).step < step:
            place += 1
        for i in range(place, len(filters)):
            if (<Filter>filters[i]).complete:
                place = i + 1
        filters.insert(place, self.recording)
        return self.link_filters(filters)

    cdef int drop_recording(self) except -1:
        """The body is not needed again: it goes on past the recording, spliced where that is possible."""
        cdef Recording recording = self.recording
        cdef Sink behind
        if recording is None:
            return 0
        behind = self.stream if recording is self.request_tail else recording.next
        self.link_filters([item for item in self.listed_filters() if item is not recording])
        self.recording = None
        self.copies = None                     # without owners: each of these was shed, and counted, already
        recording.connect(None)
        if self.request_sink is recording:
            self.request_sink = behind
        return 0

    cdef bint start_recording(self) except *:
        """Have the body kept from here on, for the Failover and the mirrors that the decision names. False: it is too large to
        be sent a second time, which was answered."""
        cdef Recording recording = self.recording
        cdef int64_t most = most_repeatable(self.decision.failover)
        cdef int64_t length
        cdef BodySource source
        if self.is_subrequest:             # has its body, and makes no copies of its own
            return True
        if self.decision.failover is None and self.decision.mirrors is None and recording is None and self.keeps_body():
            return True
        if recording is not None and recording.size == 0 and not recording.complete:
            self.place_recording()         # for an attempt that did not come to a server
        source = self.body_source()
        if self.decision.failover is None and self.repeats_answers():
            if self.request.framing.body != BODY_NONE and self.replay is None and self.is_to_record(source):
                self.begin_replay(self.repeatable_bytes(self.tries.max_body_bytes), self.request.framing.length, False)
        elif self.decision.failover is None:
            if self.replay is not None and recording.size == 0 and not recording.complete:
                self.end_replay()          # for a Failover that was asked before
        elif self.request.framing.body != BODY_NONE:
            length = max(self.request.framing.length, 0 if recording is None else recording.size)
            if self.body_ended:
                length = max(length, <int64_t>self.request_bytes)
            if 0 <= most < length:
                self.lose_server()
                self.too_large()
                return False
            if self.is_replayable():
                self.replay.limit = self.repeatable_bytes(most)
                self.replay.required = most >= 0
            elif self.is_to_record(source):
                self.begin_replay(self.repeatable_bytes(most), length, most >= 0)
        if self.makes_copies():
            self.make_copies()
        return True

    cdef bint is_to_record(self, BodySource source) noexcept:
        """Whether the recording can have all of the body, and has to: a filter that has it needs none. For copies there is a recording
        behind that filter, so what is sent once more comes from there as well."""
        return source == SOURCE_CLIENT or (source == SOURCE_FILTER and self.makes_copies())

    cdef bint makes_copies(self) noexcept:
        """Whether mirrors are to get the request."""
        cdef Decision decision = self.decision
        return decision.mirrors is not None and decision.copied < len(decision.mirrors) and not self.request.framing.upgrade

    cdef bint repeats_answers(self) noexcept:
        """Whether the route may want another answer than that of the first server."""
        return self.tries is not None and (
            self.tries.sees_answers or (self.tries.hedge_ms and self.tries.hedges(self.request)))

    cdef bint is_at_hand(self) noexcept:
        """Whether the server that is asked now was given all of the body, and another one can be given it at the same time: by the
        last filter, which has it. A body that was not begun is not: its server may still be unreached."""
        cdef Filter tail = self.request_tail
        if self.request.framing.body == BODY_NONE:
            return True
        return tail is not None and tail.ended and (tail.keeps_all or (tail is self.recording and self.is_replayable()))

    cdef int body_given(self) except -1:
        """Filters have given what they had. If that was all of the body, the answer comes next."""
        return self.await_answer() if self.request.framing.body != BODY_NONE and self.is_at_hand() else 0

    cdef int await_answer(self) except -1:
        """The server has all of the request, or is about to get one without a body."""
        return 0

    cdef int64_t repeatable_bytes(self, int64_t most) noexcept:
        """What a Failover without a limit of its own may keep is a share of the instance's budget."""
        return most if most >= 0 else self.entry_point.budget.share()

    cdef int begin_replay(self, int64_t limit, int64_t length, bint required) except -1:
        """Keep the body for a fallback; one that will be longer than the budget allows is not begun."""
        if length > limit:
            self.entry_point.budget.row.bodies_shed += 1
            return 0
        if self.recording is None:
            self.add_recording()
        self.replay = Replay()
        self.replay.budget = self.entry_point.budget
        self.replay.limit = limit
        self.replay.required = required
        if not self.recording.join(self.replay):
            self.replay = None
        return 0

    cdef int end_replay(self) except -1:
        """The body is no longer kept for a fallback, or for another attempt."""
        if self.recording is None:
            return 0
        if self.replay is not None:
            self.recording.leave(self.replay)
            self.replay = None
        if self.copies is None or self.recording.is_spent():
            self.drop_recording()
        return 0

    cdef int make_copies(self) except -1:
        """Copy the head for each mirror, before the server is asked: nothing of it may be left when it has answered."""
        cdef Decision decision = self.decision
        cdef Mirror mirror
        cdef Copy copy
        cdef Py_ssize_t i
        for i in range(decision.copied, len(decision.mirrors)):
            mirror = <Mirror>decision.mirrors[i]
            copy = make_copy(self.gates.behind(decision.mirrored_behind[i], self.request), mirror)
            if copy is None:
                continue
            if not copy.has_body:
                self.send_copy(copy, None)
                continue
            if self.recording is None:
                if self.body_source() == SOURCE_NONE or self.refused is not None:
                    copy.shed()
                    continue
                self.add_recording()
            if self.recording.join(copy):
                if self.copies is None:
                    self.copies = []
                self.copies.append(copy)
        decision.copied = len(decision.mirrors)
        if self.copies is not None and self.recording.complete:
            self.send_copies()
        return 0

    cdef int send_copies(self) except -1:
        """The request is complete: the mirrors get it."""
        cdef Copy copy
        cdef list copies = self.copies
        self.copies = None
        for item in copies:
            copy = <Copy>item
            if copy.overflowed:
                continue                   # which was counted
            if copy.mirror.has_room(0):
                self.send_copy(copy, self.recording)
            else:
                copy.shed()
        return 0

    cdef int send_copy(self, Copy copy, Recording body) except -1:
        """Hand a copy over; what it is charged with is its own from now on. What goes wrong there is not the client's."""
        copy.charged = 0
        try:
            self.dialer.mirror(self, copy.request, copy.mirror, body)
        except Exception as error:
            _log.error("internal error in a copy for %s", copy.mirror.child.name, exc_info=error)
        return 0

    cdef void shed_copies(self) noexcept:
        """The request will not be complete: the mirrors do not get it."""
        for item in self.copies:
            if not (<Copy>item).overflowed:
                (<Copy>item).shed()
        self.copies = None

    cdef int too_large(self) except -1:
        """Refuse a body that could not be sent a second time."""
        self.error = ERROR_BAD_REQUEST
        return self.answer(413, b"Request body too large\n", True)

    cdef int request_end(self, Message trailers) except -1:
        """The request is complete."""
        cdef uint64_t serial = self.serial
        cdef int status
        self.body_ended = True
        status = self.request_sink.end(trailers)
        if status:
            return self.body_refused(status)
        if self.serial != serial or self.request_sink is None:
            return 0                           # a middleware has waited for this, and what followed has ended the exchange already
        if self.copies is not None and self.recording.complete:
            self.send_copies()
        if self.tries is not None and self.tries.hedge_ms:
            self.body_given()
        return self.request_sink.flush()

    cdef int body_refused(self, int status) except -1:
        """A filter does not let the request's body pass."""
        self.lose_server()
        self.error = ERROR_RESOURCE if status == 503 else ERROR_BAD_REQUEST
        if self.status == 0:
            if status == 413 and self.replay is not None and self.replay.overflowed:
                return self.too_large()
            return self.answer(status, None, status != 413 and status != 401)     # these have no type in Traefik, either
        self.count()
        return self.client.abort()

    cdef int server_ready(self) except -1:
        """The server's end takes more of the request's body: first what filters have kept back, or recorded."""
        cdef int status
        if self.request_filters is None and self.request.framing.body == BODY_NONE:
            return 0                           # there is none
        if self.refused is not None:
            self.send_refused()
            if self.body_ended or self.stream is None or self.stream.blocked:
                return 0
        if self.request_filters is not None:
            status = self.request_sink.drained()
            if status:
                return self.body_refused(status)
            if self.copies is not None and self.recording.complete:
                self.send_copies()
            self.request_sink.flush()
            if self.recording is not None and self.decision.failover is None and self.copies is None \
                    and not self.repeats_answers() \
                    and not self.recording.complete and not self.recording.is_behind():
                self.end_replay()          # the rest of it need not be kept
            if self.tries is not None and self.tries.hedge_ms:
                self.body_given()
            if self.request_sink.blocked:
                return 0
        return self.client.want_body()

    cdef Sink body_sink(self):
        """Where the request's body goes now; None while there is no stream. A recording without owners is taken out."""
        if self.recording is not None and self.recording.is_spent() and not self.recording.is_behind():
            self.end_replay()
        return self.request_sink
