"""Commands as messages print them: copied into a shell, each does what it says, whatever a folder is called."""

from __future__ import annotations

import os
import shlex

BREAK = r"\n"


def ours(verb: str, *words: object) -> str:
    """A command of this program: orchestrator resume 'my results/quick'."""
    return typed("orchestrator", verb, *words)


def typed(*words: object) -> str:
    """Any command. A text that begins with -- is an option; all other words may name files."""
    return " ".join(quoted(word if isinstance(word, str) and word[:2] == "--" else _named(word)) for word in words)


def quoted(word: str) -> str:
    """A word as every POSIX shell reads it. What cannot be printed, such as a newline, is left to printf."""
    if word.isprintable():
        return shlex.quote(word)
    stem = word.rstrip("\n")  # $(…) drops newlines at an end; older shells know no other way
    last = f"$'{BREAK * (len(word) - len(stem))}'" if stem != word else ""
    return f"\"$(printf '{''.join(map(_octal, os.fsencode(stem)))}')\"{last}"


def _named(word: object) -> str:
    """A file's name that is neither taken for an option nor for someone's home."""
    text = str(word)
    return f"./{text}" if text[:1] in ("-", "~") else text


def _octal(byte: int) -> str:
    """A byte as printf reads it."""
    character = chr(byte)
    plain = character.isascii() and character.isprintable() and character not in "'\\%-"
    return character if plain else f"\\{byte:03o}"
