"""The files that the documentation shows are loaded as they are, and those of the examples are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lbcore.config.load import STATIC_KEYS, parse_dynamic, parse_static
from lbcore.process.check import check_file
from lbcore.template.engine import render_file

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
EXAMPLES = sorted(path for path in ROOT.glob("examples/**/*.yml") if path.parent.name != "monitoring")


def blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text()
        for found in re.finditer(r"```(?:ya?ml)\n(.*?)```", text, re.DOTALL):
            line = text[: found.start()].count("\n") + 1
            yield f"{page.relative_to(ROOT)}:{line}", found[1]


BLOCKS = dict(blocks())


def test_the_documentation_shows_files() -> None:
    assert len(BLOCKS) >= 8
    assert len(EXAMPLES) >= 9


@pytest.mark.parametrize("place", BLOCKS)
def test_files_in_the_documentation_are_right(place: str) -> None:
    text = render_file(BLOCKS[place]).text
    keys = {key.lower() for key in yaml.safe_load(text)}
    if keys == {"loadbalancer"}:  # a part of a service
        text = yaml.safe_dump({"http": {"services": {"shown": yaml.safe_load(text)}}})
        keys = {"http"}
    if keys & STATIC_KEYS:
        assert parse_static(text)[1] == []
        return
    config, warnings = parse_dynamic(text)
    assert warnings == []
    for layer in (config.http, config.tcp):
        for kind in type(layer).model_fields:
            assert {name: thing.faults for name, thing in getattr(layer, kind).items() if thing.faults} == {}


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_of_the_examples_are_right(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # paths in them are relative
    if "STORY" in file.read_text():  # the name of one is put in when it runs
        assert parse_static(file.read_text())[1] == []
    else:
        assert check_file(file).problems == []
