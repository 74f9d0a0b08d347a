"""Wrong studies: each is refused at its place and line, with the rule that it breaks and a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StudyError
from orchestrator.study.schema import Study
from tests.orchestrator.refusals import refused

HEADS = "heads: {arcface: }\n"
NAME = "name: wrong\n"
BOTH = NAME + HEADS

# the study, the place that is named, its line, pieces of the rule and of the fix
WRONG: list[tuple[str, str, int | None, str, str]] = [
    # keys
    (HEADS, "name", None, "is required", "add name:"),
    (NAME, "heads", None, "is required", "such as arcface:"),
    (BOTH + "trainin: {epochs: 3}", "trainin", 3, "no such key in a study", "did you mean training?"),
    (BOTH + "xyz: 1", "xyz", 3, "no such key in a study", "there are body, confirmation, data, description"),
    (BOTH + "training:\n  epoch: 3", "training.epoch", 4, "no such key in training", "did you mean epochs?"),
    (BOTH + "search:\n  trials: 3", "search.trials", 4, "no such key in search", "trials_per_head"),
    (BOTH + "tracking: {api_key: 1}", "tracking.api_key", 3, "no such key in tracking", "entity, mode, pictures"),
    (BOTH + "training.epochs: 3", "training.epochs", 3, "no such key in a study", "write epochs: below training:"),
    (BOTH + "3: 4", "3", 3, "a key must be a text", "write it as a text"),
    # the name
    ("name: My Study\n" + HEADS, "name", 1, "small letters, digits", "my-study"),
    ("name: ../up\n" + HEADS, "name", 1, "small letters, digits", "my-study"),
    ("name: " + "a" * 65 + "\n" + HEADS, "name", 1, "at most 64", "my-study"),
    ("name: 3\n" + HEADS, "name", 1, "must be a valid string", "write a text"),
    # kinds of values
    (BOTH + "embedding_dim: 3.0", "embedding_dim", 3, "must be a valid integer", "whole number"),
    (BOTH + "embedding_dim: '3'", "embedding_dim", 3, "must be a valid integer", "without quotes"),
    (BOTH + "embedding_dim: 1", "embedding_dim", 3, "greater than or equal to 2", "in that range"),
    (BOTH + "resources: {cpu: two}", "resources.cpu", 3, "must be a valid number", "without quotes"),
    (BOTH + "resources: {cpu: 0}", "resources.cpu", 3, "greater than or equal to 0.0001", "in that range"),
    (BOTH + "tracking: {pictures: 1}", "tracking.pictures", 3, "must be a valid boolean", "true or false"),
    (BOTH + "description: [a]", "description", 3, "must be a valid string", "write a text"),
    (BOTH + "training: 3", "training", 3, "must be", "write keys below it"),
    (BOTH + "training:\n  epochs: 0", "training.epochs", 4, "greater than or equal to 1", "in that range"),
    (BOTH + "training: {seed: -1}", "training.seed", 3, "a whole number from 0 to 2147483647, or auto", "or auto"),
    (BOTH + "search: {seed: 2147483648}", "search.seed", 3, "less than 2147483648", "in that range"),
    (BOTH + "search: {concurrent_trials: all}", "search.concurrent_trials", 3, "a whole number from 0", "or auto"),
    (BOTH + "resources: {heads: {arcface: {cpus: 4}}}", "resources.heads.arcface.cpus", 3, "no such key", "mean cpu?"),
    # prices
    (BOTH + "resources: {price: {cpu_hour: 1}}", "resources.price", 3, "no such key in resources", "mean prices?"),
    (BOTH + "resources:\n  prices:\n    cpu: 1", "resources.prices.cpu", 5, "in resources.prices", "there are"),
    (BOTH + "resources: {prices: {cpu_hours: 1}}", "resources.prices.cpu_hours", 3, "no such key", "mean cpu_hour?"),
    (BOTH + "resources: {prices: {gpu_hour: -1}}", "resources.prices.gpu_hour", 3, "equal to 0", "in that range"),
    (BOTH + "resources: {prices: {gpu_hour: .inf}}", "resources.prices.gpu_hour", 3, "finite", "write a number"),
    (BOTH + "resources: {prices: {gpu_hour: '1'}}", "resources.prices.gpu_hour", 3, "valid number", "without quotes"),
    (BOTH + "resources: {prices: {currency: usd}}", "resources.prices.currency", 3, "three capital", "write USD"),
    (BOTH + "resources: {prices: {currency: $}}", "resources.prices.currency", 3, "three capital letters", "EUR"),
    (BOTH + "resources: {prices: {currency: EUR}}", "resources.prices", 3, "of an hour of a core", "add cpu_hour"),
    # words
    (BOTH + "search: {searcher: tbe}", "search.searcher", 3, "'tpe', 'grid' or 'random'", "did you mean tpe?"),
    (BOTH + "search: {scheduler: bohb}", "search.scheduler", 3, "'asha', 'none' or 'pbt'", "there are asha, none, pbt"),
    (BOTH + "data: {source: cifar10}", "data.source", 3, "'mnist' or 'idx'", "there are idx, mnist"),
    (BOTH + "body: {name: resnet50}", "body.name", 3, "'strided' or 'reference'", "there are reference, strided"),
    # heads and their settings
    (
        NAME + "heads: {arcface: {margin_rad: {min: 0, max: 1}}}",
        "heads.arcface.margin_rad", 2, "whole numbers only", "write min: 0.0, max: 1.0",
    ),
    (NAME + "heads: {}", "heads", 2, "must name at least one", "softmax, triplet, arcface"),
    (NAME + "heads: [arcface, softmax]", "heads", 2, "must be a mapping", "write heads: {arcface: , softmax: }"),
    (NAME + "heads:\n  arcfac:", "heads.arcfac", 3, "there is no such head", "did you mean arcface?"),
    (NAME + "heads:\n  arcface: 0.5", "heads.arcface", 3, "must be a mapping of keys", "write keys below it"),
    (NAME + "heads:\n  arcface:\n    margin: 0.5", "heads.arcface.margin", 4, "no such setting", "margin_rad"),
    (NAME + "heads:\n  softmax: {scale: 8}", "heads.softmax.scale", 3, "softmax has no such setting", "there are"),
    (NAME + "heads: {arcface: {margin_rad: 28.6}}", "heads.arcface.margin_rad", 2, "(rad)", "28.6° = 0.499 rad"),
    (NAME + "heads: {cosface: {margin_cos: 3}}", "heads.cosface.margin_cos", 2, "from 0 to 2", "nearest valid value"),
    (NAME + "heads: {sphereface: {margin_mult: {min: 0.5, max: 2}}}", "heads.sphereface.margin_mult", 2, "from 1", ""),
    (NAME + "heads: {triplet: {mining: hard}}", "heads.triplet.mining", 2, "semi_hard or batch_hard", "semi_hard"),
    (NAME + "heads: {triplet: {normalise: 1}}", "heads.triplet.normalise", 2, "must be", "write"),
    (NAME + "heads: {arcface: {scale: }}", "heads.arcface.scale", 2, "a value or a distribution", "write 0.3"),
    # distributions
    (NAME + "heads: {arcface: {scale: {min: 64, max: 8}}}", "heads.arcface.scale", 2, "min must be below max", "swap"),
    (NAME + "heads: {arcface: {scale: {low: 8, high: 9}}}", "heads.arcface.scale", 2, "no key 'low'", "min, max, q"),
    (BOTH + "training: {lr: [0.1, 0.2]}", "training.lr", 3, "a value or a distribution", "{values: [a, b]}"),
    (BOTH + "training: {lr: {min: 0, max: .inf}}", "training.lr", 3, "both finite numbers", "{min: 0.1, max: 0.5}"),
    (BOTH + "training: {lr: 20}", "training.lr", 3, "from 1e-07 to 10", "nearest valid value is 10"),
    (BOTH + "training: {warmup_share: 25}", "training.warmup_share", 3, "from 0.01 to 0.99", "0.99"),
    # what excludes what
    (BOTH + "data: {source: idx}", "data.path", 3, "needs the folder with its four files", "add path:"),
    (BOTH + "data: {path: faces}", "data.path", 3, "path belongs to the idx source", "source: idx"),
    (BOTH + "data: {source: idx, path: a, pth: b}", "data.pth", 3, "no such key in data", "did you mean path?"),
    (BOTH + "data: {split: 3}", "data.split", 3, "no such key in data", "did you mean split_seed?"),
    (BOTH + "body: {name: null}", "body.name", 3, "'strided' or 'reference'", "there are reference, strided"),
    (BOTH + "body: {name: [strided]}", "body.name", 3, "'strided' or 'reference'", "did you mean strided?"),
    (BOTH + "body: 3", "body", 3, "must be a mapping of keys", "write keys below it"),
    (BOTH + "body: {depth: 8}", "body.depth", 3, "depth belongs to the reference body", "name: reference"),
    (BOTH + "body: {name: reference, width: 8}", "body.width", 3, "width belongs to the strided body", "name: strided"),
    (
        "name: x\nheads:\n  arcface: {magnitude: feature, scale: 20}\n",
        "heads.arcface.scale",
        3,
        "scale is read where magnitude is fixed",
        "remove it, or write magnitude: fixed",
    ),
    (BOTH + "body: {name: reference, hidden: 8}", "body.hidden", 3, "hidden belongs to the strided body", "name: str"),
    (BOTH + "search: {grace_epochs: 13}", "search.grace_epochs", 3, "at most the number of epochs, 12", "write 4"),
    (BOTH + "search: {scheduler: pbt}", "search.searcher", 3, "takes no searcher", "searcher: random"),
    (BOTH + "search: {concurrent_trials: 0}", "search.concurrent_trials", 3, "at least one trial", "write 1, or auto"),
    (
        BOTH + "search: {scheduler: pbt, searcher: random, trials_per_head: 1}",
        "search.trials_per_head", 3, "population of at least 2", "write 4",
    ),
    (
        NAME + "heads: {hybrid: {detach_margin: {values: [true, false]}, warmup_share: {min: 0.1, max: 0.5}}}",
        "heads.hybrid", 2, "at most 5 parameters", "make 1 of them constant, such as detach_margin: False, or",
    ),
    # the file itself
    ("", "the whole file", 1, "a mapping of keys", "begin with name: and heads:"),
    ("- a\n- b", "the whole file", 1, "a mapping of keys", "begin with name: and heads:"),
    ("just text", "the whole file", 1, "a mapping of keys", "begin with name: and heads:"),
    (BOTH + "name: again", "YAML", 3, "must be valid YAML", "remove one of the two"),
    (BOTH + "data:\n  source: mnist\n  source: idx", "YAML", 5, "must be valid YAML", "remove one of the two"),
    (BOTH + "training:\n  epochs: 3\n bad: 4", "YAML", 5, "must be valid YAML", "mend this line"),
    (BOTH + "training:\n\tepochs: 3", "YAML", 4, "must be valid YAML", "mend this line"),
    (BOTH + "description: 'open", "YAML", 3, "must be valid YAML", "mend this line"),
    (BOTH + "body: *nothing", "YAML", 3, "must be valid YAML", "mend this line"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "line", "rule", "fix"), WRONG, ids=[repr(row[0][-40:]) for row in WRONG])
def test_a_wrong_study_is_refused_with_place_line_rule_and_fix(
    tmp_path: Path, text: str, place: str, line: int | None, rule: str, fix: str
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text, encoding="utf-8")
    problems = refused(file)
    assert [(problem.place, problem.line) for problem in problems] == [(place, line)]
    assert rule in problems[0].rule
    assert fix in problems[0].fix


def test_what_is_wrong_is_printed_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(NAME + "heads:\n  arcface:\n    margin_rad: 28.6\n")
    with pytest.raises(StudyError) as caught:
        Study.load(file)
    assert str(caught.value).splitlines() == [
        f"{file}:4: heads.arcface.margin_rad",
        "  rule   must be from 0 to 3.14159 (rad)",
        "  value  28.6",
        "  fix    degrees? 28.6° = 0.499 rad",
    ]


def test_problems_of_one_kind_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: Wrong\nheads: {arcface: }\ntraining:\n  epochs: 0\n  lr: {min: 2, max: 1}\nsearsh: {}\n")
    assert [(problem.place, problem.line) for problem in refused(file)] == [
        ("name", 1),
        ("training.epochs", 4),
        ("training.lr", 5),
        ("searsh", 6),
    ]
    file.write_text(NAME + "heads:\n  arcfac:\n  cosface: {margin: 1, scale: 0}\n  softmax: {lr: 11}\n")
    assert [(problem.place, problem.line) for problem in refused(file)] == [
        ("heads.arcfac", 3),
        ("heads.cosface.margin", 4),
        ("heads.cosface.scale", 4),
        ("heads.softmax.lr", 5),
    ]


def test_an_unknown_head_and_an_unknown_key_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(NAME + "heads:\n  arcfac:\ntrainin: {}\n")
    assert {problem.place for problem in refused(file)} == {"heads.arcfac", "trainin"}


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_bytes(b"name: caf\xe9\nheads: {arcface: }\n")
    (problem,) = refused(file)
    assert "UTF-8" in problem.rule
    assert "0xe9" in problem.value


def test_a_study_that_does_not_exist_is_refused_with_the_shipped_ones(tmp_path: Path) -> None:
    for source in (tmp_path / "none.yaml", tmp_path, "no-such-study"):
        with pytest.raises(StudyError) as caught:
            Study.load(source)
        (problem,) = caught.value.problems
        assert problem.place == str(source)
        assert "quick" in problem.fix


def test_an_unquoted_truth_value_with_an_anchor_stays_one(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(BOTH + "tracking: {pictures: &no false}\nsearch: {start_from_defaults: *no}\n")
    study = Study.load(file)
    assert study.tracking.pictures is False
    assert study.search.start_from_defaults is False
