
class Middleware:
    name: str
