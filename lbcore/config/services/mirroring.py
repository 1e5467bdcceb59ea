"""`mirroring`: a service, and others that get copies. No I/O."""

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from lbcore.config.model import WHEN_SET, Model
from lbcore.config.numbers import Limit, Seconds, Size
from lbcore.config.services.health_check import ParentHealthCheck
from lbcore.config.units import Duration


class MirrorService(Model):
    meant: ClassVar[str] = "each mirror begins with a dash: - name: NAME"

    name: str
    percent: Seconds = 0


class Mirroring(Model):
    """Copies of requests to other services, whose answers are not waited for.

    maxBodySize    bytes of body that are copied, -1: any; a request with a longer body is not mirrored.
    headers        (extension) set on every copy.
    methods        (extension) of requests that are mirrored; empty: all.
    timeout        (extension) of one copy, from its start to the end of its answer.
    maxConcurrent  (extension) copies under way at once in a worker; what is beyond is not sent.
    maxBufferedBytes  (extension) bodies held for copies in a worker; likewise.
    """

    service: str
    mirrors: list[MirrorService] = []
    mirror_body: bool = True
    max_body_size: Limit = -1
    health_check: ParentHealthCheck | None = None
    headers: dict[str, str] = {}
    methods: list[str] = []
    timeout: Annotated[Duration, WHEN_SET] = timedelta(seconds=30)
    max_concurrent: Annotated[int, Field(ge=1, lt=1 << 31), WHEN_SET] = 256
    max_buffered_bytes: Annotated[Size, WHEN_SET] = 64 << 20
