"""The names of what objects of Kubernetes become: those of Traefik. No I/O."""

from __future__ import annotations

import hashlib
import re

_OTHER = re.compile(r"[\W_]+")  # runs of what is neither a letter nor a digit


def normalize(name: str) -> str:
    """Letters and digits, with a dash for each run of others between them."""
    return "-".join(filter(None, _OTHER.split(name)))


def identity(namespace: str, name: str) -> str:
    """The name of an object of a namespace: `default-web`."""
    return f"{namespace}-{name}" if namespace else name


def digest(text: str) -> str:
    """Twenty hexadecimal digits, which tell texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def aside(wanted: str, owner: tuple[str, ...], number: int = 0) -> str:
    """The name of an owner whose own one is taken. `number`: of names of this kind that are taken, too."""
    return f"{wanted}-{digest('/'.join(owner) + '/' * number)}"
