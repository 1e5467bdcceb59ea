from collections.abc import Callable
from typing import Any, Final, final

from typing_extensions import disjoint_base

from lbcore.selection.selector import _S, Selector
from lbcore.selection.wrapper import Wrapper

__test__: Final[dict[str, Any]]

DEFAULTS: Final[dict[str, Any]]
NUMBERS: Final[dict[str, tuple[float, float, bool]]]
MAY_BE_OFF: Final[tuple[str, ...]]
FLAGS: Final[tuple[str, ...]]

@disjoint_base
class Host: ...

@final
class OutlierDetector(Wrapper[_S]):
    """Eject servers that fail more than others for a while. It learns of failures from leases and from `report`.

    selector                     a selector, or a wrapper. Ejections do not touch `set_up`, which is for health checks.
    consecutive_failures         of any kind, one after the other (5).
    consecutive_gateway          gateway errors one after the other: kind `gateway`, or `local` without `split_local` (None: off).
    consecutive_local            failures to get an answer, one after the other; only with `split_local` (5).
    success_rate_factor          standard deviations below the mean (1.9), among success_rate_hosts (5) with success_rate_requests
                                 (100) in an interval; None: off.
    failure_percent              of an interval's requests (None: off; Envoy's number is 85), with failure_percent_hosts (5) and
                                 failure_percent_requests (50).
    interval_s                   length of an interval (10).
    base_ejection_s, max_ejection_s, jitter_s   30, 300 and 0.
    max_ejection_percent         of the servers may be ejected at once (10); with always_eject_one (True), one in any case.
    split_local                  count failures to get an answer apart from failing answers (False).
    on_eject, on_return          functions, called with (server, reason) after an ejection and with (server) after its end. They may
                                 use the selector; `sys.unraisablehook` gets their exceptions.
    clock                        a function that returns seconds; None = the monotonic clock.
    A report is O(1); the end of an interval and an ejection are O(servers). A pick costs some ns and a reading of the clock more.
    """

    def __init__(
        self,
        selector: Selector[_S],
        *,
        consecutive_failures: int | None = 5,
        consecutive_gateway: int | None = None,
        consecutive_local: int | None = 5,
        success_rate_factor: float | None = 1.9,
        success_rate_hosts: int = 5,
        success_rate_requests: int = 100,
        failure_percent: float | None = None,
        failure_percent_hosts: int = 5,
        failure_percent_requests: int = 50,
        interval_s: float = 10.0,
        base_ejection_s: float = 30.0,
        max_ejection_s: float = 300.0,
        jitter_s: float = 0.0,
        max_ejection_percent: float = 10,
        always_eject_one: bool = True,
        split_local: bool = False,
        on_eject: Callable[[_S, str], object] | None = None,
        on_return: Callable[[_S], object] | None = None,
        clock: Callable[[], float] | None = None,
        seed: int = 0,
    ) -> None: ...
    def observe(self, server: _S, *, ok: bool = True, kind: str = "error") -> None:
        """`report` to the detector alone, for requests whose outcome the selector already knows by a lease."""
    def eject(self, server: _S, reason: str = "by hand") -> bool:
        """Eject a server for the usual time, within the limits. Returns whether it is ejected now. Raises KeyError."""
    def uneject(self, server: _S) -> None:
        """End an ejection, for instance because an active check has succeeded. Raises KeyError."""
