"""What all configuration models share: Traefik's names for keys, and the keys of Traefik that have no field. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

# Marks a field whose default says nothing to a reader of the API, such as an extension that is off: see `api.shape`.
WHEN_SET = "shown where it is set"
UNSUPPORTED = "not supported by this version of lbcore"
# Attributes that no file can set.
HIDDEN = frozenset({"place", "faults", "closed", "certificate_text", "key_text", "authorities", "generated"})


class Change(NamedTuple):
    """What a section says otherwise than it is taken: a warning."""

    key: str
    text: str
    hint: str = ""


class Model(BaseModel):
    """Attributes are in snake case, keys in Traefik's camel case.

    missing       keys of features that are not there yet, with what to do instead: the object around cannot run; where
                  there is none, lbcore runs without the feature.
    ignored       keys that have no effect, with the reason: a warning.
    renamed       old names of keys.
    needs_keys    of the keys without a field, the sections that Traefik refuses when they are empty.
    may_be_empty  whether the section may stand without any key, or as `true`: as in Traefik.
    meant         what a text, or other keys, in place of this section were probably meant to be.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
    )
    missing: ClassVar[Mapping[str, str]] = {}
    ignored: ClassVar[Mapping[str, str]] = {}
    renamed: ClassVar[Mapping[str, str]] = {}
    needs_keys: ClassVar[frozenset[str]] = frozenset()
    may_be_empty: ClassVar[bool] = False
    meant: ClassVar[str] = ""

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """Turn what was read of a section into what it means in Traefik, and say what was changed."""
        return []


class Object(Model):
    """A named part of a configuration that runs, or is disabled, by itself: a router, a service, a middleware, ...

    place   where it is written, `dynamic.yml:7`; empty if not in a file. Objects that differ only in it are equal.
    faults  what could not be read of it; with any it cannot run. What could be read stands in the other attributes.
    runs_alone  whether a mistake in it leaves the others alone; otherwise only features that are missing do.
    """

    runs_alone: ClassVar[bool] = True
    may_be_empty: ClassVar[bool] = True

    place: SkipJsonSchema[str] = ""
    faults: SkipJsonSchema[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return {**self.__dict__, "place": ""} == {**other.__dict__, "place": ""}

    __hash__ = None  # type: ignore[assignment]


def fields_of(model: type[Model]) -> dict[str, Any]:
    """The fields that a file can set, by attribute."""
    return {name: field for name, field in model.model_fields.items() if name not in HIDDEN}


def keys(text: str, hint: str = "") -> dict[str, str]:
    """Keys, written with spaces between them, that share a hint."""
    return dict.fromkeys(text.split(), hint)
