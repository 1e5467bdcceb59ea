from collections.abc import Iterable

from lbcore.tls.certificate import Pair
from lbcore.tls.option_set import OptionSet
from lbcore.tls.tickets import TicketKeys

REFUSED: object

class Certificates:
    def __init__(self, pairs: Iterable[Pair], fallback: Iterable[Pair]) -> None: ...
    def knows(self, name: bytes) -> bool: ...

class Acceptor:
    options: OptionSet
    def __init__(
        self,
        options: OptionSet,
        hosts: dict[bytes, OptionSet | object],
        certificates: Certificates,
        tickets: TicketKeys,
        challenges: dict[bytes, Pair] | None = None,
        layer_4: bool = False,
        staples: dict[str, bytes] | None = None,
        refuses: bool = False,
    ) -> None: ...

class Handshake: ...
