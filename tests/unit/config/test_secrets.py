"""The API shows of a secret that there is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbcore.api.shape import shape
from lbcore.config.middlewares import Middleware


@pytest.mark.parametrize(
    ("middleware", "shown"),
    [
        ({"basicAuth": {"users": ["ann:SECRET", "bob:SECRET"]}}, {"users": ["ann:xxxx", "bob:xxxx"]}),
        ({"digestAuth": {"users": ["ann:realm:SECRET"]}}, {"users": ["ann:realm:xxxx"]}),
        ({"apiKey": {"keys": ["ann:SECRET"]}}, {"keys": ["ann:xxxx"]}),
        ({"jwtAuth": {"secret": "SECRET"}}, {"secret": "xxxx"}),
        (
            {"forwardAuth": {"address": "http://a", "tls": {"cert": "c", "key": "SECRET"}}},
            {"tls": {"cert": "c", "key": "xxxx"}},
        ),
    ],
)
def test_of_a_secret_only_that_it_is_there(middleware: dict[str, Any], shown: dict[str, Any]) -> None:
    model = Middleware.model_validate(middleware)
    (found,) = shape(model).values()
    assert found.items() >= shown.items()
    assert "SECRET" not in json.dumps(shape(model))
