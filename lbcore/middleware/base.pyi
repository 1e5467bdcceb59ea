class Middleware:
    name: str
