"""Where what is wrong is written: file and line of a problem, and the node that it is about. No I/O."""

from __future__ import annotations

import re
from typing import Any

from lbcore.api.runtime import LAYERS, Runtime

PLACE = re.compile(r"^(\S+?):(\d+): ")  # at the beginning of a reason
# Kinds of `Disabled` by how texts name an object, and the kinds of nodes.
KINDS = {
    f"{words.prefix}{kind}": (
        f"{'' if layer == 'http' else layer}{kind.capitalize() if layer != 'http' else kind}",
        f"{layer}/{kind}s",
    )
    for layer, words in LAYERS.items()
    for kind in ("router", "service", "middleware")
}
KINDS |= {kind: (kind, node) for kind, node in KINDS.values()}


def placed(runtime: Runtime, problem: dict[str, Any]) -> dict[str, Any]:
    """A problem with the node that it is about, and where that is written."""
    about, _, name = problem["object"].rpartition(" ")
    place = ""
    if about in KINDS:
        kind, node = KINDS[about]
        problem["id"] = f"{node}/{name}"
        if "share" not in problem:  # a service that has lost its servers may be written well
            place = runtime.reload.places.get((kind, name), "")
    file, _, line = place.rpartition(":")
    if not file and about != "provider":  # whose reason may begin with an address
        text = problem["text"].partition(": ")[2]
        found = PLACE.match(text) or PLACE.match(problem["text"])
        file, line = (found[1], found[2]) if found else (place, "")
    if file:
        problem["file"] = file
    if line.isdigit():
        problem["line"] = int(line)
    return problem
