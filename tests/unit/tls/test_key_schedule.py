"""The key schedule of TLS 1.3 beside OpenSSL's own, and beside the traces of RFC 8448."""

from __future__ import annotations

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from lbcore.config.tls import TlsOptions
from lbcore.tls.openssl import library
from lbcore.tls.option_set import OptionSet

EXTRACT, EXPAND = 1, 2
INTEGER, UTF8, OCTETS = 1, 4, 5
OWN, OPENSSL = b"provider=lbcore", b"provider=default"
HASHES = {"SHA2-256": 32, "SHA2-384": 48}


class Param(ctypes.Structure):
    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_char_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


def function(name: str, result: type | None, *arguments: type) -> ctypes._CFunctionType:
    return ctypes.CFUNCTYPE(result, *arguments)(library.address(name))


POINTER = ctypes.c_void_p
fetch = function("EVP_KDF_fetch", POINTER, POINTER, ctypes.c_char_p, ctypes.c_char_p)
provider_of = function("EVP_KDF_get0_provider", POINTER, POINTER)
name_of = function("OSSL_PROVIDER_get0_name", ctypes.c_char_p, POINTER)
free = function("EVP_KDF_free", None, POINTER)
new_context = function("EVP_KDF_CTX_new", POINTER, POINTER)
free_context = function("EVP_KDF_CTX_free", None, POINTER)
derive = function("EVP_KDF_derive", ctypes.c_int, POINTER, ctypes.c_char_p, ctypes.c_size_t, ctypes.POINTER(Param))
clear_errors = function("ERR_clear_error", None)


def in_force(properties: bytes | None) -> bytes:
    """The provider whose algorithm OpenSSL takes."""
    kdf = fetch(None, b"TLS13-KDF", properties)
    assert kdf
    name: bytes = name_of(provider_of(kdf))
    free(kdf)
    return name


def derived(properties: bytes, mode: int, length: int, digest: str = "SHA2-256", **texts: bytes) -> bytes | None:
    """What an algorithm makes of the texts, None: it refuses."""
    parts = [
        Param(b"mode", INTEGER, mode.to_bytes(4, "little"), 4, 0),
        Param(b"digest", UTF8, digest.encode(), len(digest), 0),
        *(Param(name.encode(), OCTETS, text, len(text), 0) for name, text in texts.items()),
        Param(None, 0, None, 0, 0),
    ]
    kdf = fetch(None, b"TLS13-KDF", properties)
    context = new_context(kdf)
    assert context
    into = ctypes.create_string_buffer(max(length, 1))
    done = derive(context, into, length, (Param * len(parts))(*parts))
    free_context(context)
    free(kdf)
    clear_errors()
    return into.raw[:length] if done == 1 else None


def test_contexts_of_lbcore_alone_use_it() -> None:
    OptionSet("default", TlsOptions())
    assert in_force(b"?provider=lbcore") == b"lbcore"
    assert in_force(None) == in_force(b"") == b"default"


def test_derives_what_rfc_8448_traces() -> None:
    """The simple handshake of section 3."""
    early = derived(OWN, EXTRACT, 32, prefix=b"tls13 ", label=b"derived")
    assert early is not None
    assert early.hex() == "33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"
    shared = bytes.fromhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
    handshake = derived(OWN, EXTRACT, 32, key=shared, salt=early, prefix=b"tls13 ", label=b"derived")
    assert handshake is not None
    assert handshake.hex() == "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"
    server = bytes.fromhex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38")
    key = derived(OWN, EXPAND, 16, key=server, prefix=b"tls13 ", label=b"key")
    iv = derived(OWN, EXPAND, 12, key=server, prefix=b"tls13 ", label=b"iv")
    assert key is not None
    assert iv is not None
    assert (key.hex(), iv.hex()) == ("3fce516009c21727d0f2e4e86ee403bc", "5d313eb2671276ee13000b30")


@given(st.sampled_from(sorted(HASHES)), st.data())
def test_expands_as_openssl_does(digest: str, data: st.DataObject) -> None:
    key = data.draw(st.binary(min_size=HASHES[digest], max_size=HASHES[digest]))
    label, context = data.draw(st.binary(min_size=1, max_size=249)), data.draw(st.binary(max_size=255))
    length = data.draw(st.integers(1, 600))
    texts = {"key": key, "prefix": b"tls13 ", "label": label, **({"data": context} if context else {})}
    found = derived(OWN, EXPAND, length, digest, **texts)
    assert found is not None
    assert found == derived(OPENSSL, EXPAND, length, digest, **texts)


@given(st.sampled_from(sorted(HASHES)), st.data())
def test_extracts_as_openssl_does(digest: str, data: st.DataObject) -> None:
    length = HASHES[digest]
    new = data.draw(st.none() | st.binary(min_size=1, max_size=1100))
    before = data.draw(st.none() | st.binary(min_size=length, max_size=length))
    texts = {"prefix": b"tls13 ", "label": b"derived"}
    texts |= {name: text for name, text in (("key", new), ("salt", before)) if text is not None}
    found = derived(OWN, EXTRACT, length, digest, **texts)
    assert found is not None
    assert found == derived(OPENSSL, EXTRACT, length, digest, **texts)


def test_refuses_what_it_does_not_know() -> None:
    key = bytes(32)
    assert derived(OWN, EXPAND, 32, key=key, label=b"a") is not None
    assert derived(OWN, EXPAND, 32, "SHA3-256", key=key, label=b"a") is None
    assert derived(OWN, 0, 32, key=key, label=b"a") is None
    assert derived(OWN, EXPAND, 32, key=key, prefix=b"tls13 ", label=bytes(250)) is None
    assert derived(OWN, EXPAND, 32, key=key, label=b"a", data=bytes(256)) is None
    assert derived(OWN, EXPAND, 255 * 32, key=key, label=b"a") is not None
    assert derived(OWN, EXPAND, 255 * 32 + 1, key=key, label=b"a") is None
    assert derived(OWN, EXPAND, 32, key=bytes(65), label=b"a") is None
    assert derived(OWN, EXPAND, 32, label=b"a") is None
    assert derived(OWN, EXTRACT, 31, key=key, label=b"derived") is None
    assert derived(OWN, EXTRACT, 32, key=key, salt=bytes(65), label=b"derived") is None
