"""Ways to break a file that is valid: as bytes, and as a JSON document whose values are exchanged for odd ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

ODD_INTEGERS = (0, 1, 2, 127, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 10**4300, 2**63, 2**64, 0.5, 1e308, 1e-320, float("nan"), float("inf")),
    *("", "nan", "\x00", "\x1b[31m", "../..", "é\ud800", "x" * 5000, [], {}, [[]], [None], {"": {}}, [1, "a", 2.5]),
)


def flip(content: bytes, random: Random) -> bytes:
    """Up to eight bits are the other way round."""
    broken = bytearray(content)
    for _ in range(random.randint(1, 8) if content else 0):
        broken[random.randrange(len(broken))] ^= 1 << random.randrange(8)
    return bytes(broken)


def cut(content: bytes, random: Random) -> bytes:
    """The end is missing."""
    return content[: random.randrange(len(content) + 1)]


def insert(content: bytes, random: Random) -> bytes:
    """Some bytes by chance, all alike or not, stand somewhere between the others."""
    place, number = random.randrange(len(content) + 1), random.choice((1, 2, 4, 16, 256, 4096))
    added = random.choice((random.randbytes(number), bytes([random.choice(b'\0\n\xff{["9')]) * number))
    return content[:place] + added + content[place:]


def remove(content: bytes, random: Random) -> bytes:
    """A piece in the middle is missing."""
    begin, end = _piece(content, random)
    return content[:begin] + content[end:]


def repeat(content: bytes, random: Random) -> bytes:
    """A piece comes twice."""
    begin, end = _piece(content, random)
    return content[:end] + content[begin:]


def move(content: bytes, random: Random) -> bytes:
    """A piece stands elsewhere."""
    begin, end = _piece(content, random)
    rest = content[:begin] + content[end:]
    place = random.randrange(len(rest) + 1)
    return rest[:place] + content[begin:end] + rest[place:]


def overwrite(content: bytes, random: Random) -> bytes:
    """A piece is zeros, as after a crash of the machine."""
    begin, end = _piece(content, random)
    return content[:begin] + bytes(end - begin) + content[end:]


def integer(content: bytes, random: Random) -> bytes:
    """An integer of one, two, four or eight bytes is an odd one; mostly in the header."""
    size, order = random.choice((1, 2, 4, 8)), random.choice(("big", "little"))
    reach = min(len(content), random.choice((16, 64, len(content))))
    if reach < size:
        return insert(content, random)
    place = random.randrange(reach - size + 1)
    value = random.choice([number for number in ODD_INTEGERS if number < 256**size])
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def emptied(content: bytes, random: Random) -> bytes:
    """Nothing is left."""
    return b""


BYTES = (flip, cut, insert, remove, repeat, move, overwrite, integer)


def of_bytes(content: bytes, random: Random) -> bytes:
    """One or two of all these."""
    for _ in range(random.choice((1, 1, 2))):
        content = random.choice(BYTES)(content, random)
    return content if random.random() > 0.02 else emptied(content, random)


def of_json(content: Any, random: Random) -> Any:
    """A document with one to three values exchanged, removed, renamed, or nested some hundred times."""
    content = json.loads(json.dumps(content))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(content))
        if not places:
            return random.choice(ODD_VALUES)
        holder, key = random.choice(places)
        random.choice((_exchange, _exchange, _exchange, _delete, _rename, _nest, _swap))(holder, key, random, places)
    return content


def written(content: Any) -> bytes:
    """As JSON, or as what Python takes for JSON: numbers that are none included."""
    import sys

    sys.set_int_max_str_digits(0)
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


Holder = Any
Place = tuple[Holder, Any]
Change = Callable[[Holder, Any, Random, list[Place]], None]


def _exchange(holder: Holder, key: Any, random: Random, places: list[Place]) -> None:
    holder[key] = random.choice(ODD_VALUES)


def _delete(holder: Holder, key: Any, random: Random, places: list[Place]) -> None:
    del holder[key]


def _rename(holder: Holder, key: Any, random: Random, places: list[Place]) -> None:
    if isinstance(holder, dict):
        holder[random.choice((f"{key}x", "", "trial", "event", "\x00", "a" * 300))] = holder.pop(key)
    else:
        holder.append(holder[key])


def _nest(holder: Holder, key: Any, random: Random, places: list[Place]) -> None:
    for _ in range(random.choice((1, 3, 300))):
        holder[key] = random.choice(([holder[key]], {"a": holder[key]}))


def _swap(holder: Holder, key: Any, random: Random, places: list[Place]) -> None:
    """Takes over a value from elsewhere in the document."""
    other, name = random.choice(places)
    holder[key] = json.loads(json.dumps(other[name]))


def _places(content: Any) -> Iterator[Place]:
    """Every value of a document as its holder and its key there; no deeper than anybody nests on purpose."""
    todo = [(content, 0)]
    while todo:
        holder, depth = todo.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            if depth < 20:
                todo.append((holder[key], depth + 1))


def _piece(content: bytes, random: Random) -> tuple[int, int]:
    begin = random.randrange(len(content) + 1)
    return begin, min(len(content), begin + random.choice((1, 4, 16, 64, 1024, len(content))))
