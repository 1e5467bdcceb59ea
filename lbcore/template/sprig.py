"""The pure functions of sprig, `env`, and hashes of passwords. Source: https://masterminds.github.io/sprig.

Functions that depend on the time, on chance, on the network or on keys are missing, and are refused by name.
"""

from __future__ import annotations

import base64
import binascii
import copy
import hashlib
import json
import math
import os
import posixpath
import re
import zlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import re2

from lbcore.template.semver import satisfies, version
from lbcore.template.values import (
    ValueProblem,
    kind_of,
    quoted,
    text_of,
    type_of,
    wrapped,
)
from lbcore.template.words import abbreviated, camel_case, is_name, joined, wrap

LONGEST = 1 << 20  # elements of a list, and characters of a repeated text, that a function makes
MISSING = frozenset(  # functions of sprig
    (
        "ago", "date", "dateInZone", "dateModify", "date_in_zone", "date_modify", "duration", "durationRound",
        "htmlDate", "htmlDateInZone", "mustDateModify", "mustToDate", "must_date_modify", "now", "toDate",
        "unixEpoch", "shuffle", "randAlpha", "randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric",
        "uuidv4", "getHostByName", "derivePassword", "genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert",
        "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey", "buildCustomCert", "encryptAES",
        "decryptAES",
    )
)  # fmt: skip


