"""circuitBreaker: refuse requests while an expression over the last answers is true, then let more and more pass. No I/O.

All that is counted lies in the table of keys that all workers share, in rows of the breaker of a router or service:

- one row for its state;
- ratios of statuses: for each of them ten rows, for the last ten seconds;
- latencies: for each of the last six periods of 10 s a histogram, whose bounds lie 3 % apart, with four counters to a row.
"""

import logging
from time import monotonic_ns

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from lbcore.http.render cimport status_text
from lbcore.http.request cimport Request
from lbcore.http.response cimport Response
from lbcore.middleware.base cimport ANSWER, PASS, Context, Middleware, Slot
from lbcore.state.holdings cimport Group
from lbcore.state.layout cimport KeyedRow

from lbcore.middleware.expression import Function, compile_condition

_log = logging.getLogger("lbcore.middleware")

cdef enum:
    STANDBY = 0                # all requests pass
    TRIPPED                    # none does, until `KeyedRow.value`
    RECOVERING                 # some do, until then
    ROW_STATE = 0              # what a row counts, the first byte of its key
    ROW_RATIO
    ROW_LATENCY
    MOST_RATIOS = 8            # of an expression
    BUCKETS = 10               # seconds that ratios are about
    PERIODS = 6                # that latencies are about
    LINEAR = 64                # latencies below this number of µs have a counter each
    STEPS = 32                 # counters for each doubling above that
    COUNTERS = 960             # of a histogram: up to 2^33 µs, more than two hours
    COUNTERS_OF_ROW = 4
    STARTED_NS = 0             # index into `Slot.words`: when the request came
    OF_BREAKER = 1             # likewise: its Breaker, which the middleware owns
    STATE_SHIFT = 62           # of `KeyedRow.reserve` of ROW_STATE: the state, then 31 bits each for requests let through and refused
    COUNT_BITS = 31
    SECOND_NS = 1000000000
    PERIOD_S = 10              # that latencies are counted together

cdef uint64_t UNKNOWN = ~<uint64_t>0
cdef uint64_t MOST_COUNTED = (<uint64_t>1 << COUNT_BITS) - 1


cdef struct Ratio:             # of answers in the first range to those in the second; the ends are not included
    int64_t first
    int64_t behind
    int64_t of_first
    int64_t of_behind


cdef int counter_of(uint64_t micros) noexcept nogil:
    """The counter of a latency."""
    cdef int shift = 0
    cdef uint64_t value = micros
    if micros < LINEAR:
        return <int>micros
    while value >= LINEAR:
        value >>= 1
        shift += 1
    return min(LINEAR + (shift - 1) * STEPS + <int>(value - STEPS), COUNTERS - 1)


cdef uint64_t highest_of(int counter) noexcept nogil:
    """The highest latency that a counter counts, in µs."""
    cdef int shift
    if counter < LINEAR:
        return counter
    shift = (counter - LINEAR) // STEPS + 1
    return ((<uint64_t>((counter - LINEAR) % STEPS) + STEPS + 1) << shift) - 1


@cython.final
cdef class Breaker:
    """Of one router or service, in the hands of one worker."""

    cdef Group group
    cdef uint64_t checks_after_ns      # the next time that the condition is looked at
    cdef uint64_t standby_at           # `Header.breaker_trips` when it was on standby; any other number: it may be not
    cdef uint32_t[MOST_RATIOS] near    # where the row of a ratio that counts now was seen: rows move seldom


@cython.final
cdef class Readings:
    """What a condition is about, at one moment."""

    cdef list ratios
    cdef uint64_t counters[COUNTERS]
    cdef uint64_t count                # sum of the counters

    def ratio(self, int index) -> float:
        return self.ratios[index]

    def latency_ms(self, double percent) -> int:
        """The latency below which that share of the answers lies."""
        cdef uint64_t rank = <uint64_t>(percent / 100 * self.count + 0.5), seen = 0
        cdef int i
        if self.count == 0:
            return 0
        for i in range(COUNTERS):
            seen += self.counters[i]
            if seen >= rank and seen:
                return highest_of(i) // 1000
        return highest_of(COUNTERS - 1) // 1000


