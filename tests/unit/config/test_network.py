"""URLs of servers: what is taken, and what is refused by name."""

from __future__ import annotations

import pytest

from lbcore.config.network import split_url


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://a.test", ("a.test", 80, "a.test", "")),
        ("http://[::1]:8080/x", ("::1", 8080, "[::1]:8080", "/x")),
        ("http://me:sec@ret@a.test:81/x", ("a.test", 81, "a.test:81", "/x")),
        ("unix:/run/app.sock", ("/run/app.sock", 0, "localhost", "")),
    ],
)
def test_urls(url: str, parts: tuple[str, int, str, str]) -> None:
    assert split_url(url) == parts


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://a.test:80", "write http://host:port"),
        ("a.test:80", "write http://host:port"),
        ("http://a.test:99999", "error parsing server URL"),
        ("unix:", "needs the path of a socket"),
    ],
)
def test_what_is_not_there_is_refused_by_name(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        split_url(url)
