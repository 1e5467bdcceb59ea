"""The functions of sprig for JSON, encodings, sums, hashes of passwords, and versions. No I/O."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

from lbcore.template.functions.arguments import text_in
from lbcore.template.semver import satisfies, version
from lbcore.template.values import ValueProblem
from lbcore.template.words import is_name


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
        return json.loads(text_in(text), parse_int=float)
    except (ValueError, RecursionError) as error:
        if strict:
            raise ValueProblem(f"no valid JSON: {error}") from None
        return None


def _decoded(decode: Callable[[bytes], bytes]) -> Callable[[Any], str]:
    def call(text: Any) -> str:
        try:
            return decode(text_in(text).encode()).decode(errors="replace")
        except (binascii.Error, ValueError) as error:
            return f"illegal data: {error}"

    return call


def _hashed(algorithm: str) -> Callable[[Any], str]:
    return lambda text: hashlib.new(algorithm, text_in(text).encode()).hexdigest()


def _bcrypt(password: Any) -> str:
    import bcrypt

    try:
        return bcrypt.hashpw(text_in(password).encode(), bcrypt.gensalt(10, b"2a")).decode()
    except ValueError as error:
        return f"failed to encrypt string with bcrypt: {error}"


def _htpasswd(user: Any, password: Any) -> str:
    name = text_in(user)
    return f"{name}:{_bcrypt(password)}" if is_name(name) else f"invalid username: {name}"


ENCODINGS: dict[str, Callable[..., Any]] = {
    "toJson": _json,
    "mustToJson": _json,
    "toPrettyJson": lambda value: _json(value, pretty=True),
    "mustToPrettyJson": lambda value: _json(value, pretty=True),
    "toRawJson": lambda value: _json(value, html=False),
    "mustToRawJson": lambda value: _json(value, html=False),
    "fromJson": _from_json,
    "mustFromJson": lambda text: _from_json(text, strict=True),
    "b64enc": lambda text: base64.b64encode(text_in(text).encode()).decode(),
    "b64dec": _decoded(lambda data: base64.b64decode(data, validate=True)),
    "b32enc": lambda text: base64.b32encode(text_in(text).encode()).decode(),
    "b32dec": _decoded(base64.b32decode),
    "sha1sum": _hashed("sha1"),
    "sha256sum": _hashed("sha256"),
    "bcrypt": _bcrypt,
    "htpasswd": _htpasswd,
    "semver": lambda text: version(text_in(text)),
    "semverCompare": lambda constraint, text: satisfies(text_in(constraint), text_in(text)),
    "adler32sum": lambda text: str(zlib.adler32(text_in(text).encode())),
}
