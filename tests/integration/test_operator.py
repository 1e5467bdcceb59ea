"""What an operator types: status, top, weights, explain. Against real processes with two workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.instance import Backend, Instance, eventually, running

TOKEN = "a token of some length"


def command(*arguments: str) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, "-m", "lbcore", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "COLUMNS": "200"},
    )
    return result.returncode, result.stdout + result.stderr


def canary(backends: list[Backend], **more: Any) -> dict[str, Any]:
    services: dict[str, Any] = {
        "shop": {"weighted": {"services": [{"name": "v1", "weight": 9}, {"name": "v2", "weight": 1}]}},
        "v1": {"loadBalancer": {"servers": [{"url": backends[0].url}], **more}},
        "v2": {"loadBalancer": {"servers": [{"url": backends[1].url}], **more}},
    }
    routers = {
        "shop": {"rule": "Host(`shop.test`) || PathPrefix(`/`)", "service": "shop", "entryPoints": ["web"]},
        "qa": {
            "rule": "Header(`X-QA`, `1`) && PathPrefix(`/cart`)",
            "service": "v2",
            "entryPoints": ["web"],
            "priority": 99,
        },
    }
    return {"http": {"routers": routers, "services": services}}


STATIC: dict[str, Any] = {
    "api": {"insecure": True, "token": TOKEN},
    "entryPoints": {"web": {"address": "127.0.0.1:0"}, "traefik": {"address": "127.0.0.1:0"}},
}


def api_of(lb: Instance) -> str:
    return f"http://127.0.0.1:{lb.logged(r'entry point traefik listens on .*:([0-9]+)')[1]}"


def test_status_weights_and_top(tmp_path: Path, backends: list[Backend]) -> None:
    with running(tmp_path, canary(backends), static=STATIC) as lb:
        lb.runs(1)
        api = api_of(lb)
        for _ in range(20):
            lb.get()
        code, text = command("status", "--api", api)
        assert code == 0
        assert "shop@file" in text
        assert "18 requests" in text
        assert command("weights", "shop", "v2=10", "--api", api)[0] == 1
        code, text = command("weights", "shop", "v1=1", "v2=3", "--api", api, "--token", TOKEN)
        assert (code, text) == (0, "v1: 1 (overridden)\nv2: 3 (overridden)\n")
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 5, "two": 15}
        lb.write(canary(backends, passHostHeader=False))
        lb.runs(2)
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 5, "two": 15}
        assert "overridden: 3" in command("status", "--api", api)[1]
        code, text = command("weights", "shop", "--reset", "--api", api, "--token", TOKEN)
        assert (code, text) == (0, "v1: 9\nv2: 1\n")
        assert Counter(lb.get()[1] for _ in range(20)) == {"one": 18, "two": 2}
        code, text = command("top", "--api", api, "--interval", "0.1", "--count", "2")
        assert code == 0
        assert backends[0].url in text


def test_status_tells_why_something_is_down_and_says_so_by_its_code(tmp_path: Path, backends: list[Backend]) -> None:
    check = {"healthCheck": {"path": "/slow/500", "timeout": "50ms", "interval": "100ms"}}
    with running(tmp_path, canary(backends, **check), static=STATIC) as lb:
        lb.runs(1)

        def is_down() -> bool:
            _, text = command("status", "--api", api_of(lb))
            return "no answer within 0.05 s" in text

        eventually(is_down, "the cause is told")
        assert lb.get()[0] == 503


def test_status_of_nobody_is_an_error() -> None:
    code, text = command("status", "--api", "http://127.0.0.1:1")
    assert code == 1
    assert "no answer from http://127.0.0.1:1" in text


@pytest.mark.parametrize(
    ("request_line", "headers", "expected"),
    [
        (
            "GET http://shop.test/cart",
            ["-H", "X-QA: 1"],
            ["router qa@file (priority 99): Header(`X-QA`, `1`) && PathPrefix(`/cart`): matches", "not tried", "v2"],
        ),
        ("GET http://shop.test/cart", [], ["does not match: Header(`X-QA`, `1`)", "weight 9 of 10", "server: "]),
        ("http://shop.test/", [], ["does not match: Header(`X-QA`, `1`), PathPrefix(`/cart`)"]),
    ],
)
def test_explain_says_why(tmp_path: Path, backends: list[Backend], request_line: str, headers: list[str],
                          expected: list[str]) -> None:  # fmt: skip
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(canary(backends)))
    static = {
        "entryPoints": {"web": {"address": ":80"}},
        "providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}},
    }
    (tmp_path / "static.yml").write_text(yaml.safe_dump(static))
    code, text = command("explain", "--config", str(tmp_path / "static.yml"), request_line, *headers)
    assert code == 0
    for part in expected:
        assert part in text


def test_explain_refuses_what_is_no_request(tmp_path: Path, backends: list[Backend]) -> None:
    (tmp_path / "dynamic.yml").write_text(yaml.safe_dump(canary(backends)))
    (tmp_path / "static.yml").write_text(
        yaml.safe_dump({"providers": {"file": {"filename": str(tmp_path / "dynamic.yml")}}})
    )
    code, text = command("explain", "--config", str(tmp_path / "static.yml"), "GET /x")
    assert code == 1
    assert "names no host" in text
