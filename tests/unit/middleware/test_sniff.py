"""The type of a content by its first bytes."""

from __future__ import annotations

import pytest

from lbcore.middleware.sniff import HTML, TEXT, type_of

BRAND = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"plain", TEXT),
        (b"", TEXT),
        (b" \n\t", TEXT),
        (b"\x00\x01\x02", "application/octet-stream"),
        (b"text \x1b[0m", TEXT),
        (b"text \x07", "application/octet-stream"),
        (b"<!doctype HTML>", HTML),
        (b"  \n<hTmL >", HTML),
        (b"<!-- x", HTML),
        (b"<html", TEXT),
        (b"<htmlx>", TEXT),
        (b"<a>", HTML),
        (b"<abbr>", TEXT),
        (b"\n<?xml version", "text/xml; charset=utf-8"),
        (b"<?XML", TEXT),
        (b"%PDF-1.7", "application/pdf"),
        (b" %PDF-1.7", TEXT),
        (b"\xef\xbb\xbfa", TEXT),
        (b"\xfe\xff\x00a", "text/plain; charset=utf-16be"),
        (b"\xff\xfea\x00", "text/plain; charset=utf-16le"),
        (b"GIF89a...", "image/gif"),
        (b"GIF88a...", TEXT),
        (b"RIFF\x01\x02\x03\x04WEBPVP8 ", "image/webp"),
        (b"RIFF\n\n\n\nWAVEfmt", "audio/wave"),
        (b"\x89PNG\r\n\x1a\n\x00", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (BRAND, "video/mp4"),
        (BRAND[:-1], "application/octet-stream"),
        (b"\x00\x00\x00\x10ftypmp42mp42", "video/mp4"),
        (b"\x00\x00\x00\x10ftypisommp42", "application/octet-stream"),
        (b"\x1aE\xdf\xa3x", "video/webm"),
        (bytes(34) + b"LP", "application/vnd.ms-fontobject"),
        (b"\x00\x01\x00\x00", "font/ttf"),
        (b"wOF2", "font/woff2"),
        (b"\x1f\x8b\x08\x00", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
        (b"\x00asm\x01", "application/wasm"),
        (b"x" * 512 + b"\x00", TEXT),
    ],
)
def test_types(data: bytes, kind: str) -> None:
    assert type_of(data) == kind
