"""The functions of sprig for paths and URLs. No I/O."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lbcore.template.functions.arguments import map_in, text_in
from lbcore.template.values import text_of


def _url(text: Any) -> dict[str, Any]:
    parts = urlsplit(text_in(text))
    user, _, host = parts.netloc.rpartition("@")
    found = {"scheme": parts.scheme, "host": host, "hostname": parts.hostname or "", "path": parts.path}
    return {**found, "query": parts.query, "opaque": "", "fragment": parts.fragment, "userinfo": user}


def _join_url(parts: Any) -> str:
    items = {key: text_of(value) for key, value in map_in(parts).items() if value is not None}
    user, host = items.get("userinfo", ""), items.get("host", "")
    where = f"{user}@{host}" if user else host
    rest = (items.get("path", ""), items.get("query", ""), items.get("fragment", ""))
    return urlunsplit((items.get("scheme", ""), where, *rest))


def _clean(path: Any) -> str:
    text = posixpath.normpath(text_in(path) or ".")
    return text[1:] if text.startswith("//") else text


PATHS: dict[str, Callable[..., Any]] = {
    "urlParse": _url,
    "urlJoin": _join_url,
    "base": lambda path: posixpath.basename(text_in(path).rstrip("/")) or ("/" if path else "."),
    "dir": lambda path: _clean(posixpath.dirname(text_in(path))),
    "clean": _clean,
    "ext": lambda path: (
        "." + path.rpartition("/")[2].rpartition(".")[2] if "." in text_in(path).rpartition("/")[2] else ""
    ),
    "isAbs": lambda path: text_in(path).startswith("/"),
}
PATHS |= {f"os{name[0].upper()}{name[1:]}": PATHS[name] for name in ("base", "clean", "dir", "ext", "isAbs")}
