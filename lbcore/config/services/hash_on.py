"""Extension `hashOn`: what decides where strategy `hrw` sends a request. No I/O."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from lbcore.config.model import Model
from lbcore.config.services.sticky import SourceIP


class HashOn(Model):
    """Extension: what decides where strategy `hrw` sends a request. Exactly one; the client's address if none.

    boundedLoad  percent of the average load above which a member's keys go to the next member; 0 = no bound.
    """

    may_be_empty: ClassVar[bool] = True

    header: str = ""
    cookie: str = ""
    query: str = ""
    path: bool = False
    source_ip: SourceIP | None = Field(default=None, alias="sourceIP")
    bounded_load: Annotated[int, Field(ge=0, le=10000)] = 0

    @model_validator(mode="after")
    def _one_source(self) -> "HashOn":
        if sum(map(bool, (self.header, self.cookie, self.query, self.path, self.source_ip is not None))) > 1:
            raise ValueError("set one of header, cookie, query, path and sourceIP")
        if 0 < self.bounded_load <= 100:
            raise ValueError("boundedLoad has to be above 100: some member is always above the average")
        return self
