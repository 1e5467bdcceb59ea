"""What runs in place of what a reload has broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import parse_dynamic
from lbcore.config.static import StaticConfig
from lbcore.config.validate.findings import Disabled
from lbcore.provider.keep import keep_running, lacked_by_entry_points
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems

STATIC = StaticConfig.model_validate(
    {"entryPoints": {"web": {"address": ":0"}, "guarded": {"address": ":0", "http": {"middlewares": ["auth@file"]}}}}
)
BAD_URL = {"loadBalancer": {"servers": [{"url": "ftp://x"}]}}


def service(url: str = "http://a") -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url}]}}


def router(service: str = "s", rule: str = "Path(`/`)", **more: Any) -> dict[str, Any]:
    return {"rule": rule, "service": service, "entryPoints": ["web"], **more}


def config(**kinds: Any) -> DynamicConfig:
    return merge({"file": DynamicConfig.model_validate({"http": kinds})})


def problems(dynamic: DynamicConfig) -> list[Disabled]:
    return find_problems(dynamic, STATIC)[0]


def keep(running: DynamicConfig, new: DynamicConfig) -> tuple[DynamicConfig, list[str]]:
    result, kept = keep_running(running, problems(running), new, problems(new), STATIC, problems)
    return result, sorted(f"{entry.kind} {entry.name}" for entry in kept)


def names(dynamic: DynamicConfig) -> dict[str, list[str]]:
    http = dynamic.http
    return {
        "routers": sorted(http.routers),
        "services": sorted(http.services),
        "middlewares": sorted(http.middlewares),
    }


def test_a_valid_configuration_is_taken_unchanged() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"q": router()}, services={"s": service("http://b")})
    result, kept = keep(running, new)
    assert result is new
    assert kept == []


def test_router_with_a_typo_keeps_what_it_refers_to_though_that_was_deleted() -> None:
    running = config(
        routers={"r": router("w", middlewares=["c"])},
        services={
            "w": {"weighted": {"services": [{"name": "s"}]}},
            "s": service(),
            "gone": service(),
        },
        middlewares={"c": {"chain": {"middlewares": ["p"]}}, "p": {"addPrefix": {"prefix": "/x"}}},
    )
    new = config(routers={"r": router("nobody")}, services={"t": service()})
    result, kept = keep(running, new)
    assert kept == ["router r@file"]
    assert names(result) == {
        "routers": ["r@file"],
        "services": ["s@file", "t@file", "w@file"],
        "middlewares": ["c@file", "p@file"],
    }
    assert problems(result) == []


def test_broken_service_is_kept_and_the_new_version_of_its_router_is_taken() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"r": router(rule="Path(`/new`)")}, services={"s": BAD_URL})
    result, kept = keep(running, new)
    assert kept == ["service s@file"]
    assert result.http.routers["r@file"].rule == "Path(`/new`)"
    assert result.http.services["s@file"] == running.http.services["s@file"]


def test_sound_new_version_is_taken_by_what_is_kept() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"r": router(rule="Path(`")}, services={"s": service("http://b")})
    result, kept = keep(running, new)
    assert kept == ["router r@file"]
    assert result.http.services["s@file"] == new.http.services["s@file"]


def test_new_and_broken_object_is_left_to_be_disabled_with_what_needs_it() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"r": router(), "n": router("bad")}, services={"s": service(), "bad": BAD_URL})
    result, kept = keep(running, new)
    assert kept == []
    assert [(entry.kind, entry.name) for entry in problems(result)] == [("router", "n@file"), ("service", "bad@file")]


def test_router_that_turned_to_a_new_broken_service_keeps_the_old_one() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"r": router("bad")}, services={"bad": BAD_URL})
    result, kept = keep(running, new)
    assert kept == ["router r@file"]
    assert result.http.routers["r@file"].service == "s"
    assert "s@file" in result.http.services


def test_middleware_that_an_entry_point_needs_stays() -> None:
    auth = {"auth": {"headers": {"frameDeny": True}}}
    running = config(routers={"r": router(entryPoints=["guarded"])}, services={"s": service()}, middlewares=auth)
    new = config(routers={"r": router(entryPoints=["guarded"])}, services={"s": service()})
    result, kept = keep(running, new)
    assert kept == ["middleware auth@file"]
    assert "auth@file" in result.http.middlewares


def test_what_was_disabled_before_is_no_version_to_go_back_to() -> None:
    running = config(routers={"r": router(rule="Path(`")}, services={"s": service()})
    new = config(routers={"r": router(rule="Host(`")}, services={"s": service()})
    result, kept = keep(running, new)
    assert kept == []
    assert result is new


def test_services_that_came_to_contain_each_other_are_kept() -> None:
    def weighted(name: str) -> dict[str, Any]:
        return {"weighted": {"services": [{"name": name}]}}

    running = config(routers={"r": router("a")}, services={"a": weighted("b"), "b": weighted("s"), "s": service()})
    new = config(routers={"r": router("a")}, services={"a": weighted("b"), "b": weighted("a"), "s": service()})
    result, _ = keep(running, new)
    assert problems(result) == []


def test_repeated_reload_that_stays_broken_changes_nothing() -> None:
    running = config(routers={"r": router()}, services={"s": service()})
    new = config(routers={"r": router("nobody")})
    first, _ = keep(running, new)
    second, kept = keep(first, new)
    assert second == first
    assert kept == ["router r@file"]


ERRORS = {"page": {"errors": {"status": ["500"], "service": "pages", "query": "/"}}}


def test_what_a_middleware_asks_stays_though_it_was_deleted() -> None:
    routers = {"r": router(middlewares=["page"])}
    running = config(routers=routers, services={"s": service(), "pages": service("http://b")}, middlewares=ERRORS)
    new = config(routers=routers, services={"s": service()}, middlewares=ERRORS)
    result, kept = keep(running, new)
    assert kept == ["middleware page@file"]
    assert "pages@file" in result.http.services
    assert problems(result) == []


def test_what_the_middleware_of_a_router_with_a_typo_asks_stays() -> None:
    routers = {"r": router(middlewares=["page"])}
    running = config(routers=routers, services={"s": service(), "pages": service("http://b")}, middlewares=ERRORS)
    new = config(routers={"r": router("nobody", middlewares=["page"])}, services={"t": service()})
    result, kept = keep(running, new)
    assert kept == ["router r@file"]
    assert names(result) == {
        "routers": ["r@file"],
        "services": ["pages@file", "s@file", "t@file"],
        "middlewares": ["page@file"],
    }
    assert problems(result) == []


def with_tls(options: dict[str, Any], *named: str) -> DynamicConfig:
    """A router for each name of TLS options."""
    routers = {f"r{n}": router(rule=f"Host(`{n}.test`)", tls={"options": name}) for n, name in enumerate(named)}
    tcp = {
        f"t{n}": {"rule": f"HostSNI(`{n}.tcp`)", "service": "s", "entryPoints": ["web"], "tls": {"options": name}}
        for n, name in enumerate(named)
    }
    content = {
        "http": {"routers": routers, "services": {"s": service()}},
        "tcp": {"routers": tcp, "services": {"s": {"loadBalancer": {"servers": [{"address": "a:1"}]}}}},
        "tls": {"options": {"other": {"minVersion": "VersionTLS12"}, **options}},
    }
    return merge({"file": parse_dynamic(json.dumps(content))[0]})


STRICT = {"minVersion": "VersionTLS13"}
BROKEN = {"minVersion": ["VersionTLS13", "VersionTLS12"]}


@pytest.mark.parametrize("name", ["strict", "default"])
def test_tls_options_that_a_reload_breaks_stay(name: str) -> None:
    running, new = with_tls({name: STRICT}, name, ""), with_tls({name: BROKEN}, name, "")
    assert problems(new)
    result, kept = keep(running, new)
    qualified = name if name == "default" else f"{name}@file"
    assert kept == [f"tlsOptions {qualified}"]
    assert result.tls.options == running.tls.options
    assert problems(result) == []


def test_tls_options_that_a_reload_deletes_stay_for_routers_that_name_them() -> None:
    running, new = with_tls({"strict": STRICT}, "strict", ""), with_tls({}, "strict", "")
    result, kept = keep(running, new)
    assert kept == ["router r0@file", "tcpRouter t0@file"]
    assert result.tls.options == running.tls.options
    assert problems(result) == []


def test_default_tls_options_that_are_deleted_are_gone() -> None:
    running, new = with_tls({"default": STRICT, "own": STRICT}, "own"), with_tls({}, "own")
    result, _ = keep(running, new)
    assert sorted(result.tls.options) == ["other@file", "own@file"]


def test_tls_options_that_were_broken_before_are_no_version_to_go_back_to() -> None:
    result, kept = keep(with_tls({"strict": BROKEN}, "strict"), with_tls({"strict": BROKEN}, "strict"))
    assert kept == []
    assert problems(result)


def test_middleware_of_one_of_the_entry_points_of_a_router_stays() -> None:
    both = {"r": router(entryPoints=["guarded", "web"])}
    auth = {"auth": {"headers": {"frameDeny": True}}}
    running = config(routers=both, services={"s": service()}, middlewares=auth)
    new = config(routers=both, services={"s": service()})
    assert lacked_by_entry_points(running, new, STATIC) == {("middleware", "auth@file"): ["guarded"]}
    result, kept = keep(running, new)
    assert kept == ["middleware auth@file"]
    assert find_problems(result, STATIC)[1] == []
    on_web = config(routers={"r": router()}, services={"s": service()})
    assert lacked_by_entry_points(running, on_web, STATIC) == {}
