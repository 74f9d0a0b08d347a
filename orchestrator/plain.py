"""Stands in for characters that a terminal's encoding lacks: the nearest plain ones, or the codes of those.

A way of handling errors, as `open(errors=…)` takes it, by the name HANDLER.
"""

from __future__ import annotations

import codecs
import unicodedata

HANDLER = "plain"
NEAREST = {
    "–": "-", "—": "-", "−": "-", "×": "x", "·": ".", "…": "...", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=",
    "→": "->", "←": "<-", "°": " deg", "²": "^2", "∞": "inf", "‘": "'", "’": "'", "“": '"', "”": '"', "●": "*",
}  # fmt: skip


def plain(error: UnicodeError) -> tuple[str, int]:
    """What is written in place of characters that cannot be, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_nearest, error.object[error.start : error.end])), error.end


def _nearest(character: str) -> str:
    """As well as ASCII can: θ is theta, é is \\xe9."""
    if character in NEAREST:
        return NEAREST[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK SMALL LETTER "):
        return name.rpartition(" ")[2].lower()
    return character.encode("ascii", "backslashreplace").decode()


codecs.register_error(HANDLER, plain)
