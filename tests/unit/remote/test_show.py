"""What is said of the problems of an instance."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.remote.show import problem_lines


@pytest.mark.parametrize(
    ("routers", "more"), [(10, []), (11, ["  and 1 more router"]), (10_000, ["  and 9990 more routers"])]
)
def test_a_problem_names_some_of_the_routers_that_it_concerns(routers: int, more: list[str]) -> None:
    traffic = [f"shop-{number}@file: Host(`{number}.test`)" for number in range(routers)]
    problem = {"severity": "lost", "object": "service all@file", "text": "it is down", "traffic": traffic}
    state: dict[str, Any] = {"problems": [problem], "accessLogLinesLost": 0, "logLinesLost": 0, "connectionsShed": 0}
    lines = [line.plain for line in problem_lines(state)]
    assert lines == ["LOST it is down", *(f"  {each}" for each in traffic[:10]), *more]
