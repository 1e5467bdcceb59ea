"""What servers did between two looks at an instance: rates, errors, latency, shares. No I/O."""

from __future__ import annotations

from typing import Any

from lbcore.remote.show import Node, all_services

TEXTS = ("service", "server", "status")  # in ascending order; numbers are in descending order
KEYS = {"in-flight": "inFlight"}  # of columns whose key is another

Row = dict[str, Any]


def servers_of(roots: list[Node]) -> dict[tuple[str, str, str], Node]:
    """All servers, by layer, service and URL."""
    return {
        (layer, node["name"], server["url"]): server
        for layer, node in all_services(roots)
        for server in node.get("servers", [])
    }


def rates(
    before: list[Node], now: list[Node], seconds: float, column: str = "service", reverse: bool = False
) -> list[Row]:
    """A row for each server, sorted by a column.

    rate, errors  per second.
    share         part of what its service got, 0 to 1; None: that got nothing.
    latency       mean time to first byte in ms; None: nothing was answered, or nothing measures it.
    """
    old = servers_of(before)
    rows: list[Row] = []
    counts: dict[tuple[str, str], int] = {}
    for key, server in servers_of(now).items():
        layer, service, url = key
        was = old.get(key, server)
        count = max(server["requests"] - was["requests"], 0)
        answers = max(server.get("answers", 0) - was.get("answers", 0), 0)
        spent_s = max(server.get("firstByteSeconds", 0.0) - was.get("firstByteSeconds", 0.0), 0.0)
        counts[layer, service] = counts.get((layer, service), 0) + count
        rows.append(
            {
                "layer": layer,
                "service": service,
                "server": url,
                "status": server["status"],
                "weight": server["effectiveWeight"],
                "share": count,
                "rate": round(count / seconds, 3),
                "errors": round(max(server.get("errors", 0) - was.get("errors", 0), 0) / seconds, 3),
                "latency": round(1000 * spent_s / answers, 3) if answers and spent_s else None,
                "inFlight": server["inFlight"],
                "requests": server["requests"],
            }
        )
    for row in rows:
        total = counts[row["layer"], row["service"]]
        row["share"] = round(row["share"] / total, 4) if total else None
    rows.sort(key=lambda row: (row["layer"], row["service"], row["server"]))
    if column in TEXTS:
        rows.sort(key=lambda row: str(row[column]), reverse=reverse)
    else:
        name = KEYS.get(column, column)
        rows.sort(key=lambda row: -1.0 if row[name] is None else float(row[name]), reverse=not reverse)
    return rows
