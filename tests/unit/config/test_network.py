"""URLs of servers: what is taken, and what is refused by name."""

from __future__ import annotations

import pytest

from lbcore.config.network import is_foreign, split_url


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


@pytest.mark.parametrize("url", ["ftp://a", "localhost:8080", "http//a:1", "http:///x", "HTTP:a", "a//b:1", "ws://a"])
def test_what_traefik_takes_and_cannot_ask(url: str) -> None:
    assert is_foreign(url)


@pytest.mark.parametrize("url", ["http://a", "HTTPS://a", "h2c://a:1", "unix:/a", "127.0.0.1:80", "my_app:80", ":80", "http://[::1"])
def test_what_traefik_asks_or_does_not_take(url: str) -> None:
    assert not is_foreign(url)
