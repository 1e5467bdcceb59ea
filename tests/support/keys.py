"""Readings of keys."""

from __future__ import annotations

from collections.abc import Mapping

from lbcore.provider.follow import Reading
from lbcore.provider.keys import KeyReader


def reading_of(values: Mapping[str, str], root: str, place: str) -> Reading:
    """What the keys of a store say, in one reading. `values`: by whole key."""
    return KeyReader(root, place).read(values)
