"""Searches in the nodes of a configuration, with what is known of them now. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lbcore.api.paging import page_of
from lbcore.api.structure import Node, Structure

SORTS = ("name", "rate", "errors", "p50", "p95", "p99", "inFlight", "requests", "denied")
FIELDS = ("q", "kind", "layer", "status", "state", "provider", "entrypoint", "sort", "order", "page", "per_page")
View = dict[str, Any]


def search(structure: Structure, views: Mapping[str, View], query: Mapping[str, str]) -> View:
    """A page of the nodes that match. Raises ValueError for a query that has no meaning."""
    page, per_page = page_of(query, FIELDS)
    sort, order = query.get("sort", "name"), query.get("order", "asc")
    if sort not in SORTS or order not in ("asc", "desc"):
        raise ValueError(f"sort: {', '.join(SORTS)}; order: asc, desc")
    kind = query.get("kind", "").removesuffix("s")
    words = query.get("q", "").lower().split()
    every = [node for node in structure.nodes.values() if not kind or node["kind"] == kind]
    found = [
        node
        for node in every
        if all(word in structure.texts[node["id"]] for word in words)
        and _matches(node, views.get(node["id"], {}), query)
    ]
    found.sort(key=lambda node: (node["name"].rpartition("@")[0], node["name"]))
    if sort != "name":
        found.sort(key=lambda node: views.get(node["id"], {}).get(sort, 0.0), reverse=order == "desc")
    elif order == "desc":
        found.reverse()
    items: list[View] = []
    for node in found[(page - 1) * per_page : page * per_page]:
        view = views.get(node["id"])
        items.append({"node": node, **({"live": view} if view else {})})
    pages = -(-len(found) // per_page)
    return {"total": len(found), "all": len(every), "page": page, "pages": pages, "perPage": per_page, "items": items}


def _matches(node: Node, view: View, query: Mapping[str, str]) -> bool:
    for key in ("layer", "status", "provider"):
        if query.get(key) and node.get(key) != query[key]:
            return False
    point = query.get("entrypoint", "")
    if point and f"entrypoints/{point}" not in node.get("entryPoints", ()):
        return False
    state = query.get("state", "")
    states = view.get("states", ())
    if state == "busy":
        return bool(view.get("rate"))
    if state == "well":
        return not states and node["status"] == "enabled"
    if state == "problem":
        return bool(states) or node["status"] != "enabled"
    return not state or state in states or (state == "disabled" and node["status"] == "disabled")
