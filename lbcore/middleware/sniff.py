"""The type of a content by its first bytes, as the WHATWG's standard and Go's net/http say. No I/O.

https://mimesniff.spec.whatwg.org/ sections 7.1 and 6; `Content-Type` gets what a client of Traefik gets.
"""

from __future__ import annotations

import re

SNIFFED_BYTES = 512  # at the front of a content that are looked at
TEXT = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"

_SPACE = b"\t\n\x0c\r "
_TAGS = b"!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|!--"
_HTML = re.compile(b"<(?:" + _TAGS + b")[ >]", re.IGNORECASE)
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_KNOWN = [  # the first one that matches counts
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"%PDF-", "application/pdf"),
        (rb"%!PS-Adobe-", "application/postscript"),
        (rb"\xfe\xff..", "text/plain; charset=utf-16be"),
        (rb"\xff\xfe..", "text/plain; charset=utf-16le"),
        (rb"\xef\xbb\xbf.", TEXT),
        (rb"\x00\x00[\x01\x02]\x00", "image/x-icon"),
        (rb"BM", "image/bmp"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBPVP", "image/webp"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"FORM....AIFF", "audio/aiff"),
        (rb"ID3", "audio/mpeg"),
        (rb"OggS\x00", "application/ogg"),
        (rb"MThd\x00\x00\x00\x06", "audio/midi"),
        (rb"RIFF....AVI ", "video/avi"),
        (rb"RIFF....WAVE", "audio/wave"),
        (rb"\x1aE\xdf\xa3", "video/webm"),
        (rb".{34}LP", "application/vnd.ms-fontobject"),
        (rb"\x00\x01\x00\x00", "font/ttf"),
        (rb"OTTO", "font/otf"),
        (rb"ttcf", "font/collection"),
        (rb"wOFF", "font/woff"),
        (rb"wOF2", "font/woff2"),
        (rb"\x1f\x8b\x08", "application/x-gzip"),
        (rb"PK\x03\x04", "application/zip"),
        (rb"Rar!\x1a\x07(?:\x00|\x01\x00)", "application/x-rar-compressed"),
        (rb"\x00asm", "application/wasm"),
    )
]


def type_of(data: bytes) -> str:
    """The media type of a content that begins with `data`; `application/octet-stream` if nothing is known of it."""
    data = data[:SNIFFED_BYTES]
    text = data.lstrip(_SPACE)
    if _HTML.match(text):
        return HTML
    if text.startswith(b"<?xml"):
        return "text/xml; charset=utf-8"
    if _is_mp4(data):
        return "video/mp4"
    for pattern, kind in _KNOWN:
        if pattern.match(data):
            return kind
    return "application/octet-stream" if _BINARY.search(text) else TEXT


def _is_mp4(data: bytes) -> bool:
    """Whether the first box names a brand of MPEG-4 (section 6.2.1)."""
    size = int.from_bytes(data[:4], "big")
    if not 12 <= size <= len(data) or size % 4 or data[4:8] != b"ftyp":
        return False
    return any(data[at : at + 3] == b"mp4" for at in range(8, size, 4) if at != 12)
