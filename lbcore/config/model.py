"""The base of all configuration models: Traefik's names of keys, and Traefik's keys without a field. No I/O.

Modules with models do not import `annotations` from `__future__`: to read 3,000 annotations as text, pydantic would
take a tenth of the time in which lbcore starts.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

# Marks a field whose default is not shown in the API, such as an extension that is off: see `api.shape`.
WHEN_SET = "shown where it is set"
# Marks a secret, or a list or mapping with secrets as values, of which the API shows that they are there.
SECRETS = "not shown"
# Marks a list of texts `name:secret` or `name:realm:secret`, of which the API shows what precedes the secret, which may
# have colons itself.
SECRETS_OF_NAMES = "not shown behind a name"
SECRETS_OF_REALMS = "not shown behind a name and a realm"
UNSUPPORTED = "not supported by this version of lbcore"
# Attributes that no file can set.
HIDDEN = frozenset({"place", "faults", "closed", "bundles", "generated", "settled", "given", "identity"})
HIDDEN |= {"certificate_text", "key_text", "authorities", "ruled_by_default", "texts"}


class Change(NamedTuple):
    """A warning about a section whose meaning differs from its text."""

    key: str
    text: str
    hint: str = ""


class Model(BaseModel):
    """Attributes are in snake case, keys in Traefik's camel case.

    `model_validate` takes data of the right types. What people write (one text for a list, `true` for a section) is
    read by `config.decode`; for dicts there are `config.load.static_of` and `dynamic_of`.

    missing       keys of missing features, with a hint: the object around them cannot run; outside of objects, lbcore
                  runs without the feature.
    ignored       keys without effect, with the reason: a warning.
    renamed       old names of keys.
    needs_keys    keys without a field whose sections Traefik refuses if they are empty.
    extensions    keys that are accepted below `lbcore` only, because without it they have another meaning.
    may_be_empty  whether the section may be empty, or `true`, as in Traefik.
    meant         a hint for a text, or for other keys, in place of this section.
    short         the key that a text in place of this section sets.
    unread        whether anything may stand in the section, none of which is read.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        defer_build=True,  # of 200 models: a model is built with the one that contains it
    )
    missing: ClassVar[Mapping[str, str]] = {}
    ignored: ClassVar[Mapping[str, str]] = {}
    renamed: ClassVar[Mapping[str, str]] = {}
    needs_keys: ClassVar[frozenset[str]] = frozenset()
    may_be_empty: ClassVar[bool] = False
    extensions: ClassVar[frozenset[str]] = frozenset()
    meant: ClassVar[str] = ""
    short: ClassVar[str] = ""
    unread: ClassVar[bool] = False

    @classmethod
    def adjust(cls, data: dict[str, Any]) -> list[Change]:
        """Change the data of a section to their meaning in Traefik, and return the changes to warn about."""
        return []


class Object(Model):
    """A named part of a configuration that runs, or is disabled, by itself: a router, a service, a middleware, ...

    place       `dynamic.yml:7`; empty if not from a file. Objects that differ only in their place are equal.
    faults      problems of its text, with any of which it cannot run. The other attributes have what could be read.
    runs_alone  whether a mistake in it disables it alone; otherwise only missing features do.
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
    """Keys, separated by spaces, that share a hint."""
    return dict.fromkeys(text.split(), hint)