def _text(value: Any) -> str:
    if not isinstance(value, str):
        got = "<nil>" if value is None else type_of(value)
        raise ValueProblem(f"wrong type for value; expected string; got {got}")
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueProblem(f"wrong type for value; expected int; got {type_of(value)}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueProblem(f"needs a list, not {type_of(value)}")
    return value


def _map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueProblem(f"wrong type for value; expected map[string]interface {{}}; got {type_of(value)}")
    return value


def _bounded(length: int) -> None:
    if length > LONGEST:
        raise ValueProblem(f"more than {LONGEST} elements")


def _str(value: Any) -> str:
    """sprig's `toString`."""
    return text_of(value)


def _strings(value: Any) -> list[str]:
    """sprig's `toStrings`."""
    if isinstance(value, list):
        return [_str(item) for item in value if item is not None]
    return [] if value is None else [_str(value)]


def to_int(value: Any) -> int:
    """A whole number of anything; 0 if it is none."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return wrapped(int(value)) if math.isfinite(value) else -(1 << 63)
    if isinstance(value, str):
        text = re.sub(r"\.0*$", "", value)
        sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
        for form, base in ((r"0[xX][0-9a-fA-F]+", 16), (r"0[bB][01]+", 2), (r"0[oO]?[0-7]+", 8), (r"[0-9]+", 10)):
            if re.fullmatch(form, digits):
                number = sign * int(re.sub(r"^0[xXbBoO]", "", digits), base)
                return number if -(1 << 63) <= number < 1 << 63 else 0
    return 0


def to_float(value: Any) -> float:
    """A number of anything; 0 if it is none."""
    try:
        return float(value) if isinstance(value, bool | int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0


def _empty(value: Any) -> bool:
    return value is None or (not value if not isinstance(value, float) else value == 0)


def _default(other: Any, *given: Any) -> Any:
    return other if not given or _empty(given[0]) else given[0]


# Text


def _cut(text: Any, start: int | None, end: int | None) -> str:
    return _text(text).encode()[start:end].decode(errors="replace")


def _substr(start: Any, end: Any, text: Any) -> str:
    first, last, length = _number(start), _number(end), len(_text(text).encode())
    if first < 0:
        return _cut(text, None, max(last, 0))
    return _cut(text, first, None if last < 0 or last > length else last)


def _trunc(count: Any, text: Any) -> str:
    number, length = _number(count), len(_text(text).encode())
    if number < 0:
        return _cut(text, number, None) if length + number > 0 else text
    return _cut(text, None, number) if length > number else text


def _abbrev(width: Any, text: Any) -> str:
    number = _number(width)
    return str(text) if number < 4 or len(_text(text)) <= number else f"{text[: number - 3]}..."


def _title(text: Any) -> str:
    return re.sub(r"(?<!\w)\w", lambda found: found[0].upper(), _text(text))


def _untitle(text: Any) -> str:
    return re.sub(r"(^|\s)(\S)", lambda found: found[1] + found[2].lower(), _text(text))


def _repeat(count: Any, text: Any) -> str:
    if _number(count) < 0:
        raise ValueProblem("negative Repeat count")
    _bounded(count * len(_text(text)))
    return str(text) * int(count)


def _replace(old: Any, new: Any, text: Any) -> str:
    found = _text(text).count(_text(old)) * len(_text(new))
    _bounded(found)
    return str(text).replace(old, new)


def _indent(count: Any, text: Any) -> str:
    _bounded(max(_number(count), 0) * (_text(text).count("\n") + 1))
    before = " " * int(count)
    return before + str(text).replace("\n", "\n" + before)


def _split(separator: Any, text: Any) -> list[str]:
    return list(_text(text)) if _text(separator) == "" else text.split(separator)


def _numbered(parts: list[str]) -> dict[str, Any]:
    return {f"_{index}": part for index, part in enumerate(parts)}


def _splitn(separator: Any, count: Any, text: Any) -> dict[str, Any]:
    number = _number(count)
    return _numbered(_text(text).split(_text(separator), number - 1 if number > 0 else -1) if number else [])


def _plural(one: Any, many: Any, count: Any) -> str:
    return _text(one) if _number(count) == 1 else _text(many)


def _cat(*values: Any) -> str:
    return " ".join(text_of(value) for value in values if value is not None)


def _swapcase(text: Any) -> str:
    return _text(text).swapcase()


def _sized(call: Callable[[bytes], bytes], text: Any) -> str:
    """Apply what counts bytes."""
    found = call(_text(text).encode())
    _bounded(len(found))
    return found.decode(errors="replace")


def _wrap_with(width: Any, newline: Any, text: Any) -> str:
    end, number = _text(newline).encode(), _number(width)
    _bounded(len(_text(text)) * (1 + len(end) // max(number, 1)))
    return _sized(lambda given: wrap(given, number, end or b"\n", True), text)


def _bcrypt(password: Any) -> str:
    import bcrypt

    try:
        return bcrypt.hashpw(_text(password).encode(), bcrypt.gensalt(10, b"2a")).decode()
    except ValueError as error:
        return f"failed to encrypt string with bcrypt: {error}"


def _htpasswd(user: Any, password: Any) -> str:
    name = _text(user)
    return f"{name}:{_bcrypt(password)}" if is_name(name) else f"invalid username: {name}"


# Regular expressions


def _regex(expression: Any) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(_text(expression), options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        reason = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueProblem(f"error parsing regexp: {reason}") from None


def _matches(expression: Any, text: Any, count: int = -1) -> list[Any]:
    """The matches as Go finds them: none that is empty follows another one immediately."""
    found: list[Any] = []
    for match in _regex(expression).finditer(_text(text)):
        if match.start() == match.end() and found and found[-1].end() == match.start():
            continue
        if 0 <= count <= len(found):
            break
        found.append(match)
    return found


def _expanded(match: Any, by: str) -> str:
    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, re2.error):
            return ""

    return re.sub(r"\$(?:\{(\w+)\}|(\w+)|\$)", group, by)


def _replaced(expression: Any, text: Any, by: Any, literal: bool = False) -> str:
    found, at = [], 0
    for match in _matches(expression, text):
        found += [text[at : match.start()], by if literal else _expanded(match, _text(by))]
        at = match.end()
    return "".join([*found, text[at:]])


def _regex_split(expression: Any, text: Any, count: Any) -> list[str]:
    number = _number(count)
    if number == 0:
        return []
    if expression and not text:
        return [""]
    parts: list[str] = []
    begin, end = 0, 0
    for match in _matches(expression, text, number):
        if 0 < number == len(parts) + 1:
            break
        end = match.start()
        if match.end() != 0:
            parts.append(text[begin:end])
        begin = match.end()
    if end != len(text):
        parts.append(text[begin:])
    return parts


def _find(expression: Any, text: Any) -> str:
    found = _regex(expression).search(_text(text))
    return found.group(0) if found else ""


# Lists


def _until(count: Any) -> list[int]:
    return _until_step(0, count, -1 if _number(count) < 0 else 1)


def _until_step(start: Any, stop: Any, step: Any) -> list[int]:
    first, last, by = _number(start), _number(stop), _number(step)
    if by == 0 or (by > 0) != (last >= first):
        return []
    _bounded(len(range(first, last, by)))
    return list(range(first, last, by))


def _seq(*bounds: Any) -> str:
    numbers = [_number(bound) for bound in bounds]
    start, step, end = 1, 1, 0
    if len(numbers) == 1:
        end = numbers[0]
        step = -1 if end < start else 1
    elif len(numbers) == 2:
        start, end = numbers
        step = -1 if end < start else 1
    elif len(numbers) == 3:
        start, step, end = numbers
        if (end < start and step > 0) or step == 0:
            return ""
    else:
        return ""
    found = range(start, end + (1 if step > 0 else -1), step)
    _bounded(len(found))
    return " ".join(map(str, found))


def _has(value: Any, items: Any) -> bool:
    return items is not None and any(_same(value, item) for item in _list(items))


def _same(first: Any, second: Any) -> bool:
    """Go's reflect.DeepEqual."""
    return kind_of(first) == kind_of(second) and bool(first == second)


def _uniq(items: Any) -> list[Any]:
    found: list[Any] = []
    for item in _list(items):
        if not any(_same(item, known) for known in found):
            found.append(item)
    return found


def _slice(items: Any, *bounds: Any) -> list[Any]:
    values = _list(items)
    start = to_int(bounds[0]) if bounds else 0
    end = to_int(bounds[1]) if len(bounds) > 1 else len(values)
    if not 0 <= start <= end <= len(values):
        raise ValueProblem("slice bounds out of range")
    return values[start:end]


def _chunk(size: Any, items: Any) -> list[Any]:
    number = _number(size)
    if number < 1:
        raise ValueProblem("the size of a chunk is at least 1")
    values = _list(items)
    return [values[at : at + number] for at in range(0, len(values), number)]


def _concat(*lists: Any) -> list[Any]:
    return [item for items in lists for item in _list(items)]


# Maps


def _dict(*pairs: Any) -> dict[str, Any]:
    keys = [_str(key) for key in pairs[::2]]
    values = [*pairs[1::2], *[""] * (len(pairs) % 2)]
    return dict(zip(keys, values, strict=True))


def _set(items: Any, key: Any, value: Any) -> dict[str, Any]:
    _map(items)[_text(key)] = value
    found: dict[str, Any] = items
    return found


def _unset(items: Any, key: Any) -> dict[str, Any]:
    _map(items).pop(_text(key), None)
    found: dict[str, Any] = items
    return found


def _keys(*maps: Any) -> list[str]:
    return [key for items in maps for key in sorted(_map(items))]


def _merged(target: Any, *sources: Any, over: bool = False) -> dict[str, Any]:
    found = _map(target)
    for source in sources:
        for key, value in _map(source).items():
            if isinstance(value, dict) and isinstance(found.get(key), dict):
                _merged(found[key], value, over=over)
            elif (over and not _empty(value)) or _empty(found.get(key)):
                found[key] = value
    return found


def _dig(*path: Any) -> Any:
    if len(path) < 3:
        raise ValueProblem("needs a key, a default and a map")
    *keys, default, items = path
    for key in keys:
        if not isinstance(items, dict) or key not in items:
            return default
        items = items[key]
    return items


# Numbers


def _div(first: Any, second: Any) -> int:
    dividend, divisor = to_int(first), to_int(second)
    if divisor == 0:
        raise ValueProblem("integer divide by zero")
    found = abs(dividend) // abs(divisor)
    return found if (dividend < 0) == (divisor < 0) else -found


def _mod(first: Any, second: Any) -> int:
    dividend = to_int(first)
    return dividend - _div(dividend, second) * to_int(second)


def _product(first: Any, *others: Any) -> int:
    found = to_int(first)
    for other in others:
        found = wrapped(found * to_int(other))
    return found


def _folded(by: Callable[[float, float], float]) -> Callable[..., float]:
    def fold(first: Any, *others: Any) -> float:
        found = to_float(first)
        for other in others:
            found = by(found, to_float(other))
        return found

    return fold


def _quotient(first: float, second: float) -> float:
    if second == 0:
        raise ValueProblem("decimal division by 0")
    return first / second


def _round(value: Any, places: Any, *limit: Any) -> float:
    power = math.pow(10, to_float(places))
    digit = power * to_float(value)
    part = math.modf(digit)[0]
    return (math.ceil(digit) if part >= (to_float(limit[0]) if limit else 0.5) else math.floor(digit)) / power


def _atoi(text: Any) -> int:
    return int(text) if re.fullmatch(r"[+-]?[0-9]+", _text(text)) else 0


def _octal(value: Any) -> int:
    text = _str(value)
    return int(text, 8) if re.fullmatch(r"-?[0-7]+", text) else 0


# Encodings


def _json(value: Any, *, html: bool = True, pretty: bool = False) -> str:
    indent, separators = ("  ", (",", ": ")) if pretty else (None, (",", ":"))
    text = json.dumps(_go(value), ensure_ascii=False, sort_keys=True, indent=indent, separators=separators)
    if html:
        for character in "<>&":
            text = text.replace(character, f"\\u{ord(character):04x}")
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _go(value: Any) -> Any:
    """Numbers as Go writes them: a whole float has no fraction."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if isinstance(value, list):
        return [_go(item) for item in value]
    return {key: _go(item) for key, item in value.items()} if isinstance(value, dict) else value


def _from_json(text: Any, strict: bool = False) -> Any:
    try:
        return json.loads(_text(text), parse_int=float)
    except (ValueError, RecursionError) as error:
        if strict:
            raise ValueProblem(f"no valid JSON: {error}") from None
        return None


def _decoded(decode: Callable[[bytes], bytes]) -> Callable[[Any], str]:
    def call(text: Any) -> str:
        try:
            return decode(_text(text).encode()).decode(errors="replace")
        except (binascii.Error, ValueError) as error:
            return f"illegal data: {error}"

    return call


def _hashed(algorithm: str) -> Callable[[Any], str]:
    return lambda text: hashlib.new(algorithm, _text(text).encode()).hexdigest()


def _url(text: Any) -> dict[str, Any]:
    parts = urlsplit(_text(text))
    user, _, host = parts.netloc.rpartition("@")
    found = {"scheme": parts.scheme, "host": host, "hostname": parts.hostname or "", "path": parts.path}
    return {**found, "query": parts.query, "opaque": "", "fragment": parts.fragment, "userinfo": user}


def _join_url(parts: Any) -> str:
    items = {key: _str(value) for key, value in _map(parts).items() if value is not None}
    user, host = items.get("userinfo", ""), items.get("host", "")
    where = f"{user}@{host}" if user else host
    rest = (items.get("path", ""), items.get("query", ""), items.get("fragment", ""))
    return urlunsplit((items.get("scheme", ""), where, *rest))


def _clean(path: Any) -> str:
    text = posixpath.normpath(_text(path) or ".")
    return text[1:] if text.startswith("//") else text


def _fail(text: Any) -> str:
    raise ValueProblem(_text(text))


def _ternary(first: Any, second: Any, condition: Any) -> Any:
    if not isinstance(condition, bool):
        raise ValueProblem(f"wrong type for value; expected bool; got {type_of(condition)}")
    return first if condition else second


def _environment(text: Any) -> str:
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: os.environ.get(found[1] or found[2], ""), _text(text))


def _extreme(choose: Callable[..., Any], read: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda first, *others: choose([read(first), *map(read, others)])


_TEXT: dict[str, Callable[..., Any]] = {
    "abbrev": _abbrev,
    "abbrevboth": lambda left, width, text: _sized(
        lambda given: abbreviated(given, _number(left), _number(width)), text
    ),
    "camelcase": lambda text: camel_case(_text(text)),
    "kebabcase": lambda text: joined(_text(text), "-"),
    "snakecase": lambda text: joined(_text(text), "_"),
    "wrap": lambda width, text: _sized(lambda given: wrap(given, _number(width), b"\n", False), text),
    "wrapWith": _wrap_with,
    "trunc": _trunc,
    "substr": _substr,
    "trim": lambda text: _text(text).strip(),
    "trimAll": lambda cut, text: _text(text).strip(_text(cut)) if cut else _text(text),
    "trimall": lambda cut, text: _text(text).strip(_text(cut)) if cut else _text(text),
    "trimPrefix": lambda prefix, text: _text(text).removeprefix(_text(prefix)),
    "trimSuffix": lambda suffix, text: _text(text).removesuffix(_text(suffix)),
    "upper": lambda text: _text(text).upper(),
    "lower": lambda text: _text(text).lower(),
    "title": _title,
    "untitle": _untitle,
    "swapcase": _swapcase,
    "repeat": _repeat,
    "nospace": lambda text: re.sub(r"\s", "", _text(text)),
    "initials": lambda text: "".join(word[0] for word in _text(text).split()),
    "contains": lambda part, text: _text(part) in _text(text),
    "hasPrefix": lambda prefix, text: _text(text).startswith(_text(prefix)),
    "hasSuffix": lambda suffix, text: _text(text).endswith(_text(suffix)),
    "quote": lambda *values: " ".join(quoted(_str(value)) for value in values if value is not None),
    "squote": lambda *values: " ".join(f"'{text_of(value)}'" for value in values if value is not None),
    "cat": _cat,
    "indent": _indent,
    "nindent": lambda count, text: "\n" + _indent(count, text),
    "replace": _replace,
    "plural": _plural,
    "toString": _str,
    "toStrings": _strings,
    "splitList": _split,
    "split": lambda separator, text: _numbered(_split(separator, text)),
    "splitn": _splitn,
    "join": lambda separator, items: _text(separator).join(_strings(items)),
    "sortAlpha": lambda items: sorted(_strings(items)),
    "fail": _fail,
    "hello": lambda: "Hello!",
    "regexMatch": lambda expression, text: bool(_regex(expression).search(_text(text))),
    "regexFind": _find,
    "regexFindAll": lambda expression, text, count: [
        match.group(0) for match in _matches(expression, text, _number(count))
    ],
    "regexReplaceAll": _replaced,
    "regexReplaceAllLiteral": lambda expression, text, by: _replaced(expression, text, _text(by), literal=True),
    "regexSplit": _regex_split,
    "regexQuoteMeta": lambda text: re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", _text(text)),
}
_TEXT |= {f"must{name[0].upper()}{name[1:]}": call for name, call in _TEXT.items() if name.startswith("regex")}
del _TEXT["mustRegexQuoteMeta"]

_LISTS: dict[str, Callable[..., Any]] = {
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "append": lambda items, value: [*_list(items), value],
    "prepend": lambda items, value: [value, *_list(items)],
    "first": lambda items: next(iter(_list(items)), None),
    "last": lambda items: next(iter(_list(items)[-1:]), None),
    "rest": lambda items: _list(items)[1:],
    "initial": lambda items: _list(items)[:-1],
    "reverse": lambda items: _list(items)[::-1],
    "uniq": _uniq,
    "without": lambda items, *values: [
        item for item in _list(items) if not any(_same(item, value) for value in values)
    ],
    "has": _has,
    "compact": lambda items: [item for item in _list(items) if not _empty(item)],
    "slice": _slice,
    "chunk": _chunk,
}
_LISTS |= {f"must{name[0].upper()}{name[1:]}": call for name, call in _LISTS.items() if name not in ("list", "tuple")}
_LISTS |= {"push": _LISTS["append"], "mustPush": _LISTS["append"], "concat": _concat}
_LISTS |= {"until": _until, "untilStep": _until_step, "seq": _seq}

_MAPS: dict[str, Callable[..., Any]] = {
    "dict": _dict,
    "get": lambda items, key: _map(items).get(_text(key), ""),
    "set": _set,
    "unset": _unset,
    "hasKey": lambda items, key: _text(key) in _map(items),
    "keys": _keys,
    "values": lambda items: [_map(items)[key] for key in sorted(items)],
    "pluck": lambda key, *maps: [items[key] for items in map(_map, maps) if key in items],
    "pick": lambda items, *names: {key: value for key, value in _map(items).items() if key in names},
    "omit": lambda items, *names: {key: value for key, value in _map(items).items() if key not in names},
    "merge": _merged,
    "mustMerge": _merged,
    "mergeOverwrite": lambda target, *sources: _merged(target, *sources, over=True),
    "mustMergeOverwrite": lambda target, *sources: _merged(target, *sources, over=True),
    "dig": _dig,
    "deepCopy": copy.deepcopy,
    "mustDeepCopy": copy.deepcopy,
}

_NUMBERS: dict[str, Callable[..., Any]] = {
    "atoi": _atoi,
    "int": to_int,
    "int64": to_int,
    "float64": to_float,
    "toDecimal": _octal,
    "add1": lambda value: wrapped(to_int(value) + 1),
    "add": lambda *values: wrapped(sum(map(to_int, values))),
    "sub": lambda first, second: wrapped(to_int(first) - to_int(second)),
    "div": _div,
    "mod": _mod,
    "mul": _product,
    "add1f": lambda value: to_float(value) + 1,
    "addf": lambda *values: sum(map(to_float, values), 0.0),
    "subf": _folded(lambda first, second: first - second),
    "mulf": _folded(lambda first, second: first * second),
    "divf": _folded(_quotient),
    "max": _extreme(max, to_int),
    "biggest": _extreme(max, to_int),
    "min": _extreme(min, to_int),
    "maxf": _extreme(max, to_float),
    "minf": _extreme(min, to_float),
    "ceil": lambda value: float(math.ceil(to_float(value))),
    "floor": lambda value: float(math.floor(to_float(value))),
    "round": _round,
}

_REST: dict[str, Callable[..., Any]] = {
    "default": _default,
    "empty": _empty,
    "coalesce": lambda *values: next((value for value in values if not _empty(value)), None),
    "all": lambda *values: not any(map(_empty, values)),
    "any": lambda *values: not all(map(_empty, values)),
    "ternary": _ternary,
    "env": lambda name: os.environ.get(_text(name), ""),
    "expandenv": _environment,
    "typeOf": type_of,
    "typeIs": lambda name, value: _text(name) == type_of(value),
    "typeIsLike": lambda name, value: type_of(value) in (_text(name), f"*{name}"),
    "kindOf": kind_of,
    "kindIs": lambda name, value: _text(name) == kind_of(value),
    "deepEqual": _same,
    "toJson": _json,
    "mustToJson": _json,
    "toPrettyJson": lambda value: _json(value, pretty=True),
    "mustToPrettyJson": lambda value: _json(value, pretty=True),
    "toRawJson": lambda value: _json(value, html=False),
    "mustToRawJson": lambda value: _json(value, html=False),
    "fromJson": _from_json,
    "mustFromJson": lambda text: _from_json(text, strict=True),
    "b64enc": lambda text: base64.b64encode(_text(text).encode()).decode(),
    "b64dec": _decoded(lambda data: base64.b64decode(data, validate=True)),
    "b32enc": lambda text: base64.b32encode(_text(text).encode()).decode(),
    "b32dec": _decoded(base64.b32decode),
    "sha1sum": _hashed("sha1"),
    "sha256sum": _hashed("sha256"),
    "bcrypt": _bcrypt,
    "htpasswd": _htpasswd,
    "semver": lambda text: version(_text(text)),
    "semverCompare": lambda constraint, text: satisfies(_text(constraint), _text(text)),
    "adler32sum": lambda text: str(zlib.adler32(_text(text).encode())),
    "urlParse": _url,
    "urlJoin": _join_url,
    "base": lambda path: posixpath.basename(_text(path).rstrip("/")) or ("/" if path else "."),
    "dir": lambda path: _clean(posixpath.dirname(_text(path))),
    "clean": _clean,
    "ext": lambda path: (
        "." + path.rpartition("/")[2].rpartition(".")[2] if "." in _text(path).rpartition("/")[2] else ""
    ),
    "isAbs": lambda path: _text(path).startswith("/"),
}

_REST |= {f"os{name[0].upper()}{name[1:]}": _REST[name] for name in ("base", "clean", "dir", "ext", "isAbs")}

SPRIG = {**_TEXT, **_LISTS, **_MAPS, **_NUMBERS, **_REST}
