"""Requests counted by values of their headers: which values, in how much memory, and after the death of a worker."""

from __future__ import annotations

from typing import Any

import pytest

from lbcore.observability.header_labels import LONGEST_VALUE, MOST_HEADERS, SHED, HeaderLabels, values_of
from lbcore.state.region import Region
from tests.support.native import native

KEY = 1 << 63 | 2 << 61 | 5 << 32  # of the service with slot 5
OTHER = 1 << 63 | 1 << 32
ROWS, SHED_ROWS = 8192, 1024


def counted(region: Region, count: int = 1) -> dict[tuple[int, tuple[str, ...]], int]:
    return {(key, tuple(values_of(text, count))): n for (key, text), n in region.label_counters().items()}


def read(headers: list[str], lines: bytes, **more: Any) -> list[str]:
    """The values of a request."""
    region = Region.create(1)
    native("labels").count(HeaderLabels(region, 0, headers), [lines], KEY, **more)
    [((_, values), number)] = counted(region, len(headers)).items()
    assert number == 1
    return list(values)


def test_the_first_header_of_a_name_counts_and_none_is_empty() -> None:
    lines = b"user-agent: a\r\nX-Tenant: one\r\nX-Tenant: two\r\n"
    assert read(["User-Agent", "x-tenant", "Absent", "Host", ""], lines) == ["a", "one", "", "", ""]


def test_headers_that_lbcore_sets_have_the_values_that_servers_get() -> None:
    names = ["X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-Ip"]
    names += ["X-Forwarded-Server", "x-forwarded-for"]
    sent = b"X-Forwarded-Host: evil\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Server: s\r\n"
    assert read(names, sent) == ["a.test:81", "81", "http", "::1", "edge", ""]
    assert read(names, sent, trusted=True) == ["evil", "81", "http", "::1", "edge", "1.2.3.4"]
    assert read(["X-Forwarded-Uri", "X-Forwarded-Prefix"], b"X-Forwarded-Uri: /x\r\n") == ["", ""]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("é".encode(), "é"),
        (b"\xe9", "\ufffd"),
        (b"x" * 1000, "x" * LONGEST_VALUE),
        (b"x" * (LONGEST_VALUE - 1) + "é".encode(), "x" * (LONGEST_VALUE - 1)),
        (b"x" * (LONGEST_VALUE - 2) + "é".encode(), "x" * (LONGEST_VALUE - 2) + "é"),
        (b"x" * (LONGEST_VALUE - 3) + "🙂".encode(), "x" * (LONGEST_VALUE - 3)),
    ],
)
def test_values_are_text_and_cut_between_characters(sent: bytes, told: str) -> None:
    assert read(["X-A"], b"X-A: " + sent + b"\r\n") == [told]


def test_most_labels_with_the_longest_values_have_room() -> None:
    names = [f"X-{number}" for number in range(MOST_HEADERS)]
    lines = b"".join(f"{name}: {name:y<{LONGEST_VALUE}}\r\n".encode() for name in names)
    assert read(names, lines) == [f"{name:y<{LONGEST_VALUE}}" for name in names]
    with pytest.raises(ValueError, match="9 headers: 8 at most"):
        HeaderLabels(Region.create(1), 0, [*names, "X-8"])


def test_values_without_room_count_together_and_are_told() -> None:
    region = Region.create(1)
    labels = HeaderLabels(region, 0, ["X-A"])
    room = ROWS - SHED_ROWS
    count = native("labels").count
    count(labels, [b"X-A: %d\r\n" % number for number in range(room + 10)], KEY)
    count(labels, [b"X-A: 3\r\n", b"X-A: new\r\n"], KEY)
    count(labels, [b"X-A: new\r\n"], OTHER)
    found = counted(region)
    assert len(found) == room + 2
    assert found[KEY, ("3",)] == 2
    assert (found[KEY, (SHED,)], found[OTHER, (SHED,)]) == (11, 1)
    assert region.labels_shed == 12
    assert sum(found.values()) == room + 13
    for slot in range(SHED_ROWS + 10):  # more keys than there are rows for what is shed
        count(labels, [b"X-A: new\r\n"], OTHER + (slot << 32))
    assert region.labels_shed == 12 + SHED_ROWS + 10
    assert len(counted(region)) == ROWS


def test_the_counts_of_a_dead_worker_stay_and_those_of_all_are_summed() -> None:
    region = Region.create(2)
    count = native("labels").count
    count(HeaderLabels(region, 0, ["X-A"]), [b"X-A: a\r\n"], KEY)
    region.clear_worker(0)
    count(HeaderLabels(region, 0, ["X-A"]), [b"X-A: a\r\n", b"X-A: b\r\n"], KEY)
    count(HeaderLabels(region, 1, ["X-A"]), [b"X-A: a\r\n"], KEY)
    assert counted(region) == {(KEY, ("a",)): 3, (KEY, ("b",)): 1}


def test_a_slot_with_another_identity_begins_anew() -> None:
    region = Region.create(1)
    region.reset_service(5)
    labels = HeaderLabels(region, 0, ["X-A"])
    native("labels").count(labels, [b"X-A: a\r\n"], KEY)
    native("labels").count(labels, [b"X-A: a\r\n"], OTHER)
    region.reset_service(5)
    assert counted(region) == {(OTHER, ("a",)): 1}
    native("labels").count(labels, [b"X-A: a\r\n"], KEY)
    assert counted(region) == {(OTHER, ("a",)): 1, (KEY, ("a",)): 1}
