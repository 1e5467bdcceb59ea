"""What others have written, on a terminal: nothing of it moves the cursor, or tells the terminal something. No I/O."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text with its control and format characters written out, but for line ends."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text
    )
