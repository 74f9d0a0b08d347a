"""Studies as YAML that is odd: values of other types and of extreme sizes, slips, and what else YAML can do."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from search_spaces.heads import HEADS


class Raw(str):
    """A piece of YAML that is written as it stands."""


WRITTEN = r"""
2026-01-01 ¦ 2026-01-01T10:00:00Z ¦ !!bool maybe ¦ !!int three ¦ !!float x ¦ !!null x ¦ !!str 3 ¦ ! 3 ¦ !!timestamp x
!!binary aGVsbG8= ¦ !!set {a, b} ¦ !!omap [a: 1] ¦ !!pairs [a: 1] ¦ !!python/object:os.system ls ¦ !own 1 ¦ !e!x 1
!<tag:yaml.org,2002:map> {a: 1} ¦ !!map [1] ¦ !!seq {a: 1} ¦ !!int [1] ¦ << ¦ = ¦ {=: 1} ¦ {<<: 3} ¦ *nowhere
*a ¦ &a 1 ¦ &a {lr: 0.02} ¦ &a {<<: *a} ¦ &a [*a] ¦ {<<: *a} ¦ {<<: [*a, {lr: 0.01}], lr: 0.1} ¦ {<<: {<<: {lr: 0.01}}}
-_ ¦ 1_000 ¦ 0x10 ¦ 0o17 ¦ 0b11 ¦ 017 ¦ 1:30 ¦ 1e3 ¦ 1e-320 ¦ 1e308 ¦ 1e999 ¦ -1e999 ¦ .inf ¦ -.inf ¦ .nan ¦ -0 ¦ -0.0
+1 ¦ 1. ¦ .5 ¦ 0.5 ¦ 0.00001 ¦ 1000000.0 ¦ 30.0 ¦ 180 ¦ 3.1415926 ¦ 1.9999999 ¦ -1 ¦ 0 ¦ 1 ¦ 2 ¦ 15 ¦ 16 ¦ 100 ¦ 1000
10000 ¦ 65536 ¦ 100000 ¦ 2147483647 ¦ 2147483648 ¦ 9223372036854775808 ¦ 99999999999999999999
{? [a] : 1} ¦ {? {a: 1} : 1} ¦ {null: 1} ¦ {: 1} ¦ {true: 1} ¦ {1.5: 1} ¦ {2026-01-01: 1} ¦ {'': 1} ¦ {a: 1, a: 2}
? a ¦ - a ¦ 'open ¦ "open ¦ [ ¦ { ¦ ] ¦ } ¦ % ¦ @ ¦ ` ¦ --- ¦ ... ¦ %YAML 1.1 ¦ %TAG ! x ¦ # comment ¦ a #b ¦ a: b: c
"\0" ¦ "\e[31m" ¦ "\ud800" ¦ "\UFFFFFFFF" ¦ "\q" ¦ "\x4"
auto ¦ null ¦ ~ ¦ true ¦ false ¦ yes ¦ True ¦ '' ¦ [] ¦ {} ¦ [[]] ¦ [{}] ¦ {'': {}} ¦ [1, a, 2.5]
{min: 0.1, max: 0.4} ¦ {min: 1, max: 64} ¦ {min: 0.4, max: 0.1} ¦ {min: 1e-320, max: 1e-310} ¦ {min: 0, max: .inf}
{min: -1e300, max: 1e300} ¦ {value: 0.2} ¦ {value: [1]} ¦ {value: 1, min: 0} ¦ {q: 1} ¦ {min: 1} ¦ {min: 0.5, max: 0.5}
{values: []} ¦ {values: [1, 1.0]} ¦ {values: [[1]]} ¦ {values: [0.1, 0.2, 0.3]} ¦ {values: [a, true]}
{distribution: q_uniform, min: 0.1, max: 0.5, q: 0.1} ¦ {distribution: q_uniform, min: 0.1, max: 0.5, q: 0.3}
{distribution: q_uniform, min: 0.1, max: 0.5, q: 1e-320} ¦ {distribution: q_uniform, min: 0.1, max: 0.5, q: -1}
{distribution: q_uniform, min: 1, max: 64} ¦ {distribution: uniform, min: 1.5, max: 64, q: 0.5}
{distribution: log_uniform_values, min: 0.001, max: 1} ¦ {distribution: log_uniform_values, min: 0, max: 1}
{distribution: log_uniform, min: 1.0, max: 2.0} ¦ {distribution: [1]} ¦ {distribution: normal, min: 0, max: 1}
{distribution: int_uniform, min: 1, max: 50} ¦ {distribution: int_uniform, min: 0.5, max: 2.5}
"""
NINE = ", ".join(f"&n{level} [{', '.join([f'*n{level - 1}'] * 9)}]" for level in range(1, 9))
SNIPPETS = [
    *(piece for line in WRITTEN.strip().splitlines() for piece in line.split(" ¦ ")),
    *("1" + "0" * 4400, "0." + "1" * 4400, "0x" + "f" * 4400, "9" * 99, f"{{min: 0, max: 1{'0' * 90}}}"),
    *("[" * 1000, "{a: " * 1000, "[" * 100_000, "[" * 1000 + "]" * 1000, "- " * 1000, "? " * 1000, ": " * 1000),
    *(f"[&n0 [{'1, ' * 9}], {NINE}]", f"{{values: {list(range(1, 102))}}}", "x" * 5000, "x" * 100_000),
    *("!" * 200_000, "%Y\n" * 60_000, "|\n" * 100_000, "a: " * 60_000, "&a *a " * 40_000),
    *("", "\t", "|\n  text", ">-\n  text", "\x00", "\x1b[31m", "\u2028", "\u202e", "\ufeff", '"' + "é" * 9000 + '"'),
]
FITTING: dict[str, tuple[Any, ...]] = {  # what may stand there, up to the ends of what may
    "embedding_dim": (2, 3, 4, 24, 512, 65_536),
    "name": ("a", "a" * 64, "0.-_", "2026-01-01"),
    "data.validation_images": (1, 4, 40, 104, 105, 119, 120, 2**31 - 1),
    "data.split_seed": (0, 2**31 - 1),
    "data.unseen_classes": ([], [0], [0, 1], [3, 3], [0, 1, 2], [9], [2**31 - 1], [*range(9000)]),
    "body": ({"name": "reference", "depth": 100}, {"width": 1024, "hidden": 65_536}, {"hidden": 0}, {"depth": 1}),
    "training.epochs": (1, 2, 10_000),
    "training.batch_size": (16, 64, 96, 2**20),
    "training.shift_px": (0, 64),
    "training.seed": ("auto", 0, 2**31 - 1),
    "training.margin_warmup_epochs": (0, 1, 10_000, {"values": [0, 5000]}),
    "search.trials_per_head": (1, 2, 3, 100_000),
    "search.searcher": ("tpe", "random", "grid"),
    "search.scheduler": ("asha", "pbt", "none"),
    "search.concurrent_trials": ("auto", 0, 1, 2**31 - 1),
    "search.grid_points": (2, 3, 100),
    "search.grace_epochs": (1, 2**31 - 1),
    "search.reduction_factor": (2, 16),
    "search.perturb_every_epochs": (1, 2**31 - 1),
    "search.stalled_after_s": ("auto", 0, 2**31 - 1),
    "search.joint": (True, False),
    "search.objectives": (["accuracy"], ["separation"], ["accuracy", "separation"], ["accuracy"] * 3),
    "search.allow_unequal": (True, False),
    "search.start_at": ({"arcface": {"margin_rad": 0.2}}, {"arcface": {"scale": "x"}}, {"softmax": {"lr": 1e15}}),
    "confirmation": ({"top": 2**31 - 1, "seeds": 1000}, {"top": 0}, {"seeds": 1}, {"racing": True}),
    "test.seeds": (1, 1000),
    "resources": ({"cpu": 1e-4}, {"cpu": 1e6}, {"gpu": 1e-4}, {"gpu": 1.5}, {"tpu": 3}, {"workers": 3}),
    "resources.heads": ({"arcface": {"workers": 7}}, {"arcface": {"gpu": 0.5, "workers": 2}}, {"arc": {}}),
    "resources.prices": ({"currency": "EUR"}, {"currency": "eur", "cpu_hour": 1e6}, {"gpu_hour": 0}),
    "tracking": ({"mode": "off"}, {"project": "x" * 200, "entity": "é"}, {"pictures": False}),
    **{f"heads.{head}": ({}, None, "auto", {"scale": 20}, {"magnitude": "feature", "scale": 9}) for head in HEADS},
    "heads.pml.ProxyAnchorLoss": ({}, {"margin": 0.2, "alpha": 32}, {"alpha": 1e9}),
    "heads.pml.MarginLoss": ({"learn_beta": True}, {"nu": 0.1}, {"learn_beta": {"values": [True, False]}}),
    "heads.arcface.margin_rad": (0.2, 28.6, 180, 3.2, {"min": 0.1, "max": 3.2}, {"values": [0.1, 0.2]}),
    "heads.cosface.margin_cos": (0.2, 3, {"min": 0.0, "max": 1.0}, {"min": 0, "max": 1}),
    "heads.triplet.mining": ("semi_hard", "hard", {"values": ["semi_hard", "batch_all", "batch_hard"]}),
    "heads.hybrid.crossover_rad": (1e-6, 100, {"min": 1e-6, "max": 100.0}),
}  # fmt: skip


def mutated(content: dict[str, Any], random: Random) -> dict[str, Any]:
    """A study with one to four changes, all of them to what may stand there in one of three studies."""
    content = json.loads(json.dumps(content))
    changes = (_fit,) if random.random() < 0.33 else (_fit, _exchange, _exchange, _rename, _delete, _nest, _move, _add)
    for _ in range(random.choice((1, 1, 2, 3, 4))):
        random.choice(changes)(content, random)
    return content


def written(node: Any, random: Random, indent: int = 0) -> str:
    """A study as YAML, each part of it in lines or between brackets."""
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, dict) and node and random.random() < 0.7:
        lines = (f"{' ' * indent}{_key(key)}: {written(value, random, indent + 2)}" for key, value in node.items())
        return ("\n" if indent else "") + "\n".join(lines)
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(value)}" for key, value in node.items()) + "}"
    return _flow(node)


def odd(random: Random) -> Raw:
    """A piece of YAML that nobody expects there."""
    return Raw(random.choice(SNIPPETS))


def _flow(node: Any) -> str:
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, dict):
        return "{" + ", ".join(f"{_key(key)}: {_flow(value)}" for key, value in node.items()) + "}"
    return "[" + ", ".join(map(_flow, node)) + "]" if isinstance(node, list) else json.dumps(node)


def _key(key: str) -> str:
    return str(key) if isinstance(key, Raw) or key.replace("_", "").isalnum() else json.dumps(key)


def put(content: dict[str, Any], place: str, value: Any) -> None:
    """Sets the value at a dotted place, and makes the mappings above it."""
    keys = place.split(".")
    if keys[:2] == ["heads", "pml"]:
        keys[1:3] = [".".join(keys[1:3])]
    for key in keys[:-1]:
        if not isinstance(content.get(key), dict):
            content[key] = {}
        content = content[key]
    content[keys[-1]] = value


def _fit(content: dict[str, Any], random: Random) -> None:
    place = random.choice([*FITTING])
    put(content, place, random.choice(FITTING[place]))


def _add(content: dict[str, Any], random: Random) -> None:
    put(content, random.choice([*FITTING, "x", "training.epoch", "heads.arcfac", "heads.softmax.margin"]), odd(random))


def _exchange(content: dict[str, Any], random: Random) -> None:
    holder, key = _place(content, random)
    holder[key] = odd(random)


def _delete(content: dict[str, Any], random: Random) -> None:
    holder, key = _place(content, random)
    del holder[key]


def _rename(content: dict[str, Any], random: Random) -> None:
    holder, key = _place(content, random)
    place = random.randrange(len(key) + 1)
    slip = key[:place] + random.choice(("", key[place : place + 1] * 2, "x", "_")) + key[place + 1 :]
    new = random.choice((slip, slip, odd(random), key.upper(), f"training.{key}", Raw(f"? {key}\n"), "x" * 5000))
    holder[new] = holder[key] if random.random() < 0.3 else holder.pop(key)


def _nest(content: dict[str, Any], random: Random) -> None:
    holder, key = _place(content, random)
    for _ in range(random.choice((1, 2, 40))):
        holder[key] = random.choice(([holder[key]], {key: holder[key]}))


def _move(content: dict[str, Any], random: Random) -> None:
    """Takes over a value from elsewhere in the study."""
    holder, key = _place(content, random)
    other, name = _place(content, random)
    holder[key] = json.loads(json.dumps(other[name]))


def _place(content: dict[str, Any], random: Random) -> tuple[dict[str, Any], str]:
    """Some key of the study, and the mapping that it is in."""
    found, todo = [], [content]
    while todo:
        holder = todo.pop()
        found += [(holder, key) for key in holder]
        todo += [value for value in holder.values() if isinstance(value, dict)]
    return random.choice(found or [({"x": 1}, "x")])
