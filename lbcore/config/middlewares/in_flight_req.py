"""`inFlightReq`: so many requests of one source at once. No I/O."""

from __future__ import annotations

from lbcore.config.middlewares.source import SourceCriterion
from lbcore.config.model import Model
from lbcore.config.numbers import Size


class InFlightReq(Model):
    """Without `amount`: none, as in Traefik. Without a criterion the host of the request counts."""

    amount: Size = 0
    source_criterion: SourceCriterion | None = None

    def without_effect(self) -> list[str]:
        return [] if self.source_criterion is None else self.source_criterion.without_effect()
