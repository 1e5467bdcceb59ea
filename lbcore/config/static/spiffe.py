"""`spiffe`: the Workload API that gives this instance its identity. No I/O."""

from typing import ClassVar

from pydantic import Field, field_validator

from lbcore.config.model import Model


class WorkloadApi(Model):
    """`workloadAPIAddr`: `unix:///path` or `tcp://address:port`; default: the environment's SPIFFE_ENDPOINT_SOCKET."""

    may_be_empty: ClassVar[bool] = True

    workload_api_addr: str = Field(default="", alias="workloadAPIAddr")

    @field_validator("workload_api_addr")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not value.startswith(("unix:", "tcp://")):
            raise ValueError(f"{value!r} is no address of a Workload API: write unix:///PATH or tcp://ADDRESS:PORT")
        return value
