"""Decoding a tree of text to a configuration model, with all problems at once. No I/O.

A problem inside an object (a router, a service, ...) disables that object alone; a problem elsewhere refuses the whole.
Texts become lists, switches and numbers as in Traefik's decoder; nonsense that Traefik loads in silence is refused.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError

from lbcore.config.model import UNSUPPORTED, Model, Object, fields_of
from lbcore.config.scalars import Plain, is_off, to_bool, to_float, to_int
from lbcore.config.tree import Path, Tree, texts_in
from lbcore.config.words import WORDS, plain_word
from lbcore.errors import ConfigError, Problem, Severity

M = TypeVar("M", bound=Model)
EXTENSIONS = "lbcore"
FREE = dict[str, Any]  # what a model of others will read
ABSENT = object()  # stands for a value that is missing, or that cannot be read
_SCALARS: dict[type, Callable[[str], Any]] = {bool: to_bool, int: to_int, float: to_float}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Keys, in lower case, that belong into another file, and the text about them."""

    keys: frozenset[str]
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Decoded(Generic[M]):
    """A model, and the problems found.

    broken    problems that disable single objects, whose models have them, too.
    warnings  ignored keys, and missing features without which lbcore runs.
    line      the line of an element, or of the nearest one around it, by its canonical path; None = not in a file.
    """

    model: M
    broken: list[Problem]
    warnings: list[Problem]
    line: Callable[[Path], int | None]


def decode(tree: Tree, model: type[M], elsewhere: Elsewhere | None = None) -> Decoded[M]:
    """Decode a tree. Keys are matched without regard to case; `lbcore:` is merged over the rest.

    elsewhere  the top-level keys of the other kind of file, which are ignored with one warning.

    Raises ConfigError with all problems, each with its line, if any concerns the whole.
    """
    decoder = _Decoder(tree)
    data = decoder.top(model, elsewhere)
    found = decoder.validated(data, model)
    warnings = in_order([*tree.warnings, *decoder.warnings])
    if tree.fatal or decoder.problems or found is None:
        raise ConfigError(in_order([*tree.fatal, *decoder.problems, *decoder.broken]), warnings)
    return Decoded(found, in_order(decoder.broken), warnings, decoder.line)


def in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.path))


def keys_of(model: type[Model]) -> dict[str, Any]:
    """The annotations of a model's fields, by key."""
    return {field.alias or name: field.annotation for name, field in fields_of(model).items()}


def known_to(model: type[Model]) -> set[str]:
    """All keys that a model accepts or recognises, in lower case."""
    return {key.lower() for key in (*keys_of(model), *model.missing, *model.ignored)} - model.extensions


def nearest(key: str, keys: list[str]) -> str:
    """A hint with the key that was probably meant, or with all keys if none is near."""
    lower = {name.lower(): name for name in keys}
    word = WORDS.get(plain_word(key), "")
    close = difflib.get_close_matches(key.lower(), list(lower), n=1, cutoff=0.85 if word else 0.6)
    if word and not close:
        return f"here this is {word}"
    return f"did you mean {lower[close[0]]}?" if close else "known here: " + ", ".join(sorted(keys))


