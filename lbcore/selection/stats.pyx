"""The state of one server for display. No I/O."""

cimport cython


@cython.final
cdef class ServerStats:
    """ServerStats(weight, share, picks, in_flight, max_in_flight, latency_s, state)\n--\n\nThe state of a server: a value of `Selector.stats`.

    weight         as given.
    share          the part of all picks that the server should get now, 0 to 1.
    picks          times that `pick` or a lease returned it since it was added; the caller of `pick_many` counts its own.
    in_flight      the sum of the costs of the requests under lease.
    max_in_flight  the limit of `in_flight` that an InFlightLimit sets, else None.
    latency_s      the average latency if the algorithm keeps one, else None.
    state          `up`; `starting`: the weight ramps up; `full`: the limit in flight is reached; `ejected`; `standby`: a wrapper
                   excludes the server for another reason, as Tiers does; `drained`: weight 0; `down`: by `set_up`.
    """

    def __init__(self, weight, share, picks, in_flight, max_in_flight, latency_s, state):
        self.weight = weight
        self.share = share
        self.picks = picks
        self.in_flight = in_flight
        self.max_in_flight = max_in_flight
        self.latency_s = latency_s
        self.state = state

    def __repr__(self) -> str:
        names = ("weight", "share", "picks", "in_flight", "max_in_flight", "latency_s", "state")
        return f"ServerStats({', '.join([f'{name}={getattr(self, name)!r}' for name in names])})"

    def __reduce__(self):
        return type(self), (self.weight, self.share, self.picks, self.in_flight, self.max_in_flight, self.latency_s, self.state)
