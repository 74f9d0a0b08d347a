"""Text as a terminal may have it: what comes from a file or a server moves no cursor there and tells no password.

For characters that the terminal's encoding lacks, the nearest plain ones stand in, or their codes: a way of handling
errors, as `open(errors=…)` takes it, by the name HANDLER.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

HANDLER = "plain"
NEAREST = {
    "–": "-", "—": "-", "−": "-", "×": "x", "·": ".", "…": "...", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "≠": "!=",
    "→": "->", "←": "<-", "°": " deg", "²": "^2", "∞": "inf", "‘": "'", "’": "'", "“": '"', "”": '"', "●": "*",
}  # fmt: skip

CONTROLS = re.compile(  # all but tab and newline; what turns the direction of writing; halves of characters
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
USER = re.compile(  # of an address: name:password; in one of Azure's a name alone is the container
    r"(?<=://)(?<!abfs://)(?<!abfss://)[^\s/@\"'<>]+@|(?<=://)[^\s/@\"'<>:]*:[^\s/@\"'<>]+@"
)


def visible(text: str) -> str:
    """The text with control characters as codes, and without the passwords of addresses."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), discreet(text))


def in_a_line(text: str) -> str:
    """The text in one line: a value makes no line that looks as if someone else had said it."""
    return visible(text).replace("\n", "\\n")


def discreet(text: str) -> str:
    """The text without the names and passwords that stand in addresses."""
    return USER.sub("", text) if "@" in text else text


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
