from lbcore.tls.contexts import Acceptor

class TlsEncryption:
    def __init__(self, acceptor: Acceptor) -> None: ...
