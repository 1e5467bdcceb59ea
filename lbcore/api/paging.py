"""Pages of lists, as queries ask for them. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping

MOST_PER_PAGE = 1000


def page_of(query: Mapping[str, str], fields: Collection[str]) -> tuple[int, int]:
    """The number of a page, from 1, and of its items. Raises ValueError for a query with other keys than `fields`."""
    for key in query:
        if key not in fields:
            raise ValueError(f"no such parameter: {key}; known: {', '.join(fields)}")
    page, per_page = _number_of(query, "page", 1), _number_of(query, "per_page", 50)
    if per_page > MOST_PER_PAGE:
        raise ValueError(f"per_page: {MOST_PER_PAGE} at most")
    return page, per_page


def _number_of(query: Mapping[str, str], key: str, default: int) -> int:
    text = query.get(key, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise ValueError(f"{key}: {text!r} is no number above 0")
    return int(text)
