"""Flat keys (flags, variables, labels, keys of a store) as a tree: the model decides what is a list or a name. No I/O.

    traefik.http.routers.web.tls.domains[0].main      http, routers, web, tls, domains, 0, main
    http/services/web/loadBalancer/servers/0/url      http, services, web, loadBalancer, servers, 0, url

Keys are matched without regard to case. Positions in lists count as numbers, whatever their order as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

from lbcore.config.decode import keys_of, known_to, nearest, plain
from lbcore.config.model import Model
from lbcore.config.scalars import is_off

DEPTH_LIMIT = 64  # components of a key


class _Node(dict[str, Any]):
    """A mapping under way.

    written  its keys as they were written first, by their lower case.
    off      sections in it that are off, whatever stands below them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, str] = {}
        self.off: set[str] = set()


class _Positions(_Node):
    """A list under way, by position. `is_open`: any text is one."""

    def __init__(self, is_open: bool = False) -> None:
        super().__init__()
        self.is_open = is_open


def split_dotted(key: str) -> list[str]:
    """`domains[0].main` as `domains`, `0`, `main`; `domains[a].main` as `domains`, `[a]`, `main`."""
    return re.sub(r"\[(?:(\d+)|([^\[\].]*))\]", _position, key).split(".")


def _position(found: re.Match[str]) -> str:
    return f".{found[1] or found[0]}"


def is_position(key: str) -> bool:
    """Whether a part of a key is the position in a list. As in Traefik, that of a section need not be a number."""
    return key.isdecimal() or key.startswith("[")


def _rank(key: str) -> tuple[bool, int, str]:
    return (False, int(key), "") if key.isdecimal() else (True, 0, key)


class FlatTree:
    """Collects settings for a model.

    strict  a key that the model does not have is an error at once; else `decode` reports it, for its object alone.
    lowers  names are in lower case, whatever is written, as in Traefik those that come from variables.
    opens   any text is a position in a list, as in the stores of Traefik: `servers/first/url`.
    """

    def __init__(
        self, model: type[Model], *, strict: bool = False, lowers: bool = False, opens: bool = False
    ) -> None:
        self._model = model
        self._strict = strict
        self._opens = opens
        self._lowers = lowers
        self._root = _Node()

    def put(self, parts: Sequence[str], value: str) -> None:
        """Add a setting. Raises ValueError."""
        if len(parts) > DEPTH_LIMIT:
            raise ValueError("too many components")
        self._put(self._root, self._model, parts, value)

    def touch(self, parts: Sequence[str]) -> None:
        """Add an object without settings, if it is not there."""
        self._put(self._root, self._model, parts, None)

    def content(self) -> dict[str, Any]:
        """The tree."""
        found: dict[str, Any] = _lists(self._root)
        return found

    def _put(self, node: _Node, annotation: Any, parts: Sequence[str], value: str | None) -> None:
        annotation = plain(annotation)
        key, *rest = parts
        name, inner = key, None
        if isinstance(annotation, type) and issubclass(annotation, Model):
            keys = {known.lower(): known for known in keys_of(annotation)}
            found = keys.get(key.lower())
            if found is None and (not self._strict or key.lower() in known_to(annotation)):
                # `decode` reports the problem, or follows a renamed key.
                if self._strict:
                    node[key] = value if not rest else "true"
                    return
                name = self._name(node, key)
            elif found is None:
                raise ValueError(f"unknown key {key!r}: {nearest(key, list(keys.values()))}")
            else:
                name, inner = found, plain(keys_of(annotation)[found])
        elif get_origin(annotation) is dict:
            inner = plain(get_args(annotation)[1])
            if rest and (inner is str or get_origin(inner) is Literal):  # a name with dots in it, as one of a header
                key, rest = ".".join((key, *rest)), []
            name = key.lower() if self._lowers else self._name(node, key)
        elif get_origin(annotation) in (list, tuple):
            inner = plain(get_args(annotation)[0])
            if self._strict and not (is_position(key) if rest else key.isdecimal()):
                raise ValueError(f"{key!r} is not the position in a list")
            name = str(int(key)) if key.isascii() and key.isdigit() and len(key) < 10 else key
        elif self._strict:
            raise ValueError(f"{key!r} goes deeper than the option does")
        else:
            name = self._name(node, key)
        if rest:
            before = node.get(name)
            made = _Positions(self._opens) if get_origin(inner) in (list, tuple) else _Node()
            deeper = before if isinstance(before, _Node) else made
            self._put(deeper, inner, rest, value)
            if deeper or before is not None:  # a section that is off makes nothing of those around it
                node[name] = deeper
        elif value is None:
            if not isinstance(node.get(name), dict):
                node[name] = _Node()
        elif isinstance(inner, type) and issubclass(inner, Model):
            self._put_section(node, name, inner, value)
        elif get_origin(inner) in (list, tuple):
            wanted = plain(get_args(inner)[0])
            if isinstance(wanted, type) and issubclass(wanted, Model):
                node.setdefault(name, value)
            elif not isinstance(node.get(name), dict):
                # As in a file, an empty part is one: of `${AUTH},strip` without AUTH, `strip` alone must not be left.
                listed = [part.strip() for part in value.split(",")] if value.strip() else []
                # A flag may be repeated. Elsewhere these are two spellings of one key, of which the last one counts.
                node[name] = [*node[name], *listed] if self._strict and isinstance(node.get(name), list) else listed
        elif not isinstance(node.get(name), dict):
            node[name] = value

    def _put_section(self, node: _Node, name: str, model: type[Model], value: str) -> None:
        """A section as a whole: `tls = true`."""
        if value.strip() == "{}":  # nothing below it, as in YAML
            value = "true"
        if not self._strict and model.may_be_empty and is_off(value):
            node.off.add(name)
        if value.lower() not in ("true", "false", ""):
            if self._strict:
                raise ValueError(f"{value!r}: needs keys below it, or true")
            node.setdefault(name, value)
        elif self._strict:
            if value.lower() != "false":
                node.setdefault(name, _Node())
        else:
            node.setdefault(name, value)

    def _name(self, node: _Node, key: str) -> str:
        """The key as it was written first in this node, in whatever case."""
        return node.written.setdefault(key.lower(), key)


def _lists(node: Any) -> Any:
    """Mappings of positions as lists."""
    if not isinstance(node, dict):
        return node
    if isinstance(node, _Positions) and all(
        node.is_open or (is_position(key) if isinstance(value, dict) else key.isdecimal())
        for key, value in node.items()
    ):
        return [_lists(node[key]) for key in sorted(node, key=_rank)]
    off = node.off if isinstance(node, _Node) else frozenset()
    return {key: "false" if key in off else _lists(value) for key, value in node.items()}


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys in an order in which the same settings always give the same tree."""
    return sorted(keys)  # as Traefik: the first spelling of a name counts, and the last one of an option
