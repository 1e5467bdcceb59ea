"""What the exporter makes of the records of spans, and of what is none."""

from __future__ import annotations

import random
import struct

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

from lbcore.config.static import Tracing
from lbcore.observability.span_encoder import SpanEncoder, attribute, described

# As `span_record.pxd` has them.
REQUEST = struct.Struct("@IIIHH16s8s8sQQqHHBBii10H4x")
STEP = struct.Struct("@8sQI4x")
ASKED = struct.Struct("@8s8s8sQQQIIHHH7H4x")
SAME = 0xFFFF
TEXTS = (attribute("entry_point", "web"), b"GET", b"/x", b"a=1&safe=2", b"t/1", b"http", b"shop.test", b"10.0.0.1",
         b"10.0.0.1", b"")  # fmt: skip


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def values(*pairs: tuple[int, bytes]) -> bytes:
    """Captured headers."""
    return b"".join(struct.pack("@HH", index, len(value)) + value for index, value in pairs)


def asked(*texts: bytes | None, kind: int = 0, captured: bytes = b"", status: int = 200, resent: int = 0) -> bytes:
    lengths = [SAME if text is None else len(text) for text in texts]
    head = ASKED.pack(b"b" * 8, b"p" * 8, b"s" * 8, 2000, 3000, 4000, len(captured), 0, status, resent, kind, *lengths)
    return padded(head + b"".join(text or b"" for text in texts) + captured)


def record(*parts: bytes, steps: tuple[bytes, ...] = (), captured: bytes = b"", answered: bytes = b"") -> bytes:
    own = padded(b"".join(TEXTS) + captured + answered)
    rest = b"".join(padded(STEP.pack(b"1" * 8, 1500, len(text)) + text) for text in steps) + b"".join(parts)
    lengths = [len(text) for text in TEXTS]
    head = REQUEST.pack(
        REQUEST.size + len(own) + len(rest), len(captured), len(answered), len(steps), len(parts), b"t" * 16, b"e" * 8,
        bytes(8), 1000, 5000, -1, 200, 4321, 1, 1, 1, 0, *lengths,
    )  # fmt: skip
    return head + own + rest


ID = values((0, b"7"))
ATTEMPT = asked(b"http://10.0.0.2:81", None, b"/changed", None, None, b"/prefix", b"app@file", captured=ID)
QUESTION = asked(b"https://user:secret@auth.test/check", b"GET", b"/check", b"k=v", b"", b"", b"", kind=1, status=0)
WHOLE = record(
    QUESTION, ATTEMPT, steps=(described("Router", [("traefik.router.name", "r@file")]),),
    captured=values((0, b"7"), (0, b"8\xff"), (1, b"")), answered=values((0, b"a")),
)  # fmt: skip


def encoder() -> SpanEncoder:
    settings = {
        "capturedRequestHeaders": ["X-Id", "User-Agent", "X-Long-" + "n" * 200],
        "capturedResponseHeaders": ["X-From"],
        "safeQueryParams": ["safe"],
    }
    return SpanEncoder(Tracing.model_validate(settings))


def spans(block: bytes) -> ScopeSpans:
    return ScopeSpans.FromString(encoder().encode(block))


def test_a_record() -> None:
    request, router, question, service, attempt = spans(WHOLE).spans
    names = [span.name for span in (request, router, question, service, attempt)]
    assert names == ["GET", "Router", "AuthRequest", "Service", "ReverseProxy"]
    assert (request.parent_span_id, router.parent_span_id) == (b"", b"e" * 8)
    assert (service.parent_span_id, attempt.parent_span_id) == (b"p" * 8, b"s" * 8)
    assert request.end_time_unix_nano - request.start_time_unix_nano == 4000
    told = {pair.key: pair.value for pair in request.attributes}
    assert told["url.query"].string_value == "a=REDACTED&safe=2"
    assert told["http.request.body.size"].int_value == -1
    lists = {key: [each.string_value for each in value.array_value.values] for key, value in told.items()}
    assert lists["http.request.header.x-id"] == ["7", "8?"]
    assert lists[f"http.request.header.x-long-{'n' * 200}"] == [""]
    assert lists["http.response.header.x-from"] == ["a"]
    urls = {span.name: pair.value.string_value for span in (question, attempt) for pair in span.attributes
            if pair.key == "url.full"}  # fmt: skip
    assert urls == {
        "AuthRequest": "https://REDACTED:REDACTED@auth.test/check?k=REDACTED",
        "ReverseProxy": "http://10.0.0.2:81/prefix/changed?a=REDACTED&safe=2",
    }


def test_records_follow_each_other() -> None:
    assert len(spans(WHOLE * 1000).spans) == 5000
    assert encoder().encode(b"") == b""


@pytest.mark.parametrize("left", [1, REQUEST.size - 1, REQUEST.size, len(WHOLE) - 8, len(WHOLE) - 1])
def test_what_is_cut_off_is_refused(left: int) -> None:
    with pytest.raises(ValueError, match="a record of spans is broken"):
        encoder().encode(WHOLE[:left])


def test_what_is_no_record_is_refused_or_read_within_its_bounds() -> None:
    draw = random.Random(7)
    made, refused = encoder(), 0
    for _ in range(3000):
        wrong = bytearray(WHOLE)
        for _ in range(draw.randint(1, 4)):
            wrong[draw.randrange(len(wrong))] = draw.choice((0, 1, 7, 8, 127, 255, draw.randrange(256)))
        try:
            made.encode(bytes(wrong))
        except ValueError:
            refused += 1
    assert refused > 300
