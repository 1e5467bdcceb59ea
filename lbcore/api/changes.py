"""What one configuration changes of another: the objects that are added, removed and changed. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from lbcore.config.difference import changed_names
from lbcore.config.dynamic import DynamicConfig

KINDS = {
    "http": ("routers", "services", "middlewares", "servers_transports"),
    "tcp": ("routers", "services", "middlewares", "servers_transports"),
    "udp": ("routers", "services"),
}
WORDS = {"servers_transports": "servers transports", "tls": "TLS settings"}
NAMED = 3  # objects that a summary names; of more it tells the number


@dataclass(frozen=True, slots=True)
class Changes:
    """added, removed, changed: `http/routers/shop@file`; what of TLS has changed is `tls/certificates`, …."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unix_s: float = field(default_factory=time.time)

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def summary(self) -> str:
        """One line: `router shop@file added; services a@file, b@file changed; 12 middlewares removed`; or nothing."""
        found = ((self.added, "added"), (self.changed, "changed"), (self.removed, "removed"))
        return "; ".join(f"{text} {verb}" for ids, verb in found for text in _grouped(ids))


def changes(before: DynamicConfig, after: DynamicConfig) -> Changes:
    """The differences. O(objects): those that a reload has kept are not compared value by value."""
    added: list[str] = []
    removed: list[str] = []
    changed: list[str] = []
    for layer, kinds in KINDS.items():
        for kind in kinds:
            old: Mapping[str, object] = getattr(getattr(before, layer), kind)
            new: Mapping[str, object] = getattr(getattr(after, layer), kind)
            prefix = f"{layer}/{kind}"
            others, gone = changed_names(old, new)
            added += [f"{prefix}/{name}" for name in others if name not in old]
            removed += [f"{prefix}/{name}" for name in gone]
            changed += [f"{prefix}/{name}" for name in others if name in old and old[name] != new[name]]
    for name in ("certificates", "options", "stores"):
        if getattr(before.tls, name) != getattr(after.tls, name):
            changed.append(f"tls/{name}")
    return Changes(tuple(added), tuple(removed), tuple(changed))


def _grouped(ids: tuple[str, ...]) -> list[str]:
    """Objects by kind: named if they are few, else counted."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in ids:
        layer, kind, *name = each.split("/", 2)
        groups.setdefault((layer, kind), []).append("".join(name))
    texts = []
    for (layer, kind), names in groups.items():
        if layer == "tls":
            texts.append(f"TLS {kind}")
            continue
        words = WORDS.get(kind, kind)
        prefix = "" if layer == "http" else f"{layer.upper()} "
        if len(names) > NAMED:
            texts.append(f"{len(names)} {prefix}{words}")
        else:
            word = words if len(names) > 1 else words.removesuffix("s")
            texts.append(f"{prefix}{word} {', '.join(names)}")
    return texts
