"""Studies that are odd rather than wrong: each is read as it is meant, or refused at its place, shortly and at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StudyError
from orchestrator.files import plain_yaml
from orchestrator.files.plain_yaml import MOST_BYTES
from orchestrator.files.yaml_values import MOST_VALUES
from orchestrator.study.schema import Study
from tests.orchestrator.refusals import LONGEST_MESSAGE, refused

BOTH = "name: odd\nheads: {arcface: }\n"
NINE = "".join(
    f"{name}: &{name} [{', '.join(['*' + of] * 9)}]\n" for of, name in zip("abcdefg", "bcdefgh", strict=True)
)
CHAIN = "body: &a0 {}\n" + "".join(f"x{number}: &a{number} [*a{number - 1}]\n" for number in range(1, 999))

# the study, the place that is named, its line, pieces of the rule and of the fix
REFUSED: list[tuple[str, str, int | None, str, str]] = [
    # values that are none of a study's
    (BOTH + "training: {epochs: 2026-01-01}", "training.epochs", 3, "valid integer", "a whole number"),
    (BOTH + "training: {lr: 2026-01-01}", "training.lr", 3, "must be a number", "write a number from"),
    (BOTH + "tracking: {pictures: !!bool maybe}", "tracking.pictures", 3, "must be true or false", "write true or"),
    (BOTH + "training:\n  epochs: !!int three", "training.epochs", 4, "a whole number", "write a whole number"),
    (BOTH + "description: !!binary aGVsbG8=", "description", 3, "values are texts, numbers", "remove !!binary"),
    (BOTH + "search: !!set {seed}", "search", 3, "values are texts, numbers", "remove !!set"),
    (BOTH + "search: !!omap [seed: 1]", "search", 3, "values are texts, numbers", "remove !!omap"),
    (BOTH + "search: !!python/object:os.system ls", "search", 3, "values are", "remove !!python/object:os.system"),
    (BOTH + "search: !mine {seed: 1}", "search", 3, "values are texts, numbers", "remove !mine"),
    (BOTH + f"embedding_dim: 1{'0' * 4400}", "embedding_dim", 3, "at most 100 digits", "write a whole number"),
    (BOTH + f"embedding_dim: 1{'0' * 99}", "embedding_dim", 3, "less than or equal to 65536", "in that range"),
    (BOTH + f"training: {{lr: 0.{'1' * 4400}}}", "training.lr", 3, "at most 100 digits", "write a number"),
    (BOTH + 'description: "\\ud800"', "description", 3, "whole characters", "write a text"),
    (BOTH + 'description: "\\e[31m"', "description", 3, "no control characters", "remove them"),
    (BOTH + 'data: {source: idx, path: "a\\0b"}', "data.path", 3, "no control characters", "remove them"),
    (BOTH + f"data: {{source: idx, path: {'x' * 5000}}}", "data.path", 3, "at most 4095 characters", "a shorter one"),
    (BOTH + f"description: {'x' * 20_000}", "description", 3, "at most 10000 characters", "write a shorter one"),
    (BOTH + "data: {source: idx, path: ''}", "data.path", 3, "must not be empty", "write a text"),
    (BOTH + f"data: {{unseen_classes: {[7] * 10_001}}}", "data.unseen_classes", 3, "10000 entries", "leave some"),
    # keys that are no texts
    (BOTH + "training: {? {epochs: 3} : 4}", "training.a mapping", 3, "a key must be a text", "in quotes"),
    (BOTH + "training: {? [epochs] : 4}", "training.a list", 3, "a key must be a text", "in quotes"),
    (BOTH + "training: {null: 4}", "training.null", 3, "a key must be a text", "in quotes"),
    (BOTH + "training: {: 4}", "training.an empty key", 3, "a key must be a text", "in quotes"),
    ("name: odd\nheads:\n  1.5: {}", "heads.1.5", 3, "a key must be a text", "in quotes"),
    (BOTH + "search:\n  start_at:\n    true: {}", "search.start_at.true", 5, "a key must be a text", "in quotes"),
    # amounts that no machine has
    (BOTH + "resources: {cpu: .inf}", "resources.cpu", 3, "finite number", "write a number"),
    (BOTH + "resources: {cpu: .nan}", "resources.cpu", 3, "finite number", "write a number"),
    (BOTH + "resources: {cpu: 1e-320}", "resources.cpu", 3, "greater than or equal to 0.0001", "in that range"),
    (BOTH + "resources: {gpu: .inf}", "resources.gpu", 3, "finite number", "write a number"),
    (BOTH + "resources: {gpu: 1e-320}", "resources.gpu", 3, "must be 0, or 0.0001 at least", "write 0, or 0.0001"),
    (BOTH + "resources: {heads: {arcface: {cpu: 1e-320}}}", "resources.heads.arcface.cpu", 3, "0.0001", "range"),
    (BOTH + "resources: {tpu: 1000000000000}", "resources.tpu", 3, "less than or equal to 1000000", "in that range"),
    (BOTH + "resources: {prices: {cpu_hour: 1e300}}", "resources.prices.cpu_hour", 3, "less than or equal", "in that"),
    (BOTH + "embedding_dim: 1000000000", "embedding_dim", 3, "less than or equal to 65536", "in that range"),
    (BOTH + "training: {epochs: 1000000000}", "training.epochs", 3, "less than or equal to 10000", "in that range"),
    (BOTH + "training: {batch_size: 1000000000}", "training.batch_size", 3, "equal to 1048576", "in that range"),
    (BOTH + "search: {trials_per_head: 1000000000}", "search.trials_per_head", 3, "equal to 100000", "in that range"),
    (BOTH + "search: {grid_points: 1000000000}", "search.grid_points", 3, "less than or equal to 100", "in that range"),
    (BOTH + "confirmation: {seeds: 1000000000}", "confirmation.seeds", 3, "from 0 to 1000, or auto", "or auto"),
    (BOTH + "test: {seeds: 1000000000}", "test.seeds", 3, "less than or equal to 1000", "in that range"),
    (BOTH + "body: {width: 1000000000}", "body.width", 3, "less than or equal to 1024", "in that range"),
    (BOTH + "data: {unseen_classes: [99999999999999999999]}", "data.unseen_classes.0", 3, "less than 2147483648", ""),
    (BOTH + "training: {lr: {min: 1e-320, max: .inf}}", "training.lr", 3, "both finite numbers", "write {min: 0.1"),
    (
        BOTH + "training: {lr: {distribution: q_uniform, min: 0.1, max: 0.2, q: 1e-320}}",
        "training.lr", 3, "at most 1,000,000 steps", "write q: 1e-07",
    ),
    (BOTH + f"training: {{lr: {{values: {list(range(1, 102))}}}}}", "training.lr", 3, "one to 100", "{values: "),
    (BOTH + "search: {start_at: {arcface: {lr: .nan}}}", "search.start_at.arcface.lr", 3, "finite", "write a number"),
    (BOTH + "search: {start_at: {arcface: {lr: [1]}}}", "search.start_at.arcface.lr", 3, "one number", "a number"),
    # what would never end, or fill the memory
    (BOTH + "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + NINE, "YAML", 6, f"stand for at most {MOST_VALUES:,}", "less of"),
    (BOTH + "body: &a {name: *a}", "YAML", 3, "an alias stands for nothing that it is itself in", "write it out"),
    (BOTH + "body: &a {<<: *a}", "YAML", 3, "an alias stands for nothing that it is itself in", "write it out"),
    (BOTH + f"body: {'[' * 1000}{']' * 1000}", "YAML", 3, "at most 32 levels deep", "nest less"),
    (BOTH + f"body: {'{a: ' * 1000}1{'}' * 1000}", "YAML", 3, "at most 32 levels deep", "nest less"),
    (BOTH + CHAIN, "YAML", 33, "at most 32 levels deep", "nest less"),
    (BOTH + f"data: {{unseen_classes: {[7] * MOST_VALUES}}}", "YAML", 3, f"at most {MOST_VALUES:,}", "leave some"),
    (BOTH + f"description: {'x' * 70_000}", "YAML", 3, "at most 65,536 characters", "write less"),
    ("#" * MOST_BYTES + "\n" + BOTH, "YAML", None, "at most 262,144 bytes", "leave out"),
    # the file itself
    ("# nothing but a comment\n", "the whole file", 1, "a mapping of keys", "begin with name: and heads:"),
    (BOTH + "---\n" + BOTH, "YAML", 3, "must be valid YAML", "a file holds one document"),
    (BOTH + "description: a\0b", "YAML", 3, "must be valid YAML", "mend this line"),
    (BOTH + 'description: "\\UFFFFFFFF"', "YAML", 3, "must be valid YAML", "mend this line"),
    (BOTH + "training:\n\tepochs: 3", "YAML", 4, "must be valid YAML", "indent with spaces"),
    (BOTH + "body: {<<: 3}", "body.<<", 3, "takes over the keys of a mapping", "write <<: *name"),
    # fixes that hold
    (BOTH + "resources.prices: {currency: eur}", "resources.prices", 3, "no such key", "write prices: below"),
    (BOTH + "training.epoch: 3", "training.epoch", 3, "no such key", "below training: did you mean epochs?"),
    (BOTH + "search: {objectives: []}", "search.objectives", 3, "must name at least one", "write [accuracy]"),
    (BOTH + "resources: {prices: {currency: äöü}}", "resources.prices.currency", 3, "three capital letters", "EUR or"),
    ("name: odd\nheads: [arcface, {softmax: }]", "heads", 2, "must be a mapping", "write keys below it, one a line"),
    ("name: odd\nheads: {arcface: {margin_rad: 180}}", "heads.arcface.margin_rad", 2, "(rad)", "is 3.14159"),
    ("name: odd\nheads: {cosface: {margin_cos: 3}}", "heads.cosface.margin_cos", 2, "(cosine)", "is 1.999999"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "place", "line", "rule", "fix"), REFUSED, ids=[repr(row[0][26:66]) for row in REFUSED]
)
def test_what_is_odd_is_refused_at_its_place(
    tmp_path: Path, text: str, place: str, line: int | None, rule: str, fix: str
) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(text, encoding="utf-8")
    (problem,) = refused(file)
    assert (problem.place, problem.line) == (place, line)
    assert rule in problem.rule
    assert fix in problem.fix


@pytest.mark.parametrize(
    ("text", "heads"),
    [
        ("{triplet: &a {lr: 0.02}, softmax: {<<: *a}}", {"triplet": {"lr": 0.02}, "softmax": {"lr": 0.02}}),
        ("{triplet: &a {lr: 0.02}, softmax: *a}", {"triplet": {"lr": 0.02}, "softmax": {"lr": 0.02}}),
        (
            "{triplet: &a {lr: 0.02, weight_decay: 0.1}, softmax: {<<: *a, lr: 0.01}}",
            {"triplet": {"lr": 0.02, "weight_decay": 0.1}, "softmax": {"lr": 0.01, "weight_decay": 0.1}},
        ),
        (
            "{triplet: &a {lr: 0.02}, hybrid: &b {lr: 0.01, scale: 9}, arcface: {<<: [*a, *b]}}",
            {"triplet": {"lr": 0.02}, "hybrid": {"lr": 0.01, "scale": 9}, "arcface": {"lr": 0.02, "scale": 9}},
        ),
    ],
)
def test_anchors_and_merge_keys_stand_for_copies(tmp_path: Path, text: str, heads: dict[str, Any]) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(f"name: odd\nheads: {text}\n")
    assert Study.load(file).heads == heads
    changed = Study.load(file, ["heads.triplet.lr=0.03"]).heads
    assert changed == heads | {"triplet": heads["triplet"] | {"lr": 0.03}}


def test_what_is_wrong_with_a_copy_is_told_with_the_lines_of_both(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("name: odd\nheads:\n  arcface: &a\n    margin_rad: 0.2\n  cosface:\n    <<: *a\n")
    (problem,) = refused(file)
    assert (problem.place, problem.line) == ("heads.cosface.margin_rad (a copy from line 4)", 6)
    assert problem.fix == "did you mean margin_cos?"


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + BOTH,
        BOTH.replace("\n", "\r\n"),
        "%YAML 1.2\n---\n" + BOTH + "...\n",
        BOTH.replace("odd", "!!str odd"),
        BOTH.replace("odd", "2026-01-01"),
    ],
)
def test_what_editors_add_changes_nothing(tmp_path: Path, content: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_bytes(content.encode())
    assert Study.load(file).heads == {"arcface": {}}


def test_a_file_in_utf_16_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(BOTH, encoding="utf-16")
    assert refused(file)[0].fix == "save it as UTF-8"


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for source, found in {
        str(tmp_path): "a folder",
        str(tmp_path / "pipe"): "no regular file",
        "/dev/zero": "no regular file",
        str(tmp_path / "dangling"): "no such file",
        "": "a folder",
        "x" * 252: "File name too long",
    }.items():
        with pytest.raises(StudyError) as caught:
            Study.load(source)
        assert found in caught.value.problems[0].value
        assert len(str(caught.value)) < LONGEST_MESSAGE
    with pytest.raises(plain_yaml.NotPlain, match="regular"):  # a file may become a pipe before it is opened
        plain_yaml.read(tmp_path / "pipe")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(BOTH)

    def refuse(*_: Any) -> int:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(os, "open", refuse)
    assert "Permission denied" in refused(file)[0].value


def test_thousands_of_unknown_heads_and_settings_are_told_shortly(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    for text in (
        "heads: {" + ", ".join(f"arcfaze{number}: " for number in range(3000)) + "}",
        "heads: {arcface: {" + ", ".join(f"margin{number}: 0" for number in range(99)) + "}}",
        "heads: {arcface: }\ntraining: {" + ", ".join(f"epoch{number}: 3" for number in range(3000)) + "}",
    ):
        file.write_text("name: odd\n" + text)
        assert len(refused(file)) <= 51


def test_a_large_value_is_told_shortly(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(BOTH + f"training: {{{'x' * 1000}: {'y' * 60_000}, epochs: {['z' * 100] * 1500}}}")
    assert {problem.place[:20] for problem in refused(file)} == {"training." + "x" * 11, "training.epochs"}


def test_a_wrong_setting_is_told_together_with_a_wrong_key_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text("name: odd\ntrainin: {}\nheads:\n  arcface: {margin_rad: 28.6, scale: {min: 2}}\n  softmaks:\n")
    assert {(problem.place, problem.line) for problem in refused(file)} == {
        ("trainin", 2),
        ("heads.arcface.margin_rad", 4),
        ("heads.arcface.scale", 4),
        ("heads.softmaks", 5),
    }


NESTED = "[" * 1000
OVERRIDES = [  # what is written, and pieces of the rule
    ("training.epochs=2026-01-01", "valid integer"),
    ("tracking.pictures=!!bool maybe", "true or false"),
    ("training.epochs={? {a: 1} : 2}", "a key must be a text"),
    (f"training.epochs=1{'0' * 4400}", "at most 100 digits"),
    ("resources.cpu=.inf", "finite number"),
    ("resources.cpu=1e-320", "0.0001"),
    (f"training.epochs={NESTED}", "32 levels deep"),
    (f"training.epochs={{a: &a {[1] * 9}, {NINE.strip().replace(chr(10), ', ')}}}", "20,000"),
    ("data.path=a\0b", "valid YAML"),
    ("data.path=\udcff", "valid YAML"),
    (f"tracking.project={'x' * 5000}", "at most 200 characters"),
    (f"training.epochs={'x' * 100_000}", "65,536 characters"),
    (f"training.epochs={'!' * 300_000}", "262,144 bytes"),
    ("data.unseen_classes.0=3", "data.unseen_classes holds a list, not keys"),
    ("training..epochs=3", "keys with points between them"),
    (".training=3", "keys with points between them"),
    ("training.=3", "keys with points between them"),
    (".".join(["a"] * 1000) + "=3", "keys with points between them, 20 at most"),
    ("a" * 100_000 + "=3", "no such key in a study"),
    ("3=3", "no such key in a study"),
    ("heads.3=3", "must be a mapping of keys"),
    ("heads=3", "must be a mapping of keys"),
    ("heads=", "must be a mapping of keys"),
    ("heads.arcface.\x1b[31m=3", "arcface has no such setting"),
]


@pytest.mark.parametrize(
    ("override", "rule"),
    OVERRIDES,
    ids=[override[:30].encode("ascii", "replace").decode() for override, _ in OVERRIDES],
)
def test_an_odd_override_is_refused_by_name(tmp_path: Path, override: str, rule: str) -> None:
    file = tmp_path / "odd.yaml"
    file.write_text(BOTH + "data: {unseen_classes: [1]}\n")
    found = refused(file, override)
    assert rule in found[0].rule
    assert found[0].line is None


@pytest.mark.parametrize(
    "change",
    [
        {"resources": {"cpu": float("inf")}},
        {"resources": {"gpu": 1e-320}},
        {"embedding_dim": 10**4400},
        {"training": {"lr": 10**4400}},
        {"training": {"lr": {"min": 0, "max": 10**4400}}},
        {"search": {"start_at": {"arcface": {"lr": float("nan")}}}},
        {"description": "\x1b[31m"},
        {"description": "\ud800"},
        {"data": {"source": "idx", "path": "a\0b"}},
        {"heads": {3: {}}},
    ],
)
def test_a_study_that_is_built_in_python_obeys_the_same_rules(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Study.model_validate({"name": "odd", "heads": {"arcface": {}}} | change)
