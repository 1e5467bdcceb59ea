"""For mkdocstrings: functions of stubs of which there are overloads alone, which griffe leaves out."""

from __future__ import annotations

from typing import Any

import griffe


def complete(thing: griffe.Module | griffe.Class) -> None:
    """Add them as members: the last overload, with the text of the first one that has some, and all signatures."""
    for name, overloads in thing.overloads.items():
        if overloads and name not in thing.members:
            function = overloads[-1]
            function.docstring = next((each.docstring for each in overloads if each.docstring), None)
            function.overloads = overloads
            thing.set_member(name, function)


class Overloads(griffe.Extension):
    """What `complete` does, for each module and class."""

    def on_module_members(self, *, mod: griffe.Module, **_: Any) -> None:
        """A module has been read."""
        complete(mod)

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """A class has been read."""
        complete(cls)
