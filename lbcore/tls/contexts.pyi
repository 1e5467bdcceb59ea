from collections.abc import Iterable

from lbcore.config.tls import TlsOptions
from lbcore.tls.tickets import TicketKeys

class Pair:
    names: tuple[bytes, ...]
    kind: str
    fingerprint: str
    days_left: int
    def __init__(self, certificate: bytes, key: bytes) -> None: ...

class OptionSet:
    name: str
    def __init__(self, name: str, settings: TlsOptions, authorities: tuple[bytes, ...] = ...) -> None: ...

class Certificates:
    def __init__(self, pairs: Iterable[Pair], fallback: Iterable[Pair]) -> None: ...
    def knows(self, name: bytes) -> bool: ...

class Acceptor:
    options: OptionSet
    def __init__(
        self,
        options: OptionSet,
        hosts: dict[bytes, OptionSet],
        certificates: Certificates,
        tickets: TicketKeys,
        challenges: dict[bytes, Pair] | None = None,
        layer_4: bool = False,
        staples: dict[str, bytes] | None = None,
    ) -> None: ...

class Handshake: ...

def self_signed() -> tuple[str, str]: ...
