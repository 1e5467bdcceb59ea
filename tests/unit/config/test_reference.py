"""The reference of all keys follows the models."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from lbcore.config.load import parse_dynamic, parse_static
from tests.unit.config.test_every_form import EXTENSIONS, KEYS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The module that makes the pages."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "ci" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


def test_every_key_has_a_meaning_and_every_meaning_a_key(reference: ModuleType) -> None:
    """A key that is new needs a line in docs/reference/static.txt or dynamic.txt."""
    assert reference.unexplained() == []


def test_the_pages_have_type_and_default(reference: ModuleType) -> None:
    text = reference.page("static")
    assert "| `headerTimeout` ⁺ | duration | `10s` |" in text
    assert "| `maxHeaderBytes` | number, 512 to 67108864 | `1048576` |" in text
    assert "| `secret` | text | required |" in text
    assert "| `entryPoints` | map of [sections](#entrypoints-name) |" in text


def test_keys_without_an_option_behind_them_have_rows(reference: ModuleType) -> None:
    static, dynamic = reference.page("static"), reference.page("dynamic")
    assert "| `maxSize` | – | – | Has no effect, with a warning: let logrotate rotate the file" in static
    assert "| `hostResolver` | – | – | Not supported: name all hosts in the rule. |" in static
    assert "| `globalAttributes` | – | – | The old name of `resourceAttributes`. |" in static
    for kind, text in (("static", static), ("dynamic", dynamic)):
        for section in reference.sections(kind):
            for key in (*section.model.missing, *section.model.ignored, *section.model.renamed):
                assert f"| `{key}` |" in text, f"{section.path}.{key}"


def test_keys_below_sections_of_the_static_configuration_are_all_there(reference: ModuleType) -> None:
    shown = {key.name for section in reference.sections("static") for key in section.keys}
    assert {str(path[-1]) for path in KEYS if isinstance(path[-1], str)} <= shown | {"one", "web"}
    meanings = reference.Meanings.read()
    marked = {
        f"{section.path}.{key.name}"
        for section in reference.sections("static")
        for key in section.keys
        if meanings.of(key.model, key.name).startswith("+ ")
    }
    of_entry_points = {key.replace("entryPoints.web", "entryPoints.NAME") for key in EXTENSIONS if "entryPoints" in key}
    assert of_entry_points <= marked


def test_examples_are_right(reference: ModuleType) -> None:
    paths = {section.path for kind in reference.ROOTS for section in reference.sections(kind)}
    found = reference.examples()
    assert len(found) > 30
    for path, text in found.items():
        assert path in paths, path
        keys = yaml.safe_load(text).keys()
        if keys & {"http", "tcp", "udp", "tls"}:
            config, warnings = parse_dynamic(text)
            assert warnings == [], path
            for layer in (config.http, config.tcp, config.udp):
                for kind in type(layer).model_fields:
                    faults = {name: thing.faults for name, thing in getattr(layer, kind).items() if thing.faults}
                    assert faults == {}, path
        else:
            assert parse_static(text)[1] == [], path
