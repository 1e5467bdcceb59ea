from lbcore.middleware.base import Middleware

HEADER: str

def hash_of(router: str) -> bytes: ...

class RefuseRecursion(Middleware):
    def __init__(self, router: str) -> None: ...
