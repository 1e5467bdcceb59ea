from lbcore.config.tls import ServerTls

class Connector:
    settings: ServerTls
    def __init__(self, settings: ServerTls) -> None: ...

class Target:
    connector: Connector
    host: str
    def __init__(self, connector: Connector, host: str) -> None: ...
