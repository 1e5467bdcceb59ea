"""What the models cost when lbcore starts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import lbcore.config.dynamic
import lbcore.config.static  # noqa: F401 - with all models
from lbcore.config.model import Model


def models(parent: type[Model] = Model) -> Iterator[type[Model]]:
    for model in parent.__subclasses__():
        yield model
        yield from models(model)


def test_annotations_of_models_are_no_text_that_has_to_be_read_at_each_start() -> None:
    found = [model for model in models() if model.__module__.startswith("lbcore.config.")]
    assert len(found) > 150
    texts = [f"{each.__module__}.{each.__name__}" for each in found if str in map(type, each_annotation(each))]
    assert texts == []


def each_annotation(model: type[Model]) -> list[object]:
    return list(inspect.get_annotations(model).values())
