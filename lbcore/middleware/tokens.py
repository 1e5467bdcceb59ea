"""Signed tokens (RFC 7519) and the keys by which they are verified (RFC 7517). No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lbcore.config.middlewares.jwt_auth import JwtAuth

MOST_KEYS = 100  # of one set
TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP", "HS": "oct"}  # of keys, by how an algorithm begins


class Refused(Exception):
    """A token that is not accepted."""


class UnknownKey(Refused):
    """A token whose key is in no set that is known so far."""


class Key:
    """One key. `name`: its `kid`, if it has one."""

    def __init__(self, key: Any, kind: str, name: str | None = None, algorithm: str | None = None) -> None:
        self.key = key
        self.kind = kind
        self.name = name
        self.algorithm = algorithm

    def fits(self, algorithm: str, name: str | None) -> bool:
        """Whether a token may be signed by it. A token that names no key may be by any."""
        return (
            TYPES[algorithm[:2]] == self.kind
            and self.algorithm in (None, algorithm)
            and (name is None or self.name is None or name == self.name)
        )


def keys_of_texts(texts: Iterable[str]) -> list[Key]:
    """Public keys in PEM. Raises ValueError."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    found = []
    for text in texts:
        try:
            key = load_pem_public_key(text.encode())
        except ValueError:
            raise ValueError("publicKeys: a text is not a public key in PEM") from None
        kinds = {"RSA": rsa.RSAPublicKey, "EC": ec.EllipticCurvePublicKey}
        kind = next((name for name, of in kinds.items() if isinstance(key, of)), "")
        if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
            kind = "OKP"
        if not kind:
            raise ValueError("publicKeys: a key is neither RSA nor of an elliptic curve")
        found.append(Key(key, kind))
    return found


def keys_of_set(data: bytes) -> list[Key]:
    """The keys of a JSON Web Key Set that verify signatures, as far as they are understood. Raises ValueError."""
    import jwt

    try:
        content = json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    items = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(items, list):
        raise ValueError("it is not a set of keys")
    found = []
    for item in items[:MOST_KEYS]:
        if not isinstance(item, dict) or item.get("use", "sig") != "sig" or item.get("kty") not in ("RSA", "EC", "OKP"):
            continue  # a secret is none that a server may tell
        try:
            key = jwt.PyJWK(item)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        name, algorithm = item.get("kid"), item.get("alg")
        if (name is None or isinstance(name, str)) and (algorithm is None or isinstance(algorithm, str)):
            found.append(Key(key.key, item["kty"], name, algorithm))
    if not found:
        raise ValueError("it has no key that verifies signatures")
    return found


class Verifier:
    """Verifies tokens by the options of a middleware."""

    def __init__(self, config: JwtAuth) -> None:
        config.check()
        self.keys: list[Key] = []
        self._config = config
        self._accepted = config.accepted
        if config.secret:
            self.keys = [Key(config.secret.encode(), "oct")]
        elif config.public_keys:
            self.keys = keys_of_texts(config.public_keys)

    def claims_of(self, token: str) -> dict[str, Any]:
        """The claims of a token that is accepted. Raises Refused."""
        import jwt

        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise Refused(str(error)) from None
        algorithm, name = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._accepted:
            raise Refused("the algorithm is not accepted")
        if header.get("crit"):
            raise Refused("extensions that are critical are not known")
        keys = [key for key in self.keys if key.fits(algorithm, name)]
        if not keys:
            raise UnknownKey("there is no such key")
        failure: Exception | None = None
        for key in keys:
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    audience=self._config.audience or None,
                    issuer=self._config.issuer or None,
                    leeway=self._config.leeway,
                    options={"require": ["exp"], "verify_aud": bool(self._config.audience)},
                )
            except jwt.InvalidSignatureError as error:
                failure = error
            except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                raise Refused(str(error)) from None
            else:
                self._check(claims)
                return claims
        raise Refused(str(failure))

    def _check(self, claims: dict[str, Any]) -> None:
        """Raises Refused unless each claim has what it has to have."""
        for name, wanted in self._config.required_claims.items():
            value = claim(claims, name)
            if wanted not in ([text_of(item) for item in value] if isinstance(value, list) else [text_of(value)]):
                raise Refused(f"the claim {name} is another one")

    def headers_of(self, claims: dict[str, Any]) -> dict[str, bytes]:
        """Values of headers by their names; of a claim that is missing an empty one."""
        return {header: header_value(claim(claims, name)) for name, header in self._config.claims_to_headers.items()}


def claim(claims: dict[str, Any], name: str) -> Any:
    """A claim by its name, or by the way to it, `a.b`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            return None
        found = found[part]
    return found


def text_of(value: Any) -> str | None:
    """A scalar as text; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


def header_value(value: Any) -> bytes:
    """Text that a header can have: a list by commas, an object as JSON; empty where it would end the header."""
    text = text_of(value)
    if text is None and isinstance(value, list) and all(text_of(item) is not None for item in value):
        text = ",".join(str(text_of(item)) for item in value)
    if text is None:
        text = "" if value is None else json.dumps(value, separators=(",", ":"))
    data = text.encode("utf-8", "replace")
    return b"" if any(byte < 32 or byte == 127 for byte in data) else data.strip()
