"""Models of middlewares and what builds them are found by the same names."""

from lbcore.config.middlewares import Middleware
from lbcore.config.model import fields_of
from lbcore.middleware.build import KINDS


def test_every_kind_of_middleware_has_a_builder() -> None:
    assert set(KINDS) | {"chain", "plugin"} == set(fields_of(Middleware))
