"""How one server is, at a glance. No I/O."""

cimport cython


@cython.final
cdef class ServerStats:
    """ServerStats(weight, share, picks, in_flight, max_in_flight, latency_s, state)\n--\n\nHow a server is: an item of `Selector.stats`.

    weight         as given.
    share          the part of all picks that is meant for it, 0 to 1.
    picks          how often `pick` or a lease gave it since it was added; what `pick_many` gives is for the caller to count.
    in_flight      the sum of the costs of the requests under lease.
    max_in_flight  the most of that, where an InFlightLimit sets one, else None.
    latency_s      the average latency, where the algorithm keeps one, else None.
    state          `up`; `starting`: its weight ramps up; `full`: as much is in flight as may be; `ejected`; `standby`: a wrapper
                   keeps it out for another reason, as Tiers does; `drained`: of weight 0; `down`: by `set_up`.
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
