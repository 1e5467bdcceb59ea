"""`python`, an extension: a class of the user's own, which sees requests and answers. No I/O."""

import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from lbcore.config.model import SECRETS, Model
from lbcore.config.numbers import ShortDuration

NAME = re.compile(r"[\w.-]+")
CLASS = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
TRUSTED = frozenset({"file", "internal"})  # providers whose configuration is the operator's own


class Python(Model):
    """class      the name of an entry point of the group `lbcore.middlewares`, or `package.module:Class`.
    options    of the class, as texts, lists and mappings: its own model gives them their types.
    timeout    of an async method: it is cancelled afterwards, and the client gets 504.
    slow_call  a call that holds the event loop for longer is counted, and logged once; 0: none is.
    given      what stands for an instance that a program has made itself: see `lbcore.middleware.classes`.
    """

    short: ClassVar[str] = "class"

    class_: str = Field(alias="class")
    options: Annotated[dict[str, Any], SECRETS] = {}
    timeout: ShortDuration = timedelta(seconds=10)
    slow_call: ShortDuration = timedelta(milliseconds=10)
    given: SkipJsonSchema[str] = ""

    @field_validator("class_")
    @classmethod
    def _named(cls, value: str) -> str:
        if not (CLASS if ":" in value else NAME).fullmatch(value):
            raise ValueError(f"{value!r} is neither package.module:Class nor the name of an entry point")
        return value

    @field_validator("timeout")
    @classmethod
    def _some(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("the timeout of a class has to be above 0")
        return value
