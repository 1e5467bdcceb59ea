from collections.abc import Iterable, Sequence

from lbcore.routing.balancer import Child
from lbcore.routing.service import Service
from lbcore.state.region import Region

class MirrorPolicy:
    def __init__(
        self,
        with_body: bool = True,
        max_body: int = -1,
        timeout_ms: int = 30000,
        max_concurrent: int = 256,
        max_buffered: int = ...,
        headers: Iterable[tuple[str, str]] = (),
        methods: Iterable[str] = (),
    ) -> None: ...

class Mirror:
    child: Child
    percent: int
    policy: MirrorPolicy
    def __init__(self, child: Child, percent: int, policy: MirrorPolicy) -> None: ...

class Mirroring(Service):
    main: Child
    mirrors: list[Mirror]
    policy: MirrorPolicy
    def __init__(
        self, name: str, main: Child, mirrors: Sequence[Mirror], policy: MirrorPolicy, region: Region, slot: int
    ) -> None: ...

def due(number: int, percent: int) -> bool: ...