@cython.final
cdef class CircuitBreaker(Middleware):
    """The `circuitBreaker` middleware of Traefik."""

    cdef object condition              # from Readings to whether it trips
    cdef list ratios                   # (first, behind, of_first, of_behind), as the expression names them
    cdef Ratio[MOST_RATIOS] ratio
    cdef int n_ratios
    cdef bint times                    # the expression is about latencies
    cdef int status
    cdef uint64_t check_ns, fallback_ns, recovery_ns
    cdef Group group
    cdef dict breakers                 # Breaker by router or service: bounded by the configuration
    cdef str last_place                # of the one that was asked for last
    cdef Breaker last_breaker

    def __init__(self, str name, config):
        self.name = name
        self.guards = True
        self.sees_end = True
        self.ratios = []
        self.breakers = {}
        self.status = config.response_code
        self.check_ns, self.fallback_ns, self.recovery_ns = [
            int(period.total_seconds() * 1e9) for period in (config.check_period, config.fallback_duration, config.recovery_duration)]
        self.condition = compile_condition(config.expression, {
            "NetworkErrorRatio": Function(float, (), self.network_errors),
            "ResponseCodeRatio": Function(float, (int, int, int, int), self.statuses),
            "LatencyAtQuantileMS": Function(int, (float,), self.latency),
        })

    def network_errors(self):
        """`NetworkErrorRatio`: what no server has answered, among all answers; see `counts`."""
        return self.read(-1, -1, 0, 1 << 31)

    def statuses(self, int first, int behind, int of_first, int of_behind):
        """`ResponseCodeRatio`."""
        return self.read(first, behind, of_first, of_behind)

    def latency(self, double percent):
        """`LatencyAtQuantileMS`."""
        self.times = True
        return lambda readings: readings.latency_ms(percent)

    def read(self, int64_t first, int64_t behind, int64_t of_first, int64_t of_behind):
        """What reads a ratio, which is counted from here on."""
        cdef Ratio* ratio
        key = (first, behind, of_first, of_behind)
        if key not in self.ratios:
            if len(self.ratios) == MOST_RATIOS:
                raise ValueError(f"the expression has more than {MOST_RATIOS} different ratios")
            self.ratios.append(key)
            ratio = &self.ratio[self.n_ratios]
            ratio.first, ratio.behind, ratio.of_first, ratio.of_behind = first, behind, of_first, of_behind
            self.n_ratios += 1
        index = self.ratios.index(key)
        return lambda readings: readings.ratio(index)

    def keep_in(self, state):
        self.group = state.group(f"circuitBreaker|{self.name}")

    cdef Breaker at(self, Context context):
        """The breaker of the router or service in front of which the middleware stands."""
        cdef str place = context.place()
        cdef Breaker found
        if place is self.last_place:
            return self.last_breaker
        found = self.breakers.get(place)
        if found is None:
            found = self.breakers[place] = Breaker.__new__(Breaker)
            found.group = self.group.part(place)
            found.standby_at = UNKNOWN
        self.last_place, self.last_breaker = place, found
        return found

    def state_at(self, str place, Request request):
        cdef KeyedRow row = find_row(self.group.part(place), ROW_STATE, 0, 0)[0]
        cdef uint64_t state = row.reserve >> STATE_SHIFT if row.used else STANDBY
        cdef int64_t left_ns = row.value - <int64_t>monotonic_ns()
        if state == STANDBY or (state == RECOVERING and left_ns < 0):
            return {"state": "standby"}
        return {"state": "tripped" if state == TRIPPED else "recovering", "seconds": round(max(left_ns, 0) / 1e9, 1)}

    def open_until(self, str place):
        """The monotonic time in ns until which the breaker of a router or service is open; 0: it is not."""
        cdef Group group = self.group.part(place)
        cdef bint locked = group.table.lock()
        cdef KeyedRow row = find_row(group, ROW_STATE, 0, 0)[0]
        group.table.unlock(locked)
        return row.value if row.used and row.reserve >> STATE_SHIFT == TRIPPED else 0

    def open_at(self, str place, int64_t until_ns):
        """Open the breaker of a router or service, because others have opened theirs, for as long as it would stay open at most.

        Returns the monotonic time in ns until which it is open by that; 0: it was not on standby.
        """
        cdef Group group = self.group.part(place)
        cdef int64_t now_ns = monotonic_ns()
        cdef RowKey key = row_key(ROW_STATE, 0, 0)
        cdef bint locked = group.table.lock(), opened = False
        cdef KeyedRow* row = group.table.insert(group.table.region.workers, group.number, key.bytes)
        cdef uint64_t state
        if row != NULL and until_ns > now_ns:
            state = row.reserve >> STATE_SHIFT
            opened = state == STANDBY or (state == RECOVERING and now_ns > row.value)
        if opened:
            until_ns = min(until_ns, now_ns + <int64_t>self.fallback_ns)
            self.trip(group, row, now_ns, until_ns)
        group.table.unlock(locked)
        if not opened:
            return 0
        _log.warning("circuit breaker %s of %s is open, as those of other instances", self.name, place)
        return until_ns

    cdef void trip(self, Group group, KeyedRow* row, uint64_t now_ns, int64_t until_ns) noexcept:
        """Open. The table is locked."""
        group.table.region.count_breaker_trip()     # first: workers that see it wait for the lock
        row.touched_ns = now_ns
        row.value = until_ns
        row.reserve = <uint64_t>TRIPPED << STATE_SHIFT
        self.forget(group)

    # Requests

    cdef int on_request(self, Request request, Response answer, Context context) except -1:
        cdef Breaker breaker = self.at(context)
        cdef uint64_t trips = breaker.group.table.region.breaker_trips()
        cdef Slot* slot
        if trips != breaker.standby_at and not self.asks(breaker, trips, context.now_ns()):
            answer.status = self.status
            answer.text = status_text(self.status)
            return ANSWER
        slot = context.slot()
        slot.words[OF_BREAKER] = <uint64_t><void*>breaker
        if self.times:
            slot.words[STARTED_NS] = context.now_ns()
        return PASS

    cdef bint asks(self, Breaker breaker, uint64_t trips, uint64_t now_ns) noexcept:
        """Whether a request passes a breaker that may be not on standby. `trips`: as it was before."""
        cdef Group group = breaker.group
        cdef bint passes = True, locked = group.table.lock()
        cdef KeyedRow* row = find_row(group, ROW_STATE, 0, 0)
        if row.used and row.reserve >> STATE_SHIFT:
            passes = self.lets_through(row, now_ns)
        else:
            breaker.standby_at = trips
        group.table.unlock(locked)
        return passes

    cdef bint lets_through(self, KeyedRow* row, uint64_t now_ns) noexcept:
        """Whether a request passes a breaker that is not on standby."""
        cdef uint64_t state = row.reserve >> STATE_SHIFT, passed, refused
        cdef double wanted
        row.touched_ns = now_ns
        if state == TRIPPED:
            if now_ns < <uint64_t>row.value:
                return False
            row.value = now_ns + self.recovery_ns
            row.reserve = <uint64_t>RECOVERING << STATE_SHIFT
        if now_ns > <uint64_t>row.value:
            row.reserve = <uint64_t>STANDBY << STATE_SHIFT
            return True
        passed, refused = (row.reserve >> COUNT_BITS) & MOST_COUNTED, row.reserve & MOST_COUNTED
        wanted = 0.5 * (<double>self.recovery_ns - (<uint64_t>row.value - now_ns)) / self.recovery_ns
        if <double>(passed + 1) / (passed + 1 + refused) < wanted:
            row.reserve += <uint64_t>(passed < MOST_COUNTED) << COUNT_BITS
            return True
        row.reserve += refused < MOST_COUNTED
        return False

    # Answers

    cdef int on_end(self, Request request, int status, Context context) except -1:
        cdef Slot* slot = context.slot()
        cdef Breaker breaker = <Breaker><void*>slot.words[OF_BREAKER]
        cdef uint64_t now_ns = context.now_ns(), started_ns = slot.words[STARTED_NS]
        if status == 0:
            status = answered(context)
        self.count(breaker, status, now_ns, (now_ns - started_ns) // 1000)
        if now_ns > breaker.checks_after_ns:
            breaker.checks_after_ns = now_ns + self.check_ns
            self.check(breaker.group, context, now_ns)
        return 0

    cdef void count(self, Breaker breaker, int status, uint64_t now_ns, uint64_t micros) noexcept:
        """Count an answer."""
        cdef Group group = breaker.group
        cdef uint64_t second = now_ns // SECOND_NS, period = second // PERIOD_S
        cdef bint locked = group.table.lock()
        cdef KeyedRow* row
        cdef uint32_t near = 0
        cdef int i, counter
        for i in range(self.n_ratios):
            row = fresh_row(group, row_key(ROW_RATIO, i, second % BUCKETS), second * SECOND_NS, SECOND_NS, now_ns, &breaker.near[i])
            if row != NULL:
                row.value += counts(&self.ratio[i], status)
                row.reserve += self.ratio[i].of_first <= status < self.ratio[i].of_behind
        if self.times:
            counter = counter_of(micros)
            row = fresh_row(group, row_key(ROW_LATENCY, counter // COUNTERS_OF_ROW, period % PERIODS),
                            period * PERIOD_S * SECOND_NS, <uint64_t>PERIOD_S * SECOND_NS, now_ns, &near)
            if row != NULL:
                add_to(row, counter % COUNTERS_OF_ROW)
        group.table.unlock(locked)

    cdef int check(self, Group group, Context context, uint64_t now_ns) except -1:
        """Trip if the condition is true."""
        cdef Readings readings = Readings.__new__(Readings)
        cdef KeyedRow* row
        cdef RowKey key = row_key(ROW_STATE, 0, 0)
        cdef bint locked, tripped
        self.take_readings(group, readings, now_ns)
        if not self.condition(readings):
            return 0
        locked = group.table.lock()
        row = group.table.insert(group.table.region.workers, group.number, key.bytes)
        tripped = row != NULL and row.reserve >> STATE_SHIFT != TRIPPED
        if tripped:
            self.trip(group, row, now_ns, now_ns + self.fallback_ns)
        group.table.unlock(locked)
        if tripped:
            _log.warning("circuit breaker %s of %s is open for %g s", self.name, context.place(), self.fallback_ns / 1e9)
        return 0

    cdef int take_readings(self, Group group, Readings readings, uint64_t now_ns) except -1:
        cdef uint64_t second = now_ns // SECOND_NS, period = second // PERIOD_S, age, part, whole
        cdef bint locked = group.table.lock()
        cdef KeyedRow* row
        cdef int i, j
        readings.ratios = [0.0] * self.n_ratios
        for i in range(self.n_ratios):
            part = whole = 0
            for age in range(BUCKETS):
                row = find_row(group, ROW_RATIO, i, (second - age) % BUCKETS)
                if row.used and row.touched_ns // SECOND_NS == second - age:
                    part += row.value
                    whole += row.reserve
            if whole:
                readings.ratios[i] = <double>part / whole
        group.table.unlock(locked)
        if not self.times:
            return 0
        memset(readings.counters, 0, sizeof(readings.counters))
        readings.count = 0
        for age in range(PERIODS):
            locked = group.table.lock()
            for i in range(COUNTERS // COUNTERS_OF_ROW):
                row = find_row(group, ROW_LATENCY, i, (period - age) % PERIODS)
                if row.used and row.touched_ns // SECOND_NS // PERIOD_S == period - age:
                    for j in range(COUNTERS_OF_ROW):
                        readings.counters[COUNTERS_OF_ROW * i + j] += part_of(row, j)
                        readings.count += part_of(row, j)
            group.table.unlock(locked)
        return 0

    cdef void forget(self, Group group) noexcept:
        """What was counted so far counts no more. The table is locked."""
        cdef KeyedRow* row
        cdef int i, j
        for i in range(self.n_ratios):
            for j in range(BUCKETS):
                row = find_row(group, ROW_RATIO, i, j)
                row.value = 0
                row.reserve = 0
        if self.times:
            for i in range(COUNTERS // COUNTERS_OF_ROW):
                for j in range(PERIODS):
                    row = find_row(group, ROW_LATENCY, i, j)
                    row.value = 0
                    row.reserve = 0


cdef union RowKey:
    uint8_t bytes[16]
    uint32_t words[4]


cdef inline RowKey row_key(uint32_t kind, uint32_t index, uint32_t place) noexcept nogil:
    cdef RowKey key
    key.words[0], key.words[1], key.words[2], key.words[3] = kind, index, place, 0
    return key


cdef KeyedRow* find_row(Group group, uint32_t kind, uint32_t index, uint32_t place) noexcept:
    """The row, or a free one in its place, which stays zero. The table is locked."""
    cdef RowKey key = row_key(kind, index, place)
    return group.table.find(group.table.region.workers, group.number, key.bytes)


cdef KeyedRow* fresh_row(Group group, RowKey key, uint64_t begin_ns, uint64_t length_ns, uint64_t now_ns, uint32_t* near) noexcept:
    """The row that counts in the time from `begin_ns` on, zero if its counts are of another one; NULL = there is no room. The table is
    locked.

    near  the index of the row when it was last used; set.
    """
    cdef uint32_t part = group.table.region.workers
    cdef KeyedRow* rows = group.table.region.keyed_rows(part)
    cdef KeyedRow* row = rows + near[0]
    if not row.used or row.group != group.number or memcmp(row.key, key.bytes, 16) != 0:
        row = group.table.insert(part, group.number, key.bytes)
        if row == NULL:
            return NULL
        near[0] = <uint32_t>(row - rows)
    if row.touched_ns - begin_ns >= length_ns:             # also where it is less
        row.value = 0
        row.reserve = 0
    row.touched_ns = now_ns
    return row


cdef bint counts(const Ratio* ratio, int status) noexcept:
    """Whether a status belongs to the first range of a ratio; that of NetworkErrorRatio is 502 and 504."""
    return ratio.first <= status < ratio.behind if ratio.first >= 0 else status == 502 or status == 504


cdef int answered(Context context) except -1:
    """The status of the last attempt of a request that goes elsewhere now."""
    cdef list made = context.attempts_made()
    return (made[len(made) - 1][4] or 502) if made else 0


cdef inline void add_to(KeyedRow* row, int counter) noexcept:
    """Add one to a counter of a row: two in each of its words."""
    if counter < 2:
        row.value += <int64_t>1 << (32 * counter)
    else:
        row.reserve += <uint64_t>1 << (32 * (counter - 2))


cdef inline uint64_t part_of(const KeyedRow* row, int counter) noexcept:
    return <uint32_t>((<uint64_t>row.value if counter < 2 else row.reserve) >> (32 * (counter & 1)))
