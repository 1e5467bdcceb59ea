"""From the options of `rateLimit.redis` to what the store is asked by."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.config.middlewares.rate_limit import RedisLimit
from lbcore.middleware.rate_limit import settings_of
from lbcore.store.redis import Settings

DEFAULT = Settings((("127.0.0.1", 6379),))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, {}),
        ({"endpoints": ["a:1", "[::1]:2"]}, {"endpoints": (("a", 1), ("::1", 2))}),
        ({"username": "ann", "password": "key", "db": 3}, {"username": "ann", "password": "key", "db": 3}),
        ({"dialTimeout": "7s"}, {"dial_s": 7.0}),
        ({"dialTimeout": "0s"}, {"dial_s": 5.0}),
        ({"readTimeout": "250ms", "writeTimeout": "2s"}, {"read_s": 0.25, "write_s": 2.0}),
        ({"readTimeout": "-1s", "writeTimeout": "0s"}, {"read_s": 0.0, "write_s": 0.0}),
        ({"maxWait": "20ms"}, {"wait_s": 0.02}),
        ({"poolSize": 7, "minIdleConns": 2}, {"most": 7, "least": 2}),
        ({"poolSize": 7, "maxActiveConns": 3}, {"most": 3}),
        ({"poolSize": -7, "maxActiveConns": -3, "minIdleConns": -1}, {}),
    ],
)
def test_each_option_has_its_place(options: dict[str, Any], found: dict[str, Any]) -> None:
    settings = settings_of(RedisLimit.model_validate(options))
    names = Settings.__dataclass_fields__
    assert {name: getattr(settings, name) for name in names} == {
        **{name: getattr(DEFAULT, name) for name in names},
        **found,
    }
