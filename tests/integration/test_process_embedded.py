"""The load balancer inside a program: on asyncio and on uvloop, with given and with followed configuration."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
import yaml

import lbcore
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import load_static
from lbcore.config.static import StaticConfig
from lbcore.errors import ConfigError
from tests.support.instance import Backend, dynamic_for

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    def run_on_loop(test: Coroutine[Any, Any, None]) -> None:
        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(test, 30))

    return run_on_loop


def static(tmp_path: Path, **sections: Any) -> StaticConfig:
    path = tmp_path / "static.yml"
    path.write_text(yaml.safe_dump({"entryPoints": {"web": {"address": "127.0.0.1:0"}}, **sections}))
    return load_static(path)


def dynamic(*backends: Backend) -> DynamicConfig:
    return DynamicConfig.model_validate(dynamic_for(*backends))


async def get(proxy: lbcore.Proxy, path: str = "/") -> tuple[int, str]:
    def blocking() -> tuple[int, str]:
        connection = http.client.HTTPConnection(proxy.url("web").removeprefix("http://"), timeout=10)
        connection.request("GET", path)
        response = connection.getresponse()
        answer = response.status, response.read().decode()
        connection.close()
        return answer

    return await asyncio.to_thread(blocking)


def test_proxy_given_a_configuration_serves_it_and_the_next(tmp_path: Path, backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        async with lbcore.Proxy(static(tmp_path), dynamic(backends[0])) as proxy:
            assert await get(proxy) == (200, "one")
            assert not await proxy.apply(dynamic(backends[1]))
            assert await get(proxy) == (200, "two")
            url = proxy.url("web")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))

    run(test())


def test_proxy_without_a_configuration_follows_its_providers(tmp_path: Path, backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        path = tmp_path / "dynamic.yml"
        path.write_text(yaml.safe_dump(dynamic_for(backends[0])))
        config = static(tmp_path, providers={"providersThrottleDuration": "0s", "file": {"filename": str(path)}})
        async with lbcore.Proxy(config) as proxy:
            assert await get(proxy) == (200, "one")
            path.write_text(yaml.safe_dump(dynamic_for(backends[1])))
            async with asyncio.timeout(60):
                while await get(proxy) != (200, "two"):
                    pass  # the next request

    run(test())


def test_proxy_left_lets_a_request_under_way_finish(tmp_path: Path, backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        async with lbcore.Proxy(static(tmp_path), dynamic(backends[0])) as proxy:
            slow = asyncio.create_task(get(proxy, "/slow/300"))
            await asyncio.to_thread(backends[0].slow_requests.acquire)
        assert await slow == (200, "one")

    run(test())


def test_proxy_takes_what_a_file_would_hold(backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        config = {"entryPoints": {"web": {"address": "127.0.0.1:0"}}}
        async with lbcore.Proxy(config, dynamic_for(backends[0])) as proxy:
            assert await get(proxy) == (200, "one")
            assert not await proxy.apply(dynamic_for(backends[1]))
            assert await get(proxy) == (200, "two")
            found = lbcore.DynamicConfig.model_validate(dynamic_for(backends[0]))
            assert not await proxy.apply(found)
            with pytest.raises(lbcore.ConfigError, match="routerz"):
                await proxy.apply({"http": {"routerz": {}}})
            with pytest.raises(TypeError):
                await proxy.apply({"http": object()})
            assert await get(proxy) == (200, "one")

    run(test())


def test_proxy_disabled_objects_are_returned(tmp_path: Path, backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        async with lbcore.Proxy(static(tmp_path), dynamic(backends[0])) as proxy:
            odd = dynamic_for(backends[0])
            odd["http"]["routers"]["odd"] = {"rule": "Path(`/odd`)", "service": "nowhere"}
            (entry,) = await proxy.apply(DynamicConfig.model_validate(odd))
            assert entry.name == "odd@file"
            assert "nowhere" in entry.errors[0]

    run(test())


def test_proxy_address_in_use_is_a_config_error(tmp_path: Path, backends: list[Backend], run: Run) -> None:
    async def test() -> None:
        async with lbcore.Proxy(static(tmp_path), dynamic(backends[0])) as first:
            taken = first.url("web").removeprefix("http://")
            config = static(tmp_path, entryPoints={"web": {"address": taken}})
            with pytest.raises(ConfigError, match="address already in use"):
                async with lbcore.Proxy(config, dynamic(backends[0])):
                    raise AssertionError("started")

    run(test())


def test_import_of_the_package_loads_no_loop_and_no_socket() -> None:
    code = (
        "import sys, lbcore\n"
        "print(lbcore.__version__, sorted({'asyncio', 'socket', 'ssl', 'uvloop'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split()[1:] == ["[]"]
    with pytest.raises(AttributeError, match="'nonsense'"):
        getattr(lbcore, "nonsense")  # noqa: B009
