from lbcore.middleware.base import Middleware

class Respond(Middleware):
    def __init__(self, name: str, status: int, text: bytes) -> None: ...
