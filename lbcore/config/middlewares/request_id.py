"""`requestID`, an extension: gives each request an identifier. No I/O."""

from lbcore.config.middlewares.header_names import OwnHeaderName
from lbcore.config.model import Model


class RequestID(Model):
    """header_name      of the request, and of its answer.
    trust            keep what a client has sent, if it looks like an identifier.
    answer           the client learns it, too.
    traceparent      of a request with a `traceparent` (W3C Trace Context) its trace id is the identifier.
    """

    may_be_empty = True

    header_name: OwnHeaderName = "X-Request-Id"
    trust: bool = False
    answer: bool = True
    traceparent: bool = True