def _plain(annotation: Any) -> Any:
    """An annotation without `| None` and `Annotated`."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        return _plain(rest[0]) if len(rest) == 1 else annotation
    return annotation


# The same few annotations are asked for again and again.
plain: Callable[[Any], Any] = cache(_plain)
_origin: Callable[[Any], Any] = cache(get_origin)


@dataclass(frozen=True, slots=True)
class _Words:
    """What keys of a model mean; but for annotations by key in lower case.

    annotations  of fields, without `| None` and `Annotated`, by canonical key.
    fields       canonical keys of fields.
    renamed      the present names of old ones.
    missing, ignored  canonical keys without a field.
    filled       canonical keys of lists that are not empty by default.
    """

    annotations: dict[str, Any]
    fields: dict[str, str]
    renamed: dict[str, str]
    missing: dict[str, str]
    ignored: dict[str, str]
    filled: frozenset[str]


@cache
def _words(model: type[Model]) -> _Words:
    annotations = keys_of(model)
    defaults = {each.alias or name: each.default for name, each in fields_of(model).items()}
    return _Words(
        {key: plain(annotation) for key, annotation in annotations.items()},
        {key.lower(): key for key in annotations},
        {old.lower(): new for old, new in model.renamed.items()},
        {key.lower(): key for key in model.missing},
        {key.lower(): key for key in model.ignored},
        frozenset(key for key, default in defaults.items() if isinstance(default, list) and default),
    )


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Model)


@dataclass(slots=True)
class _Owner:
    """The object that is being read, to which problems of its parts belong."""

    name: str
    line: int | None
    runs_alone: bool
    faults: list[str] = field(default_factory=list)


class _Decoder:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []
        self.broken: list[Problem] = []
        self.warnings: list[Problem] = []
        self.owners: dict[Path, _Owner] = {}
        self.written: dict[Path, Path] = {}  # canonical path to the path as written
        self.reported: set[Path] = set()  # paths with a reported problem, and ...
        self.around: set[Path] = set()  # ... the paths around them: consequences are not reported

    def owner(self, path: Path) -> _Owner | None:
        return next((self.owners[path[:length]] for length in range(2, 4) if path[:length] in self.owners), None)

    def line(self, path: Path) -> int | None:
        """The line of an element, by its canonical path, or of the nearest one around it."""
        around = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in self.written), ())
        return self.tree.line(self.written.get(around, ())) if around else None

    def note(
        self, path: Path, text: str, hint: str = "", severity: Severity = "error", line: int | None = None
    ) -> None:
        """Report something about a place. A problem of an object disables that object alone."""
        owner = self.owner(path)
        line = line or self.tree.line(self.written.get(path, path))
        if severity == "error" and UNSUPPORTED in text:
            severity = "missing"
        if severity == "error" and owner is not None and owner.runs_alone:
            severity = "disabled"
        problem = Problem(self.tree.key(path), text, hint, self.tree.file, line, severity)
        if owner is not None:
            problem = replace(problem, object=owner.name, object_line=owner.line)
        if severity == "error":
            self.problems.append(problem)
        elif severity == "warning" or owner is None:
            self.warnings.append(problem)
        else:
            self.broken.append(problem)
            owner.faults.append(str(problem) if self.tree.prefix else problem.inside())
        if severity != "warning":
            self.reported.add(path)
            self.around.update(path[:length] for length in range(len(path) + 1))

    # The tree, by the model

    def top(self, model: type[Model], elsewhere: Elsewhere | None) -> dict[str, Any]:
        known = known_to(model)
        foreign: list[str] = []
        content: dict[str, Any] = {}
        extensions: Any = None
        for key, value in self.tree.content.items():
            if key.lower() == EXTENSIONS:
                extensions = value
            elif key.lower() in known:
                content[key] = value
            elif elsewhere and key.lower() in elsewhere.keys:
                foreign.append(key)
            elif not key.startswith("x-"):
                self.note((key,), "unknown key, ignored", nearest(key, [*keys_of(model), EXTENSIONS]), "warning")
        if elsewhere and foreign:
            line = self.tree.line((foreign[0],))
            self.note((), f"{', '.join(foreign)}: {elsewhere.text}", elsewhere.hint, "warning", line)
        raw = self.mapping(content, model, (), ())
        if isinstance(extensions, dict):
            raw = _merge(raw, self.mapping(extensions, model, (), (EXTENSIONS,)))
        elif extensions is not None:
            self.note((EXTENSIONS,), "needs keys and values")
        self.faults_of_the_tree()
        return {key: self.built(value, keys_of(model)[key], (key,)) for key, value in raw.items()}

    def faults_of_the_tree(self) -> None:
        back = {written: path for path, written in self.written.items()}
        for written, text, line in self.tree.problems:
            path = next((back[written[:n]] for n in range(len(written), 0, -1) if written[:n] in back), written)
            self.note((*path, *written[len(path) :]) if written[: len(path)] == path else path, text, line=line)

    def value(self, value: Any, annotation: Any, path: Path, written: Path) -> Any:
        """The value to validate, or ABSENT."""
        self.written[path] = written
        annotation = plain(annotation)
        if annotation == FREE and value is not None:
            return self.free(value, path) if isinstance(value, dict) else self.mismatch(path, value, "keys and values")
        if value is None:  # as in Traefik, a key without a value is missing
            if is_model(annotation) and not issubclass(annotation, Object):
                written_so = f"write {path[-1]}: " + ("{}" if annotation.may_be_empty else "and its keys below it")
                self.note(path, "is empty, so it is not there", written_so, "warning")
            return ABSENT
        if is_model(annotation):
            return self.section(value, annotation, path, written)
        origin = _origin(annotation)
        if origin is dict:
            return self.names(value, get_args(annotation)[1], path, written)
        if origin in (list, tuple):
            return self.listed(value, get_args(annotation)[0], path, written)
        if isinstance(value, (dict, list)):
            return self.mismatch(path, value, "a single value")
        return self.scalar(value, annotation, path)

    def section(self, value: Any, model: type[Model], path: Path, written: Path) -> Any:
        if model.unread:
            return {}
        if isinstance(value, dict):
            if not model.may_be_empty and all(item is None for item in value.values()):
                return self.empty(path)
            return self.mapping(value, model, path, written)
        if value in ("", []) and model.may_be_empty and not issubclass(model, Object):
            return {}  # as in Traefik
        if isinstance(value, str) and (value.lower() == "true" or is_off(value)) and not issubclass(model, Object):
            if model.may_be_empty:
                return {} if value.lower() == "true" else ABSENT
            if value.lower() == "true":
                return self.empty(path)
        elif isinstance(value, str) and model.short and value:
            return self.mapping({model.short: value}, model, path, written)
        return self.mismatch(path, value, "keys and values", model.meant)

    def free(self, value: Any, path: Path) -> Any:
        """What a model of others will read: texts, lists and mappings, without keys that have no value."""
        if isinstance(value, (dict, list)):
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            for key, _ in items:
                self.written[(*path, key)] = (*self.written[path], key)
            if isinstance(value, list):
                return [self.free(item, (*path, key)) for key, item in items]
            return {key: self.free(item, (*path, key)) for key, item in items if item is not None}
        return None if value is None else str(value)

    def empty(self, path: Path) -> Any:
        name = path[-1] if isinstance(path[-1], str) else "it"
        self.note(path, f"{name} cannot be a standalone element: it needs at least one key")
        return ABSENT

    def names(self, value: Any, inner: Any, path: Path, written: Path) -> Any:
        if not isinstance(value, dict):
            return self.mismatch(path, value, "names and values")
        wanted = plain(inner)
        of_objects = is_model(wanted) and issubclass(wanted, Object)
        if not value or (not (of_objects and wanted.runs_alone) and all(item is None for item in value.values())):
            return self.empty(path)
        found: dict[str, Any] = {}
        for name, item in value.items():
            here, there = (*path, name), (*written, name)
            if is_model(wanted) and issubclass(wanted, Object):
                self.begin(wanted, here, there)
                if not isinstance(item, dict) and wanted.meant and name.lower() in known_to(wanted):
                    self.note(here, f"{name!r} is a key, not a name", wanted.meant)
                    found[name] = {}
                    continue
            if item is None and is_model(wanted) and issubclass(wanted, Object) and wanted.runs_alone:
                self.note(here, "is empty")
            decoded = self.value(item, inner, here, there)
            if decoded is ABSENT and is_model(wanted) and issubclass(wanted, Object):
                decoded = {}
            if decoded is not ABSENT:
                found[name] = decoded
            if is_model(wanted) and issubclass(wanted, Object) and not self.tree.prefix:
                self.note_misplaced(wanted, name, item, here)
        return found

    def note_misplaced(self, model: type[Object], name: str, item: Any, path: Path) -> None:
        """Refuse the file if what should be an object is a key that stands a level too high: another one, to which it
        belongs, would run without it."""
        words, known = _words(model), known_to(model)
        key = words.fields.get(name.lower())
        if key is None or not self.owners[path].faults:
            return
        has_keys = isinstance(item, dict) and any(each.lower() in known for each in item)
        is_kind = hasattr(model, "kinds") and is_model(words.annotations[key])  # without one an object does not run
        if not has_keys and not is_kind:
            text = f"{name!r} is a key, not a name: it belongs into an object, a level deeper"
            line = self.tree.line(self.written[path])
            self.problems.append(Problem(self.tree.key(path), text, file=self.tree.file, line=line))

    def begin(self, model: type[Object], path: Path, written: Path) -> None:
        """Begin an object, unless it was begun already: extensions are merged over another part of it."""
        self.written.setdefault(path, written)
        if path not in self.owners:
            self.owners[path] = _Owner(self.tree.key(path), self.tree.line(written), model.runs_alone)

    def listed(self, value: Any, inner: Any, path: Path, written: Path) -> Any:
        wanted = plain(inner)
        if value == {} or (isinstance(value, str) and not (value.strip() if is_model(wanted) else value)):
            return []  # as in Traefik, where a text of spaces is one empty name: it may stand for a guard
        if isinstance(value, str):
            if is_model(wanted) and not wanted.short:
                return self.mismatch(path, value, "a list", wanted.meant)
            # As in Traefik: one text is a list, with commas between its parts.
            value = [type(value)(part.strip()) for part in value.split(",")]
        if isinstance(value, dict) and is_model(wanted) and wanted.short:
            self.note(path, "keys and values are taken for a list of one", f"write - {wanted.short}: ...", "warning")
            value = [value]
        if not isinstance(value, list):
            hint = wanted.meant if is_model(wanted) else ""
            return self.mismatch(path, value, "a list", hint)
        found: list[Any] = []
        for index, item in enumerate(value):
            here, there = (*path, index), (*written, index)
            if is_model(wanted) and issubclass(wanted, Object):
                here = (*path, len(found))
                self.begin(wanted, here, there)
                if item is None:
                    self.note(here, "is empty")
                decoded = self.value(item, inner, here, there)
                found.append({} if decoded is ABSENT else decoded)
                continue
            if item is None:
                self.written[here] = there
                self.note(here, "is empty")
                continue
            if isinstance(item, dict) and list(item.values()) == [None] and not is_model(wanted):
                (item,) = item
                self.written[here] = there
                self.note(here, f"taken for {item!r}", "the colon behind it makes a key of it", "warning")
            if isinstance(item, str):
                item = type(item)(item.strip())  # as in Traefik
            decoded = self.value(item, inner, here, there)
            if decoded is not ABSENT:
                found.append(decoded)
        return found

    def scalar(self, value: str, annotation: Any, path: Path) -> Any:
        try:
            if annotation in _SCALARS:
                return _SCALARS[annotation](value)
        except ValueError as error:
            self.note(path, str(error))
            return ABSENT
        if _origin(annotation) is Literal:
            choices = get_args(annotation)
            if value == "" and "" not in choices:
                return ABSENT  # as in Traefik: the default
            meant = [choice for choice in choices if isinstance(choice, str) and choice.lower() == value.lower()]
            return value if value in choices or not meant else meant[0]
        if isinstance(value, Plain) and value in ("True", "TRUE", "False", "FALSE"):
            value = Plain(value.lower())  # `True` without quotes is a switch, which Traefik writes as `true`
        return value if annotation is timedelta else str(value)

    def mismatch(self, path: Path, value: Any, wanted: str, hint: str = "") -> Any:
        got = repr(str(value))
        if isinstance(value, (dict, list)):
            got = "keys and values" if isinstance(value, dict) else "a list"
        self.note(path, f"needs {wanted}, not {got}", hint)
        return ABSENT

    def mapping(self, value: dict[str, Any], model: type[Model], path: Path, written: Path) -> dict[str, Any]:
        words = _words(model)
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for key, item in self.spelled_once(value, words, path).items():
            there, lower = (*written, key), key.lower()
            name = words.fields.get(lower)
            if new := words.renamed.get(lower):
                self.written[(*path, key)] = there
                self.note((*path, key), f"the old name of {new}", f"write {new}", "warning")
                name = new
            here = (*path, name or words.missing.get(lower) or words.ignored.get(lower) or key)
            if name is None:
                self.written[here] = there
                self.without_field(model, key, item, here)
            elif name in seen:
                self.written[(*path, key)] = there
                self.note((*path, key), f"the same key as {name}, written differently")
            else:
                seen.add(name)
                decoded = self.value(item, words.annotations[name], here, there)
                if decoded is not ABSENT and not (decoded == [] and name in words.filled):  # as in Traefik: the default
                    found[name] = decoded
        for change in model.adjust(found):
            key, _, below = change.key.partition(".")
            self.note((*path, key, below) if below else (*path, key), change.text, change.hint, "warning")
        return found

    def spelled_once(self, value: dict[str, Any], words: _Words, path: Path) -> dict[str, Any]:
        """The items of a mapping, each under one key. Of several spellings the last one counts, by the order of text,
        and sections are merged, as in Traefik."""
        if len({key.lower() for key in value}) == len(value):
            return value
        spellings: dict[str, list[str]] = {}
        for key in sorted(value):
            spellings.setdefault(words.fields.get(key.lower(), key), []).append(key)
        found = dict(value)
        for name, keys in spellings.items():
            if len(keys) > 1:
                merged = None
                for item in map(found.pop, keys):
                    merged = merged if item is None else _merge(merged, item)
                found[keys[-1]] = merged
                text = f"is written in {len(keys)} ways: {', '.join(keys)}; what {keys[-1]} says counts"
                self.note((*path, name), text, "write it once", "warning")
        return found

    def without_field(self, model: type[Model], key: str, item: Any, here: Path) -> None:
        """Handle a key without an attribute: one of Traefik's, or an unknown one."""
        is_off = item is None or (isinstance(item, str) and item.lower() == "false")
        if item == {} and here[-1] in model.needs_keys:
            self.empty(here)
            return
        if name := _words(model).missing.get(key.lower()):
            if not is_off:
                self.note(here, UNSUPPORTED, model.missing[name], "missing")
        elif name := _words(model).ignored.get(key.lower()):
            if not is_off:
                self.note(here, "has no effect", model.ignored[name], "warning")
        else:
            # As in Traefik, one without a value is ignored: what stands below it may be commented out.
            rest = " without a value, ignored" if item is None else ""
            severity: Severity = "warning" if rest else "error"
            among = f" of {EXTENSIONS}" if self.written[here] == (EXTENSIONS, key) else ""
            self.note(here, f"unknown key {key!r}{among}{rest}", nearest(key, list(keys_of(model))), severity)

    # From decoded values to models, an object at a time

    def built(self, value: Any, annotation: Any, path: Path) -> Any:
        """`value` with its objects as models, each valid by itself, whatever problems others have."""
        annotation = plain(annotation)
        if isinstance(value, dict) and is_model(annotation):
            keys = keys_of(annotation)
            return {key: self.built(item, keys[key], (*path, key)) for key, item in value.items()}
        if isinstance(value, dict) and _origin(annotation) is dict:
            inner = plain(get_args(annotation)[1])
            if is_model(inner) and issubclass(inner, Object):
                return {name: self.object(item, inner, (*path, name)) for name, item in value.items()}
        if isinstance(value, list) and _origin(annotation) is list:
            inner = plain(get_args(annotation)[0])
            if is_model(inner) and issubclass(inner, Object):
                return [self.object(item, inner, (*path, index)) for index, item in enumerate(value)]
        return value

    def validated(self, data: dict[str, Any], model: type[M]) -> M | None:
        """The model without invalid parts, each of which has a problem."""
        for _ in range(3):
            try:
                return model.model_validate(data)
            except ValidationError as error:
                for detail in error.errors(include_url=False):
                    self.invalid((), detail)
                    data = _without(data, detail["loc"])
        return None

    def object(self, data: dict[str, Any], model: type[Object], path: Path) -> Object:
        for _ in range(3):
            try:
                return model.model_validate({**data, **self.about(model, path, data)})
            except ValidationError as error:
                details = error.errors(include_url=False)
                for detail in details:
                    self.invalid(path, detail)
                wrong = {detail["loc"][0] if detail["loc"] else "" for detail in details}
                data = {key: item for key, item in data.items() if key not in wrong} if "" not in wrong else {}
        return model.model_validate(self.about(model, path, {}))

    def about(self, model: type[Object], path: Path, data: dict[str, Any]) -> dict[str, Any]:
        """What no file can set of an object. `data`: of it, by canonical keys."""
        owner = self.owners[path]
        place = f"{self.tree.file}:{owner.line}" if owner.line else self.tree.file
        found: dict[str, Any] = {"place": place, "faults": tuple(owner.faults)}
        if owner.faults and "texts" in model.model_fields:
            written, fields = self.tree.value_at(self.written[path]), _words(model).fields
            if isinstance(written, dict):
                names = {key: fields.get(key.lower(), key) for key in written}
                read = {key for key, name in names.items() if name in data and (*path, name) not in self.around}
                written = {key: item for key, item in written.items() if key not in read}
            found["texts"] = texts_in(written)
        return found

    def invalid(self, base: Path, detail: Any) -> None:
        path = (*base, *(part for part in detail["loc"] if part != "[key]"))
        if path != () and (path in self.around or any(path[:length] in self.reported for length in range(len(path)))):
            return None
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "missing":
            return self.note(path, "is missing")
        if kind == "value_error":
            return self.note(path, str(context["error"]))
        if kind == "literal_error":
            return self.note(path, f"{detail['input']!r} has to be one of {context['expected']}")
        message = detail["msg"][:1].lower() + detail["msg"][1:]
        if isinstance(detail["input"], (str, int, float)):
            message = f"{detail['input']!r}: {message}"
        return self.note(path, message)


def _without(data: Any, path: Path) -> Any:
    """A copy of nested mappings without the value at `path`, or without the list that contains it."""
    if not isinstance(data, dict) or not path or path[0] not in data:
        return data
    if len(path) > 1 and isinstance(data[path[0]], dict):
        return {**data, path[0]: _without(data[path[0]], path[1:])}
    return {key: item for key, item in data.items() if key != path[0]}


def _merge(base: Any, over: Any) -> Any:
    """`over` wins; mappings are merged, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base[key], value) if key in base else value for key, value in over.items()}}
    return over
