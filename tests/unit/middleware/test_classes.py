"""Classes as middlewares: where they come from, what their options are checked by, and who may name them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field, SecretStr

from lbcore.api.shape import shape
from lbcore.cli import main
from lbcore.config.dynamic import DynamicConfig
from lbcore.config.load import dynamic_of, load_objects, parse_dynamic, static_of
from lbcore.config.static import StaticConfig
from lbcore.middleware.classes import installed
from lbcore.middleware_api import BaseOptions, Request
from lbcore.process.check import check_file
from lbcore.provider.labels import Labelled, LabelReader
from lbcore.provider.merge import merge
from lbcore.routing.compile import find_problems
from lbcore.template.engine import Rule

HERE = __name__
POINT: dict[str, Any] = {"entryPoints": {"web": {"address": ":0"}}}
HEAD = """http:
  routers:
    all: {rule: PathPrefix(`/`), service: all, middlewares: [one]}
  services:
    all: {loadBalancer: {servers: [{url: http://127.0.0.1:1}]}}
  middlewares:
    one:
"""


class Plain:
    def on_request(self, request: Request) -> None: ...


class Within(BaseModel):
    name: str
    weights: dict[str, float] = {}


class Checked:
    class Options(BaseOptions):
        max_size: int
        names: tuple[str, ...] = ()
        within: Within | None = None
        on: bool = False

    def __init__(self, options: Options) -> None:
        if options.max_size == 13:
            raise LookupError("not 13")

    def on_response(self, request: Any, response: Any) -> None: ...


class Secretive:
    class Options(BaseOptions):
        class Within(BaseOptions):
            pin: SecretStr = Field(min_length=99)

        token: SecretStr | None = Field(None, min_length=99)
        within: dict[str, Within] | None = None

    def __init__(self, options: Options) -> None: ...

    def on_request(self, request: Request) -> None: ...


class Lax:
    class Options(BaseModel):
        size: int = 1

    def __init__(self, options: Options) -> None: ...

    def on_request(self, request: Request) -> None: ...


class Without:
    pass


class WrongMethod:
    def on_request(self) -> None: ...


class WrongLimit:
    body_limit = 1 << 40

    def on_request(self, request: Request) -> None: ...


class WrongOptions:
    Options = int

    def on_request(self, request: Request) -> None: ...


number = 3


def problems(folder: Path, *lines: str) -> list[str]:
    """What `lbcore check` says of a middleware of these lines."""
    file = folder / "dynamic.yml"
    file.write_text(HEAD + "".join(f"      {line}\n" for line in lines))
    return [line.replace(f"{file}:", "") for line in check_file(file).problems]


def errors(name: str, folder: Path) -> str:
    found = problems(folder, f'python: "{name}"')
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{HERE}:Nothing", f"the module {HERE} has no Nothing"),
        (f"{HERE}:number", f"{HERE}:number is not a class"),
        (f"{HERE}:Without", "Without has neither on_request nor on_response"),
        (f"{HERE}:WrongMethod", "WrongMethod.on_request has to take the request"),
        (f"{HERE}:WrongLimit", "WrongLimit.body_limit is a number of bytes up to 64 MiB"),
        (f"{HERE}:WrongOptions", "WrongOptions.Options is not a model of pydantic"),
        ("there.is.none:Such", "importing there.is.none: ModuleNotFoundError: No module named 'there'"),
        ("nobody", "there is no entry point 'nobody' of the group lbcore.middlewares"),
        ("a b:C", "'a b:C' is neither package.module:Class nor the name of an entry point"),
        ("x; y", "'x; y' is neither package.module:Class nor the name of an entry point"),
    ],
    ids=["missing", "no-class", "no-method", "arguments", "limit", "model", "module", "entry-point", "space", "sign"],
)
def test_what_is_wrong_with_a_class_is_said_by_the_check(name: str, text: str, tmp_path: Path) -> None:
    assert text in errors(name, tmp_path)


def test_a_class_that_is_right(tmp_path: Path) -> None:
    assert problems(tmp_path, f"python: {HERE}:Plain") == []
    assert problems(tmp_path, "python:", f"  class: {HERE}:Checked", "  options: {maxSize: 16, names: [a, b]}") == []
    assert problems(tmp_path, "python:", f"  class: {HERE}:Plain", "  options: {}") == []
    found = problems(tmp_path, "python: true")
    assert len(found) == 1 and "needs at least one key" in found[0]
    found = problems(tmp_path, "python:", "  options: {a: 1}")
    assert len(found) == 1 and "python.class: is missing" in found[0]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Plain", "  options: some")
    assert len(found) == 1 and "needs keys and values, not 'some'" in found[0]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Plain", "  timeout: 0s")
    assert len(found) == 1 and "above 0" in found[0]


def test_what_is_wrong_with_a_secret_does_not_show_it(tmp_path: Path) -> None:
    lines = ["    token: sesame1", "    within: {door: {pin: sesame2}}"]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Secretive", "  options:", *lines)
    assert len(found) == 2 and "option token: value should have" in found[0]
    assert "option within.door.pin: value should have" in found[1]
    assert "sesame" not in "".join(found)


def test_what_is_wrong_with_options_has_its_line(tmp_path: Path) -> None:
    lines = ["    maxSize: many", "    within:", "      weights: {a: b}", "    other: 1"]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Checked", "  options:", *lines)
    text = "\n".join(found)
    assert "option maxSize: 'many': input should be a valid integer" in text
    assert "option within.name: field required" in text
    assert "option within.weights.a: 'b': input should be a valid number" in text
    assert "option other: '1': extra inputs are not permitted" in text
    for line, number in zip(sorted(found), (11, 12, 13, 14), strict=True):
        assert line.startswith(f"{number}"), found
    found = problems(tmp_path, "python:", f"  class: {HERE}:Lax", "  options: {sise: 1}")
    assert len(found) == 1 and "unknown option 'sise': known are size" in found[0]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Plain", "  options: {size: 1}")
    assert len(found) == 1 and "Plain has no options" in found[0]
    found = problems(tmp_path, "python:", f"  class: {HERE}:Checked", "  options: {maxSize: 13}")
    assert len(found) == 1 and f"{HERE}:Checked: LookupError: not 13 ({__file__}:" in found[0]


def test_options_are_texts_lists_and_mappings(tmp_path: Path) -> None:
    file = tmp_path / "dynamic.yml"
    options = "{a: 0x10, b: [1, true], c: {d: ~, E: 'f'}}"
    file.write_text(HEAD + f"      python:\n        class: x\n        options: {options}\n")
    python = load_objects(file).config.http.middlewares["one"].python
    assert python is not None and python.options == {"a": "0x10", "b": ["1", "true"], "c": {"E": "f"}}
    given = {"http": {"middlewares": {"one": {"python": {"class": "x", "options": {"a": 3, "b": [True]}}}}}}
    python = dynamic_of(given).http.middlewares["one"].python
    assert python is not None and python.options == {"a": "3", "b": ["true"]}


def test_modules_that_fail_are_a_problem_of_their_middleware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    texts = {"breaks": "1 / 0", "leaves": "import sys; sys.exit(3)", "spoilt": "def (", "lacks": "\nimport not_there"}
    for name, text in texts.items():
        (tmp_path / f"lbcore_test_{name}.py").write_text(f"{text}\n")
    found = errors("lbcore_test_breaks:C", tmp_path)
    assert "importing lbcore_test_breaks: ZeroDivisionError" in found and "lbcore_test_breaks.py:1)" in found
    assert "SystemExit: 3" in errors("lbcore_test_leaves:C", tmp_path)
    found = errors("lbcore_test_spoilt:C", tmp_path)
    assert "SyntaxError: " in found and "lbcore_test_spoilt.py:1)" in found
    assert found.count("lbcore_test_spoilt.py") == 1
    found = errors("lbcore_test_lacks:C", tmp_path)
    assert "No module named 'not_there'" in found and "lbcore_test_lacks.py:2)" in found
    found = errors("lbcore_test_none:C", tmp_path)
    assert "No module named 'lbcore_test_none'" in found and "(" not in found.partition("No module")[2]
    assert all("frozen" not in errors(f"lbcore_test_{name}:C", tmp_path) for name in (*texts, "none"))


@pytest.fixture(name="package")
def an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that brings a middleware."""
    info = tmp_path / "site" / "lbcore_test_kit-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lbcore-test-kit\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[lbcore.middlewares]\nkit = {HERE}:Checked\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "kit"


def test_installed_packages_bring_middlewares(package: str, tmp_path: Path) -> None:
    assert package in installed()
    assert problems(tmp_path, "python:", f"  class: {package}", "  options: {maxSize: 1}") == []
    assert "option maxSize: field required" in errors(package, tmp_path)
    assert "installed are kit" in errors("nobody", tmp_path)


def test_the_schema_has_the_options_of_classes(package: str) -> None:
    done = CliRunner().invoke(main, ["schema", "--python", f"{HERE}:Lax"])
    schema = json.loads(done.stdout)
    parts = {part["if"]["properties"]["class"]["const"]: part["then"] for part in schema["$defs"]["Python"]["allOf"]}
    assert set(parts) == {package, f"{HERE}:Lax"}
    options = parts[package]["properties"]["options"]
    assert options["properties"]["maxSize"]["type"] == "integer" and options["required"] == ["maxSize"]
    assert options["additionalProperties"] is False
    within = options["properties"]["within"]["anyOf"][0]["$ref"]
    assert schema["$defs"][within.removeprefix("#/$defs/")]["required"] == ["name"]
    assert {"type": "string"} in schema["$defs"]["Middleware"]["properties"]["python"]["anyOf"]
    done = CliRunner().invoke(main, ["schema", "--python", f"{HERE}:Nothing"])
    assert done.exit_code == 1 and f"the module {HERE} has no Nothing" in done.stderr


def test_the_api_does_not_show_options() -> None:
    data = {"http": {"middlewares": {"one": {"python": {"class": "x", "options": {"password": "secret"}}}}}}
    shown = shape(dynamic_of(data).http.middlewares["one"])
    assert shown["python"] == {"class": "x", "options": {"password": "xxxx"}, "slowCall": "10ms", "timeout": "10s"}


# Who may name code


def named(provider: str, name: str = f"{HERE}:Plain") -> DynamicConfig:
    text = HEAD + f'      python: "{name}"\n'
    return merge({provider: parse_dynamic(text)[0]})


def disabled(config: DynamicConfig, **static: Any) -> dict[str, list[str]]:
    settings: StaticConfig = static_of({**POINT, **static})
    return {f"{entry.kind} {entry.name}": list(entry.errors) for entry in find_problems(config, settings)[0]}


@pytest.mark.parametrize("provider", ["docker", "swarm", "redis", "http", "consul", "kubernetescrd", "other"])
def test_providers_that_others_write_to_may_not_name_code(provider: str, tmp_path: Path) -> None:
    sys.modules.pop("lbcore_test_spy", None)
    found = disabled(named(provider, "lbcore_test_spy:C"))
    text = f"provider {provider} may not name code that runs here: python.allowedProviders allows it"
    assert found == {f"middleware one@{provider}": [text], f"router all@{provider}": [text]}
    assert disabled(named("file")) == {}


def test_a_module_that_may_not_be_named_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lbcore_test_spy.py").write_text("class C:\n    def on_request(self, request): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert disabled(named("redis", "lbcore_test_spy:C"))
    assert "lbcore_test_spy" not in sys.modules
    assert disabled(named("redis", "lbcore_test_spy:C"), python={"allowedProviders": ["docker"]})
    assert "lbcore_test_spy" not in sys.modules
    assert disabled(named("redis", "lbcore_test_spy:C"), python={"allowedProviders": "docker, redis"}) == {}
    assert "lbcore_test_spy" in sys.modules
    monkeypatch.delitem(sys.modules, "lbcore_test_spy")


def test_an_unknown_provider_cannot_be_allowed() -> None:
    with pytest.raises(Exception, match="unknown provider 'dokcer'"):
        static_of({**POINT, "python": {"allowedProviders": ["dokcer"]}})


def test_others_may_refer_to_what_the_file_names() -> None:
    text = HEAD.replace("[one]", "[one@file]").partition("  middlewares:\n")[0]
    file = parse_dynamic(f"http: {{middlewares: {{one: {{python: '{HERE}:Plain'}}}}}}")[0]
    assert disabled(merge({"redis": parse_dynamic(text)[0], "file": file})) == {}


def test_labels_name_code_if_they_may() -> None:
    labels = {
        "traefik.http.routers.all.rule": "PathPrefix(`/`)",
        "traefik.http.routers.all.middlewares": "one,two",
        "traefik.http.middlewares.one.python.class": f"{HERE}:Checked",
        "traefik.http.middlewares.one.python.options.maxSize": "3",
        "traefik.http.middlewares.one.python.options.within.name": "x",
        "traefik.http.middlewares.two.python": f"{HERE}:Plain",
    }
    thing = Labelled("box", "box", labels, {}, True, lambda port: ("127.0.0.1", "80"))
    said = LabelReader(Rule("Host(`x`)"), []).read(thing)
    assert said.problems == said.warnings == [] and said.config is not None
    config = merge({"docker": said.config})
    assert set(disabled(config)) == {"middleware one@docker", "middleware two@docker", "router all@docker"}
    assert disabled(config, python={"allowedProviders": ["docker"]}) == {}


def test_no_file_can_name_what_a_program_has_made(tmp_path: Path) -> None:
    found = problems(tmp_path, "python:", f"  class: {HERE}:Plain", '  given: "0"')
    assert len(found) == 1 and "unknown key 'given'" in found[0]
