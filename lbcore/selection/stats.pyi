from typing import Any, Final, final

__test__: Final[dict[str, Any]]

@final
class ServerStats:
    """How a server is: an item of `Selector.stats`.

    weight         as given.
    share          the part of all picks that is meant for it, 0 to 1.
    picks          how often `pick` or a lease gave it since it was added; what `pick_many` gives is for the caller to count.
    in_flight      the sum of the costs of the requests under lease.
    max_in_flight  the most of that, where an InFlightLimit sets one, else None.
    latency_s      the average latency, where the algorithm keeps one, else None.
    state          `up`; `starting`: its weight ramps up; `full`: as much is in flight as may be; `ejected`; `standby`: a wrapper
                   keeps it out for another reason, as Tiers does; `drained`: of weight 0; `down`: by `set_up`.
    """

    def __init__(
        self,
        weight: int,
        share: float,
        picks: int,
        in_flight: int,
        max_in_flight: int | None,
        latency_s: float | None,
        state: str,
    ) -> None: ...
    @property
    def weight(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def picks(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def max_in_flight(self) -> int | None: ...
    @property
    def latency_s(self) -> float | None: ...
    @property
    def state(self) -> str: ...
