"""`buffering`: bodies that are read whole before they go on, and answers that are asked for again. No I/O."""

from typing import Annotated

from pydantic import Field

from lbcore.config.model import Model
from lbcore.config.numbers import INT64_MAX

Bytes = Annotated[int, Field(ge=0, le=INT64_MAX)]


class Buffering(Model):
    """maxRequestBodyBytes, maxResponseBodyBytes  0: any number; a longer one is 413 or 500.
    memRequestBodyBytes, memResponseBodyBytes  that lie in memory; 0: 1 MiB.
    retryExpression                            while it is true, another attempt is made, up to ten.
    """

    max_request_body_bytes: Bytes = 0
    mem_request_body_bytes: Bytes = 0
    max_response_body_bytes: Bytes = 0
    mem_response_body_bytes: Bytes = 0
    retry_expression: str = ""
