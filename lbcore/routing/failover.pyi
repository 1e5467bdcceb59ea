from collections.abc import Sequence

from lbcore.routing.balancer import Child
from lbcore.routing.service import Service
from lbcore.state.region import Region

class Failover(Service):
    main: Child
    fallback: Child
    @property
    def is_watching(self) -> bool: ...
    def __init__(
        self,
        name: str,
        main: Child,
        fallback: Child,
        region: Region,
        slot: int,
        watches: bool = False,
        statuses: Sequence[tuple[int, int]] = (),
        max_body: int = -1,
    ) -> None: ...
