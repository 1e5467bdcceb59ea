"""`errors`: pages of a service in place of answers with some statuses. No I/O."""

from lbcore.config.model import Model
from lbcore.config.numbers import Count


class Errors(Model):
    """status          ranges whose answers are replaced.
    statusRewrites    by range: the status that the client gets; without one the server's own.
    query             of the page; {status}, {originalStatus} and {url} stand for what they say.
    errorRequestHeaders  headers that the request for the page has of the client's; without it: all.
    """

    status: list[str] = []
    status_rewrites: dict[str, Count] = {}
    service: str = ""
    query: str = ""
    error_request_headers: list[str] | None = None

    @property
    def asks(self) -> list[str]:
        return [self.service] if self.service else []
