"""A head refuses what cannot be, and says the rule and the value; heads are found by their file's name."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import lightning_modules
from lightning_modules.heads import head_class
from lightning_modules.heads.angular import AngularHead
from lightning_modules.heads.base import EmbeddingModule, Trunk
from lightning_modules.registry import RegistryError

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "arcface",
        {"margin_rad": 28.6, "scale": 16.0},
        r"margin_rad must be at least 0 and below 3\.14159.*=28\.6",
    ),
    ("arcface", {"margin_rad": -0.1, "scale": 16.0}, r"margin_rad must be at least 0 .*margin_rad=-0\.1"),
    ("arcface", {"margin_rad": math.pi, "scale": 16.0}, r"margin_rad must be .*below 3\.14159"),
    ("arcface", {"margin_rad": math.nan, "scale": 16.0}, r"margin_rad must be .*margin_rad=nan"),
    ("arcface", {"margin_rad": 0.5}, r'magnitude "fixed" needs a scale'),
    ("softmax", {"label_smoothing": 1.0}, r"label_smoothing must be at least 0 and below 1, .*label_smoothing=1$"),
    ("arcface", {"margin_rad": 0.5, "scale": 0.0}, r"scale must be at least 0\.001 .*scale=0$"),
    ("arcface", {"margin_rad": 0.5, "scale": math.inf}, r"scale must be .*scale=inf"),
    (
        "cosface",
        {"margin_cos": 2.0, "scale": 16.0},
        r"margin_cos must be at least 0 and below 2, .*margin_cos=2$",
    ),
    ("cosface", {"margin_cos": -0.35, "scale": 16.0}, r"margin_cos must be at least 0 .*margin_cos=-0\.35"),
    ("sphereface", {"margin_mult": 0.5}, r"margin_mult must be at least 1 .*margin_mult=0\.5"),
    (
        "sphereface",
        {"margin_mult": 1.5, "magnitude": "norm"},
        r'"feature" or "fixed", but got magnitude=\'norm\'',
    ),
    ("sphereface", {"margin_mult": 1.5, "magnitude": "fixed"}, r'"fixed" needs a scale, but got scale=None'),
    (
        "hybrid",
        {"margin_rad": 28.6, "crossover_rad": 0.5, "scale": 16.0},
        r"margin_rad must be .*margin_rad=28\.6",
    ),
    (
        "hybrid",
        {"margin_rad": 0.5, "crossover_rad": 0.0, "scale": 16.0},
        r"crossover_rad must be .*crossover_rad=0$",
    ),
    ("triplet", {"margin_dist": -0.2}, r"margin_dist must be at least 0 .*margin_dist=-0\.2"),
    (
        "triplet",
        {"margin_dist": 0.2, "mining": "hardest"},
        r"mining must be one of semi_hard, batch_hard, batch_all, but got mining='hardest'",
    ),
]


@pytest.mark.parametrize(("name", "options", "message"), REFUSED)
def test_an_impossible_option_is_refused_with_the_rule_and_the_value(
    name: str, options: dict[str, Any], message: str, make_head: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=message):
        make_head(name, **options)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("softmax", "Softmax"),
        ("triplet", "Triplet"),
        ("arcface", "ArcFace"),
        ("cosface", "CosFace"),
        ("sphereface", "SphereFace"),
        ("hybrid", "Hybrid"),
    ],
)
def test_a_head_is_found_by_the_name_of_its_file(name: str, expected: str) -> None:
    found = head_class(name)
    assert issubclass(found, EmbeddingModule)
    assert (found.__name__, found.__module__) == (expected, f"lightning_modules.heads.{name}")


@pytest.mark.parametrize(
    "name", ["magface", "base", "angular", "margin_curve", "pml", "", "..data", "os.path", "arc face"]
)
def test_a_name_without_a_head_is_refused_with_the_names_that_there_are(name: str) -> None:
    known = "arcface, cosface, hybrid, softmax, sphereface, triplet"
    with pytest.raises(RegistryError, match=f"^head must be one of {known}, but got {re.escape(repr(name))}"):
        head_class(name)


def test_a_name_that_is_nearly_a_heads_is_told_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"but got 'arcfase'; did you mean arcface\?$"):
        head_class("arcfase")


@pytest.mark.parametrize("base", [EmbeddingModule, AngularHead])
def test_a_base_says_what_a_head_must_give(base: type[EmbeddingModule]) -> None:
    with pytest.raises(TypeError, match="loss" if base is EmbeddingModule else "target_cosine"):
        base(Trunk(nn.Identity(), 2, 2))


@pytest.mark.parametrize(
    "module",
    ["lightning_modules", "lightning_modules.heads", "lightning_modules.data.sources", "lightning_modules.data.splits"],
)
def test_checking_a_study_loads_neither_torch_nor_lightning(module: str) -> None:
    root = Path(lightning_modules.__file__).parents[1]
    code = f"import sys, {module}; print([*{{'torch', 'pytorch_lightning'}}.intersection(sys.modules)])"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert (process.stdout, process.stderr) == ("[]\n", "")
