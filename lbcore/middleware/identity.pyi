class IdentityHeader:
    name: bytes
    lower: bytes
    def __init__(self, name: str) -> None: ...
