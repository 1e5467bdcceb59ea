"""Classes of users as middlewares: found by an entry point, or by module and class; made with checked options."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from itertools import count
from typing import Any, get_args
from weakref import WeakValueDictionary

from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError

from lbcore.config.middlewares.python import Python
from lbcore.config.validate.findings import Fault, Faults

GROUP = "lbcore.middlewares"  # of entry points
METHODS = {"on_request": 1, "on_response": 2}  # and how many arguments they take
MOST_BODY_BYTES = 64 << 20
_NOT_THEIRS = (__file__, importlib.__file__)


class Given:
    """An instance that a program has made itself: its configurations may name it as long as this object lives."""

    def __init__(self, instance: object) -> None:
        kind = type(checked(instance))
        self.instance = instance
        name = re.sub(r"[^\w.]", "_", kind.__module__)
        self.config = Python.model_validate({"class": f"{name}:{kind.__name__}", "given": f"{next(_numbers)}"})
        _GIVEN[self.config.given] = self


_GIVEN: WeakValueDictionary[str, Given] = WeakValueDictionary()
_numbers = count()


def installed() -> dict[str, EntryPoint]:
    """The entry points of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def class_of(name: str) -> type:
    """The class that a configuration names. Raises ValueError."""
    if ":" not in name:
        points = installed()
        if name not in points:
            known = f"installed are {', '.join(sorted(points))}" if points else "none is installed"
            text = f"there is no entry point {name!r} of the group {GROUP}: {known}"
            raise ValueError(f"{text}; a class is written package.module:Class")
        name = points[name].value.replace(" ", "")
    module, _, path = name.partition(":")
    found: Any = _guarded(f"importing {module}", lambda: importlib.import_module(module))
    for part in path.split("."):
        if not hasattr(found, part):
            raise ValueError(f"the module {module} has no {path}")
        found = getattr(found, part)
    if not isinstance(found, type):
        raise ValueError(f"{name} is not a class")
    return found


def options_of(kind: type) -> type[BaseModel] | None:
    """The model of a class' options; None: it has none. Raises ValueError."""
    model = getattr(kind, "Options", None)
    if model is not None and not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise ValueError(f"{kind.__name__}.Options is not a model of pydantic")
    return model


def made(config: Python) -> object:
    """The instance that a configuration describes. Raises Faults for its options, else ValueError."""
    if config.given:
        return _GIVEN[config.given].instance
    kind = class_of(config.class_)
    model = options_of(kind)
    if model is None:
        if config.options:
            raise Faults([Fault(f"{kind.__name__} has no options: it names no model of them", "python", "options")])
        return checked(_guarded(config.class_, kind))
    options = _validated(model, config.options)
    return checked(_guarded(config.class_, lambda: kind(options)))


def _validated(model: type[BaseModel], data: dict[str, Any]) -> BaseModel:
    faults = []
    if model.model_config.get("extra") is None:  # pydantic's default is to ignore what it does not know
        fields = model.model_fields.items()
        keys = {key for name, field in fields for key in (name, field.alias, field.validation_alias)}
        known = sorted(key for key in keys if isinstance(key, str))
        unknown = [name for name in data if name not in known]
        faults = [Fault(f"unknown option {name!r}: known are {', '.join(known)}", *_where(name)) for name in unknown]
    try:
        options = model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults += [Fault(_message(detail, model), *_where(*detail["loc"])) for detail in details]
    if faults:
        raise Faults(faults)
    return options


def _where(*path: str | int) -> tuple[str | int, ...]:
    return ("python", "options", *path)


def _message(detail: Any, model: type[BaseModel]) -> str:
    where = ".".join(map(str, detail["loc"]))
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    if isinstance(detail["input"], str) and not _is_secret(model, detail["loc"]):
        message = f"{detail['input']!r}: {message}"
    return f"option {where}: {message}" if where else message


def _is_secret(model: Any, path: tuple[str | int, ...]) -> bool:
    """Whether a value is to be a SecretStr, or may be one."""
    kinds = {model}
    for key in path:
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        fields = [item for each in models for item in each.model_fields.items()]
        found = [field for name, field in fields if key in (name, field.alias, field.validation_alias)]
        kinds = {kind for field in found for kind in _kinds(field.annotation)} if found else kinds
    return not kinds.isdisjoint((SecretStr, SecretBytes))


def _kinds(annotation: Any) -> set[Any]:
    """The types in an annotation: of `list[A | B]`, A and B."""
    parts = get_args(annotation)
    return {kind for part in parts for kind in _kinds(part)} if parts else {annotation}


def _guarded(what: str, call: Callable[[], Any]) -> Any:
    """The result of code that is not lbcore's. Raises ValueError, whatever that raises."""
    try:
        return call()
    except (Exception, SystemExit) as error:
        text = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(f"{what}: {type(error).__name__}: {text}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """The last line of code that is not lbcore's, nor the interpreter's own for imports, in which an error arose."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    theirs = [(file, line) for file, line in frames if not file.startswith("<") and file not in _NOT_THEIRS]
    return f" ({theirs[-1][0]}:{theirs[-1][1]})" if theirs else ""


def checked(instance: object) -> object:
    """An instance that has what a middleware needs. Raises ValueError."""
    name = type(instance).__name__
    if not any(callable(getattr(instance, method, None)) for method in METHODS):
        raise ValueError(f"{name} has neither on_request nor on_response")
    for method, takes in METHODS.items():
        found = getattr(instance, method, None)
        if found is None:
            continue
        try:
            inspect.signature(found).bind(*[None] * takes)
        except TypeError:
            wanted = "the request" if takes == 1 else "the request and the response"
            raise ValueError(f"{name}.{method} has to take {wanted}") from None
        except ValueError:
            pass  # a method that does not tell
    body_limit_of(instance)
    return instance


def body_limit_of(instance: object) -> int:
    """The most bytes of a request's body that an instance is given; 0: it is given none. Raises ValueError."""
    limit = getattr(instance, "body_limit", 0)
    if not isinstance(limit, int) or not 0 <= limit <= MOST_BODY_BYTES:
        raise ValueError(f"{type(instance).__name__}.body_limit is a number of bytes up to {MOST_BODY_BYTES >> 20} MiB")
    return limit


def identity_of(config: Python) -> str:
    """What tells whether the instance of an earlier configuration can stay."""
    if config.given:
        return config.given
    options = json.dumps(config.options, sort_keys=True)
    return f"{config.class_}|{hashlib.blake2b(options.encode(), digest_size=16).hexdigest()}"


def with_options(schema: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The JSON schema of the dynamic configuration, with the options of these classes and of those that are installed.

    Raises ValueError for a class that cannot be found.
    """
    definitions, conditions = schema["$defs"], []
    for name in [*names, *sorted(installed())]:
        if (model := options_of(class_of(name))) is None:
            continue
        own = model.model_json_schema(by_alias=True)
        for key, value in own.pop("$defs", {}).items():
            definitions[f"{name}.{key}"] = value
        own = json.loads(json.dumps(own).replace('"#/$defs/', f'"#/$defs/{name}.'))
        of_class = {"properties": {"class": {"const": name}}, "required": ["class"]}
        conditions.append({"if": of_class, "then": {"properties": {"options": own}}})
    if conditions:
        definitions["Python"]["allOf"] = conditions
    definitions["Middleware"]["properties"]["python"]["anyOf"].insert(0, {"type": "string"})  # the class alone
    return schema
