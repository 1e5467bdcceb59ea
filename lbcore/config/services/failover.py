"""`failover`: a service to ask, and another one when that fails. No I/O."""

from lbcore.config.model import Model
from lbcore.config.numbers import Limit
from lbcore.config.services.health_check import ParentHealthCheck


class FailoverErrors(Model):
    """Statuses of the main service's answers for which the fallback is asked instead.

    maxRequestBodyBytes  -1: any; a longer body is refused.
    """

    status: list[str] = []
    max_request_body_bytes: Limit = -1


class Failover(Model):
    service: str
    fallback: str
    health_check: ParentHealthCheck | None = None
    errors: FailoverErrors | None = None
