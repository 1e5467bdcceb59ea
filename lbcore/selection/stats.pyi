from typing import Any, Final, final

__test__: Final[dict[str, Any]]

@final
class ServerStats:
    """The state of a server: a value of `Selector.stats`.

    weight         as given.
    share          the part of all picks that the server should get now, 0 to 1.
    picks          times that `pick` or a lease returned it since it was added; the caller of `pick_many` counts its own.
    in_flight      the sum of the costs of the requests under lease.
    max_in_flight  the limit of `in_flight` that an InFlightLimit sets, else None.
    latency_s      the average latency if the algorithm keeps one, else None.
    state          `up`; `starting`: the weight ramps up; `full`: the limit in flight is reached; `ejected`; `standby`: a wrapper
                   excludes the server for another reason, as Tiers does; `drained`: weight 0; `down`: by `set_up`.
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
