"""The API shows of a secret that there is one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbcore.api.shape import shape
from lbcore.config.dynamic import Service
from lbcore.config.middlewares import Middleware


@pytest.mark.parametrize(
    ("middleware", "shown"),
    [
        ({"basicAuth": {"users": ["ann:SECRET", "bob:SECRET"]}}, {"users": ["ann:xxxx", "bob:xxxx"]}),
        ({"digestAuth": {"users": ["ann:realm:SECRET"]}}, {"users": ["ann:realm:xxxx"]}),
        ({"apiKey": {"keys": ["ann:SECRET"]}}, {"keys": ["ann:xxxx"]}),
        ({"apiKey": {"keys": ["ann:SECRET:SECRET"]}}, {"keys": ["ann:xxxx"]}),
        ({"basicAuth": {"users": ["ann:SECRET:SECRET", "SECRET"]}}, {"users": ["ann:xxxx", "xxxx"]}),
        ({"digestAuth": {"users": ["ann:realm:SECRET:SECRET"]}}, {"users": ["ann:realm:xxxx"]}),
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


def test_keys_that_sign_cookies_are_not_shown() -> None:
    cookie = {"name": "c", "signed": {"keys": ["SECRET-of-16-bytes", "SECRET:of:16:bytes"]}}
    model = Service.model_validate({"loadBalancer": {"servers": [], "sticky": {"cookie": cookie}}})
    assert shape(model)["loadBalancer"]["sticky"]["cookie"]["signed"] == {"keys": ["xxxx", "xxxx"]}
    assert "SECRET" not in repr(model)
