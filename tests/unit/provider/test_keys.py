"""Keys that are read again and again, of stores and of agents."""

from __future__ import annotations

import asyncio
import builtins
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.load import static_of
from lbcore.errors import ConfigError
from lbcore.provider.consul_api import AgentClient
from lbcore.provider.keys import KeyReader
from lbcore.provider.registry import stores_of
from lbcore.provider.tags import fnv1
from tests.support.keys import reading_of

KEYS = [
    *(f"traefik/http/routers/{name}/{key}" for name in ("a", "A", "b") for key in ("rule", "service", "priority")),
    *(f"traefik/http/routers/{name}/tls" for name in ("a", "A", "b")),
    *(f"traefik/http/services/s/loadBalancer/servers/{n}/url" for n in (0, 2, 10)),
    *(f"traefik/http/routers/a/middlewares/{n}" for n in (0, 2, 10)),
    *("traefik/tcp/routers/t/rule", "traefik/TLS/options/o/minVersion", "traefik/tls/certificates/0/certFile"),
    *("traefik/http/routes/x/rule", "traefik/http/routers", "traefik/http/routers/a", "traefik/other"),
]
VALUES = ["", "1", "true", "Host(`a`)", "http://a", "VersionTLS12", "x,y", "\ufffd"]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=6))
def test_reading_what_has_changed_is_reading_all(states: list[dict[str, str]]) -> None:
    reader = KeyReader("traefik", "etcd")
    for values in states:
        again, anew = reader.read(values), reading_of(values, "traefik", "etcd")
        assert again.config == anew.config
        assert (again.problems, again.warnings) == (anew.problems, anew.warnings)


def test_objects_whose_keys_stay_are_the_same_objects() -> None:
    values = {f"traefik/http/routers/r{n}/rule": f"Host(`{n}`)" for n in range(100)}
    reader = KeyReader("traefik", "etcd")
    before = reader.read(values).config.http.routers
    after = reader.read({**values, "traefik/http/routers/r7/rule": "Host(`new`)"}).config.http.routers
    assert [name for name in before if before[name] is not after[name]] == ["r7"]


def test_any_text_is_a_position() -> None:
    """As in Traefik, but with numbers first, and in their order."""
    place = "traefik/http/services/s/loadBalancer/servers"
    urls = {f"{place}/{position}/url": f"http://{position}" for position in ("b", "a", "10", "9")}
    names = {f"traefik/http/routers/r/middlewares/{position}": name for position, name in (("-1", "m"), ("0", "n"))}
    config = reading_of({**urls, **names}, "traefik", "etcd").config
    assert config.http.services["s"].members == ["http://9", "http://10", "http://a", "http://b"]
    assert config.http.routers["r"].middlewares == ["n", "m"]


def test_what_refuses_all_of_a_tree_refuses_its_object_alone() -> None:
    values = {"traefik/http/routers/a/rule": "Host(`a`)", "traefik/tls/certificates": "nonsense"}
    reading = reading_of(values, "traefik", "etcd")
    assert list(reading.config.http.routers) == ["a"]
    assert "traefik/tls/certificates" in "".join(reading.problems)


class Web:
    """Gives answers with an index each."""

    place = "here"

    def __init__(self, *answers: tuple[int, str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def get(self, path: str, query: dict[str, str], accept: Any, wait_s: float) -> tuple[int, Any, bytes]:
        self.asked.append(query.get("index", ""))
        if not self.answers:
            await asyncio.Event().wait()
        index, text = self.answers.pop(0)
        return 200, {"x-consul-index": str(index)} if index else {}, text.encode()


def test_blocking_questions_follow_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that goes back is that of another server; an answer with the same index says nothing new."""
    monkeypatch.setattr("lbcore.provider.consul_api.QUIET_S", 0)
    web = Web((5, "1"), (5, "1"), (9, "2"), (3, "3"), (3, "3"), (4, "4"))
    client = AgentClient(web, {}, "x-consul")  # type: ignore[arg-type]
    found: list[int] = []

    async def follow() -> None:
        async for answer in client.blocks("/"):
            found.append(answer)

    async def run() -> None:
        task = asyncio.create_task(follow())
        while len(web.asked) < 7:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(run())
    assert found == [1, 2, 3, 3, 4]
    assert web.asked == ["", "5", "5", "9", "", "3", "4"]


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in ("httpx", "kazoo"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for key, name, line in (
        ("etcd", "etcd", "etcd: needs the package httpx, which is missing (type: pip install 'lbcore[etcd]')"),
        ("consul", "consul", "providers.consul: needs the package httpx"),
        ("consulCatalog", "consulcatalog", "providers.consulCatalog: needs the package httpx"),
        ("nomad", "nomad", "pip install 'lbcore[nomad]'"),
        ("zooKeeper", "zookeeper", "needs the package kazoo, which is missing (type: pip install 'lbcore[zookeeper]')"),
    ):
        with pytest.raises(ConfigError) as refusal:
            stores_of(static_of({"providers": {key: {}}}), name)
        assert line in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"etcd": {"endpoints": ["http://a:1"]}}, "etcd.endpoints: 'http://a:1' is no address (write host:port)"),
        ({"consul": {"endpoints": ["a:1", "b:1"]}}, "needs one endpoint"),
        ({"consul": {"namespaces": ["*"]}}, "name each namespace"),
        ({"zooKeeper": {"endpoints": ["a"]}}, "providers.zooKeeper.endpoints: 'a' is no address"),
        ({"etcd": {"rootKey": "/"}}, "rootKey is empty"),
        ({"nomad": {"throttleDuration": "1s"}}, "throttleDuration needs watch: true"),
        ({"consulCatalog": {"stale": True, "requireConsistent": True}}, "exclude each other"),
        ({"consulCatalog": {"constraints": "Label(`a`,`b`)"}}, "Label is no function here, use Tag or TagRegex"),
        ({"rest": {"token": "short"}}, "can be guessed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_used_stop_the_start(settings: dict[str, Any], problem: str) -> None:
    from lbcore.provider.registry import providers_of

    with pytest.raises(ConfigError) as refusal:
        providers_of(static_of({"providers": settings}))
    assert problem in str(refusal.value)


def test_the_hash_of_a_canary_is_that_of_traefik() -> None:
    tags = [
        "traefik.http.routers.w.rule=Host(`w`)",
        "traefik.consulcatalog.canary=true",
        "traefik.http.routers.wc.rule=Host(`wc`)",
    ]
    assert fnv1("".join(sorted(tags))) == 5809183663605978805
