from lbcore.config.tls import TlsOptions

class OptionSet:
    name: str
    def __init__(self, name: str, settings: TlsOptions, authorities: tuple[bytes, ...] = ...) -> None: ...
