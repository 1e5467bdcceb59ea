from lbcore.tls.connector import Target
from lbcore.tls.handshake import Acceptor

class TlsEncryption:
    def __init__(self, acceptor: Acceptor) -> None: ...

class TlsServerEncryption:
    def __init__(self, target: Target) -> None: ...
