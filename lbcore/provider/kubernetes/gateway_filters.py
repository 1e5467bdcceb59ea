"""Filters of the Gateway API as middlewares. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from lbcore.provider.kubernetes.gateway_model import TRAEFIK, Content
from lbcore.provider.kubernetes.names import identity, normalize
from lbcore.provider.kubernetes.part import Part

ANY_ORIGIN = "*"
CORS_MAX_AGE_S = 5  # if a filter says none
USUAL_REDIRECT = 302


class Unsupported(ValueError):
    """A rule wants something that lbcore does not have, or that means nothing."""


@dataclass(slots=True)
class Filters:
    """What the filters of a rule, or of a backend, become.

    made      middlewares, by name, in their order; a text: it exists elsewhere, and is made of that object.
    mirrors   what gets copies, and how many per cent.
    answers   whether one of them answers, so that no backend is needed.
    """

    made: dict[str, Content | str] = field(default_factory=dict)
    mirrors: list[tuple[Part, int]] = field(default_factory=list)
    answers: bool = False


def filters_of(parts: list[Part], owner: str, namespace: str, path: tuple[str, str]) -> Filters:
    """The filters of a rule. Raises Unsupported.

    owner  the name that their names begin with.
    path   type and value of the path of the match: what a prefix is replaced of.
    """
    found = Filters()
    for index, part in enumerate(parts):
        kind = part.text("type")
        name = f"{owner}-{kind.lower()}-{index}"
        if kind == "RequestHeaderModifier":
            found.made[name] = {"requestHeaderModifier": _modifier(_of(part, "requestHeaderModifier"))}
        elif kind == "ResponseHeaderModifier":
            found.made[name] = {"responseHeaderModifier": _modifier(_of(part, "responseHeaderModifier"))}
        elif kind == "RequestRedirect":
            found.made[name] = {"requestRedirect": _redirect(_of(part, "requestRedirect"), path)}
            found.answers = True
        elif kind == "URLRewrite":
            found.made[name] = {"urlRewrite": _rewrite(_of(part, "urlRewrite"), path)}
        elif kind == "RequestMirror":
            found.mirrors.append(_mirror(_of(part, "requestMirror")))
        elif kind == "CORS":
            found.made[name] = {"headers": _cors(_of(part, "cors"))}
        elif kind == "ExtensionRef":
            named, source = _extension(_of(part, "extensionRef"), namespace)
            found.made[named] = source
        else:
            raise Unsupported(f"{part.path}: filter {kind!r} is not supported")
        part.end()
    return found


def _of(part: Part, key: str) -> Part:
    found = part.part(key)
    if found is None:
        raise Unsupported(f"{part.at(key)}: is missing")
    return found


def _modifier(part: Part) -> Content:
    content: Content = {}
    for key in ("set", "add"):
        lines = {}
        for each in part.parts(key):
            lines[each.text("name")] = each.text("value")
            each.end()
        if lines:
            content[key] = lines
    if removed := part.texts("remove"):
        content["remove"] = removed
    part.end()
    if not content:
        raise Unsupported(f"{part.path}: is empty")
    return content


def _path(part: Part, path: tuple[str, str]) -> Content:
    """The keys of a path that is replaced; none: it is not."""
    of_path = part.part("path")
    if of_path is None:
        return {}
    kind = of_path.text("type")
    if kind == "ReplaceFullPath":
        content: Content = {"path": of_path.text("replaceFullPath")}
    elif kind == "ReplacePrefixMatch":
        if path[0] != "PathPrefix":
            raise Unsupported(f"{of_path.path}: ReplacePrefixMatch goes with a match of type PathPrefix")
        content = {"path": of_path.text("replacePrefixMatch"), "pathPrefix": path[1]}
    else:
        raise Unsupported(f"{of_path.path}: type {kind!r} is not supported")
    of_path.end()
    return content


def _redirect(part: Part, path: tuple[str, str]) -> Content:
    content = _path(part, path)
    for key in ("scheme", "hostname"):
        if value := part.text(key):
            content[key] = value
    if port := part.number("port"):
        content["port"] = port
    content["statusCode"] = part.number("statusCode") or USUAL_REDIRECT
    part.end()
    return content


def _rewrite(part: Part, path: tuple[str, str]) -> Content:
    content = _path(part, path)
    if hostname := part.text("hostname"):
        content["hostname"] = hostname
    part.end()
    if not content:
        raise Unsupported(f"{part.path}: is empty")
    return content


def _mirror(part: Part) -> tuple[Part, int]:
    backend = _of(part, "backendRef")
    percent, fraction = part.number("percent"), part.part("fraction")
    if fraction is not None:
        above, below = fraction.number("numerator") or 0, fraction.number("denominator")
        below = 100 if below is None else below
        fraction.end()
        if below <= 0 or not 0 <= above <= below:
            raise Unsupported(f"{fraction.path}: is no share")
        percent = round(100 * above / below) or int(above > 0)
    part.end()
    return backend, 100 if percent is None else percent


def _cors(part: Part) -> Content:
    origins = part.texts("allowOrigins")
    exact = [origin for origin in origins if ANY_ORIGIN not in origin or origin == ANY_ORIGIN]
    patterns = [_pattern(origin) for origin in origins if origin not in exact]
    content: Content = {
        "accessControlAllowCredentials": bool(part.flag("allowCredentials")),
        "accessControlMaxAge": CORS_MAX_AGE_S if (age := part.number("maxAge")) is None else age,
        "addVaryHeader": True,
    }
    lists: dict[str, Any] = {
        "accessControlAllowOriginList": exact,
        "accessControlAllowOriginListRegex": patterns,
        "accessControlAllowMethods": part.texts("allowMethods"),
        "accessControlAllowHeaders": part.texts("allowHeaders"),
        "accessControlExposeHeaders": part.texts("exposeHeaders"),
    }
    part.end()
    return {**content, **{key: values for key, values in lists.items() if values}}


def _pattern(origin: str) -> str:
    """`https://*.example.com` as an expression: the star stands for names, and reaches no further."""
    return "^" + "[a-zA-Z0-9.-]+".join(re.escape(part) for part in origin.split(ANY_ORIGIN)) + "$"


def _extension(part: Part, namespace: str) -> tuple[str, str]:
    """The name of a Middleware, and the object that it has to be made of."""
    group, kind, name = part.text("group"), part.text("kind"), part.text("name")
    part.end()
    if (group, kind) != (TRAEFIK, "Middleware"):
        raise Unsupported(f"{part.path}: {group}/{kind} is no filter")
    return f"{normalize(identity(namespace, name))}@kubernetescrd", f"{kind} {namespace}/{name}"
