"""`python`, an extension: what may name code of users. No I/O."""

from pydantic import field_validator

from lbcore.config.model import Model
from lbcore.config.static.providers import PRECEDENCE


class PythonCode(Model):
    """allowedProviders  whose middlewares may name classes, beside the file provider."""

    allowed_providers: list[str] = []

    @field_validator("allowed_providers")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in PRECEDENCE:
                raise ValueError(f"unknown provider {name!r}: known here: {', '.join(PRECEDENCE)}")
        return value
