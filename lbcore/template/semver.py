"""Versions (https://semver.org), and constraints on them, as sprig reads them. No I/O."""

from __future__ import annotations

import re

from lbcore.template.values import Printed, ValueProblem

_VERSION = re.compile(
    r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_PART = r"(?:\d+|[xX*])"
_PATTERN = rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?"
_CONSTRAINT = re.compile(rf"\s*(=|==|!=|>|<|>=|=>|<=|=<|~|~>|\^|)\s*{_PATTERN}\s*(?:,|\s|$)")
_RANGE = re.compile(rf"\s*({_PATTERN})\s+-\s+({_PATTERN})\s*")
LIMIT = 1 << 64


def version(text: str) -> Printed:
    """The parts of a version by their names in sprig. Raises ValueProblem."""
    found = _VERSION.fullmatch(text)
    if found is None or len(text) > 256:
        raise ValueProblem("invalid semantic version")
    numbers = [int(part or 0) for part in found.groups()[:3]]
    prerelease = found[4] or ""
    leading = (part for part in prerelease.split(".") if part.isdigit() and len(part) > 1 and part[0] == "0")
    if any(number >= LIMIT for number in numbers) or any(leading):
        raise ValueProblem("invalid semantic version")
    names = {"Major": numbers[0], "Minor": numbers[1], "Patch": numbers[2], "Prerelease": prerelease}
    shown = ".".join(map(str, numbers)) + (f"-{prerelease}" if prerelease else "")
    shown += f"+{found[5]}" if found[5] else ""
    return Printed(shown, {**names, "Metadata": found[5] or "", "Original": text})


_Key = tuple[int, int, int, tuple[tuple[int, int, str], ...]]


def _key(major: int, minor: int, patch: int, prerelease: str) -> _Key:
    """The order of versions: a prerelease comes before its release, numbers in it before words."""
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in prerelease.split(".") if prerelease]
    return major, minor, patch, tuple(parts) if parts else ((2, 0, ""),)


def satisfies(constraint: str, text: str) -> bool:
    """Whether a version satisfies a constraint, such as `>=1.2, <2 || ~3.1`. Raises ValueProblem."""
    found = version(text)
    key = _key(found["Major"], found["Minor"], found["Patch"], found["Prerelease"])
    # Each alternative is read, so that a wrong one is an error.
    holds = [_all_hold(alternative, key, bool(found["Prerelease"])) for alternative in constraint.split("||")]
    return any(holds)


def _all_hold(text: str, key: _Key, is_prerelease: bool) -> bool:
    if (ends := _RANGE.fullmatch(text)) is not None:
        text = f">={ends[1]}, <={ends[6]}"
    at, holds = 0, True
    while at < len(text) or at == 0:
        found = _CONSTRAINT.match(text, at)
        if found is None:
            raise ValueProblem(f"improper constraint: {text}")
        at = found.end()
        holds = _holds(found, key, is_prerelease) and holds
        if not text[at:].strip():
            break
    return holds


def _holds(found: re.Match[str], key: _Key, is_prerelease: bool) -> bool:
    operator, prerelease = found[1], found[5] or ""
    parts = [None if part is None or part in "xX*" else int(part) for part in found.groups()[1:4]]
    if None in parts:
        parts[parts.index(None) :] = [None] * (3 - parts.index(None))
    major, minor, patch = parts
    if is_prerelease and not prerelease:
        return False
    low = _key(major or 0, minor or 0, patch or 0, prerelease)
    # The first version behind all that the written parts stand for.
    behind = (major or 0) + 1, 0, 0
    if major is not None and minor is not None:
        behind = (major, minor + 1, 0) if patch is None else (major, minor, patch + 1)
    after = key[:3] >= behind if major is not None else False
    within = key >= low and not after if None in parts else key == low
    if major is None and operator not in ("!=", ">", "<"):
        return True
    if operator in ("", "=", "=="):
        return within
    if operator == "!=":
        return not within
    if operator == ">":
        return after if None in parts else key > low
    if operator in (">=", "=>"):
        return key >= low
    if operator == "<":
        return key < low
    if operator in ("<=", "=<"):
        return not after if None in parts else key <= low
    if operator in ("~", "~>"):
        end = ((major or 0) + 1, 0, 0) if minor is None else (major or 0, minor + 1, 0)
        return key >= low and key[:3] < end
    end = behind
    if major or minor is None:
        end = (major or 0) + 1, 0, 0
    elif minor or patch is None:
        end = 0, minor + 1, 0
    return key >= low and key[:3] < end
