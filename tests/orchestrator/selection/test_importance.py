"""What each setting matters: against projections, in simulations of known truth, and where nothing can be said."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from orchestrator.selection.importance import Importance, Importances, of_head
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from tests.orchestrator.selection.test_noncentral_f import by_definition

Array = NDArray[np.float64]
Effect = Callable[[Array], Array]
LOG = {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-1}
CONSTANTS = {"lr": 0.01, "head_lr": 0.05, "margin_rad": 0.3, "scale": 32.0}
RANGES = {"lr": LOG, "head_lr": LOG, "margin_rad": {"min": 0.1, "max": 0.5}, "scale": {"min": 8, "max": 64}}
DRAWS = 300
SLACK = 3 * math.sqrt(0.05 * 0.95 / DRAWS)
NO_RESULT = "no trial has ended with a result"


def trial(index: int, params: dict[str, Any], *objectives: float, status: Any = "completed", head: str = "") -> Trial:
    rows = [{"epoch": epoch, "objective": objective} for epoch, objective in enumerate(objectives, start=1)]
    return Trial(f"{head}-{index:03d}", head or "arcface", index, index, CONSTANTS | params, status, "", rows)


def trials_of(objectives: Sequence[float] | Array, values: dict[str, Any]) -> list[Trial]:
    """A trial of one epoch for each objective, with the values that the settings have in its place."""
    rows = [{name: each[index] for name, each in values.items()} for index in range(len(objectives))]
    return [trial(index, row, float(objectives[index])) for index, row in enumerate(rows)]


def of_arcface(trials: list[Trial], scheduler: str = "none", **settings: Any) -> Importances:
    heads = {"arcface": CONSTANTS | settings}
    study = Study.model_validate({"name": "made", "heads": heads, "search": {"scheduler": scheduler}})
    return of_head(study, 4, "arcface", trials)


def ranges_drawn(chance: np.random.Generator, n: int) -> tuple[Array, dict[str, list[Any]]]:
    """Where n trials are in each of RANGES, from −1 to 1 (n, 4), and the values there."""
    places = chance.uniform(-1, 1, (n, 4))
    lr, head_lr = (10 ** (places[:, column] - 2) for column in (0, 1))
    margin, scale = 0.3 + 0.2 * places[:, 2], np.round(36 + 28 * places[:, 3]).astype(int)
    return places, {name: each.tolist() for name, each in zip(RANGES, (lr, head_lr, margin, scale), strict=True)}


def by_name(found: Importances) -> dict[str, Importance]:
    assert found.reason == ""
    return {each.parameter: each for each in found.parameters}


def told(found: Importances) -> list[str]:
    return [name for name, each in by_name(found).items() if each.told]


def squares(values: Sequence[float], log: bool = False) -> Array:
    numbers = np.log(values) if log else np.array(values, float)
    return np.stack([numbers, numbers**2], axis=1)


def surface(values: dict[str, list[Any]]) -> dict[str, Array]:
    """What is regressed on of each of RANGES."""
    return {name: squares(each, log=RANGES[name] == LOG) for name, each in values.items()}


def by_hand(objectives: Sequence[float] | Array, blocks: dict[str, Array]) -> dict[str, tuple[float, ...]]:
    """share, F, its degrees of freedom and corrected p of each setting, from projections and scipy's F."""
    n = len(objectives)
    scores = stats.norm.ppf(stats.rankdata(objectives) / (n + 1))

    def projection(names: list[str]) -> Array:
        design = np.concatenate([np.ones((n, 1)), *(stats.zscore(blocks[name], axis=0) for name in names)], axis=1)
        return np.asarray(design @ np.linalg.pinv(design))

    whole = projection(list(blocks))
    error, freedom = scores @ (np.eye(n) - whole) @ scores, n - round(np.trace(whole))
    found = {}
    for name in blocks:
        own_space = whole - projection([other for other in blocks if other != name])
        own, effect = round(np.trace(own_space)), max(0.0, scores @ own_space @ scores)
        f = effect / own / (error / freedom)
        share = max(0.0, (effect - own * error / freedom) / (effect + error))
        found[name] = (share, f, own, freedom, float(stats.f.sf(f, own, freedom)))
    ordered = sorted(found, key=lambda name: found[name][-1])
    raised = np.maximum.accumulate([found[name][-1] * (len(ordered) - k) for k, name in enumerate(ordered)])
    return {name: (*found[name][:-1], min(1.0, p)) for name, p in zip(ordered, raised.tolist(), strict=True)}


def assert_as_by_hand(found: Importances, expected: dict[str, tuple[float, ...]]) -> None:
    known = by_name(found)
    assert known.keys() == expected.keys()
    for name, (share, f, own, freedom, p) in expected.items():
        assert (known[name].share, known[name].p) == pytest.approx((share, p), rel=1e-5, abs=1e-7)
        for end, chance in zip(known[name].interval, (0.975, 0.025), strict=True):
            below = by_definition(f, int(own), int(freedom), end / (1 - end) * (own + freedom))
            assert below == pytest.approx(chance, abs=1e-7) or (end == 0 and below < chance)


@pytest.mark.parametrize("n", [12, 16, 30, 80])
@pytest.mark.parametrize(("effect", "decimals"), [(0.0, 9), (0.5, 9), (3.0, 9), (1.0, 0)])
def test_share_interval_and_p_are_those_of_the_f_test_also_with_ties(n: int, effect: float, decimals: int) -> None:
    chance = np.random.default_rng([n, int(10 * effect)])
    places, values = ranges_drawn(chance, n)
    objectives = np.round(effect * (places[:, 0] - places[:, 2] ** 2) + chance.standard_normal(n), decimals)
    found = of_arcface(trials_of(objectives, values), **RANGES)
    assert_as_by_hand(found, by_hand(objectives, surface(values)))
    assert (found.trials, found.epoch, found.left_out) == (n, 1, ())
    assert [each.share for each in found.parameters] == sorted((each.share for each in found.parameters), reverse=True)


@pytest.mark.parametrize("log", [True, False])
def test_a_range_is_read_on_the_axis_on_which_it_was_searched(log: bool) -> None:
    chance = np.random.default_rng(2)
    lr = (10 ** chance.uniform(-3, -1, 25)).tolist()
    objectives = -((np.log10(lr) + 2) ** 2) + 0.1 * chance.standard_normal(25)
    found = of_arcface(trials_of(objectives, {"lr": lr}), lr=LOG if log else {"min": 1e-3, "max": 1e-1})
    expected, otherwise = (by_hand(objectives, {"lr": squares(lr, axis)}) for axis in (log, not log))
    assert_as_by_hand(found, expected)
    assert (found.parameters[0].share > otherwise["lr"][0] + 0.1) == log


@pytest.mark.parametrize("values", [[8, 16], [8, 16, 64]])
def test_a_single_choice_is_a_one_way_analysis_of_variance(values: list[int]) -> None:
    scale = [values[index % len(values)] for index in range(24)]
    objectives = 0.02 * np.array(scale) + np.random.default_rng(3).standard_normal(24)
    (found,) = of_arcface(trials_of(objectives, {"scale": scale}), scale={"values": values}).parameters
    scores = stats.norm.ppf(stats.rankdata(objectives) / 25)
    assert found.p == pytest.approx(stats.f_oneway(*(scores[np.array(scale) == value] for value in values)).pvalue)


def test_choices_stand_beside_ranges() -> None:
    chance = np.random.default_rng(4)
    places, values = ranges_drawn(chance, 30)
    scale = chance.choice([8, 16, 64], 30)
    objectives = 0.03 * scale + places[:, 0] + chance.standard_normal(30)
    one_of = np.stack([scale == value for value in (8, 16)], axis=1).astype(float)
    trials = trials_of(objectives, {"lr": values["lr"], "scale": scale.tolist()})
    found = of_arcface(trials, lr=LOG, scale={"values": [8, 16, 32, 64]})
    assert_as_by_hand(found, by_hand(objectives, {"lr": squares(values["lr"], log=True), "scale": one_of}))


def simulated(n: int, effect: Effect) -> list[Importances]:
    """What is said of four settings in each of DRAWS searches with noise of variance 1."""
    found = []
    for draw in range(DRAWS):
        chance = np.random.default_rng([5, n, draw])
        places, values = ranges_drawn(chance, n)
        found.append(of_arcface(trials_of(effect(places) + chance.standard_normal(n), values), **RANGES))
    return found


@pytest.mark.parametrize("n", [12, 16, 30])
def test_where_nothing_matters_hardly_any_setting_is_told(n: int) -> None:
    found = simulated(n, lambda places: np.zeros(len(places)))
    assert np.mean([bool(told(each)) for each in found]) <= 0.05 + SLACK
    assert np.mean([each.interval[0] == 0 for known in found for each in known.parameters]) >= 0.95


@pytest.mark.parametrize("n", [16, 30])
@pytest.mark.parametrize(
    "effect",
    [lambda places: math.sqrt(3) * places[:, 0], lambda places: -math.sqrt(45 / 4) * (places[:, 0] ** 2 - 1 / 3)],
    ids=["straight", "best in the middle"],
)
def test_half_of_the_variance_is_covered_and_told(n: int, effect: Effect) -> None:
    """A place is uniform from −1 to 1, of variance 1/3, and its square of 4/45: either effect has variance 1."""
    found = simulated(n, effect)
    lr = [by_name(each)["lr"] for each in found]
    assert np.mean([each.interval[0] <= 0.5 <= each.interval[1] for each in lr]) >= 0.9
    assert 0.3 <= np.median([each.share for each in lr]) <= 0.6
    assert np.mean([bool({*told(each)} - {"lr"}) for each in found]) <= 0.05 + SLACK
    if n == 30:
        assert np.mean([each.told for each in lr]) >= 0.75


def searched(seed: int = 7, n: int = 20) -> tuple[Array, dict[str, list[Any]]]:
    """Objectives that the learning rate decides, and the values behind them."""
    chance = np.random.default_rng(seed)
    places, values = ranges_drawn(chance, n)
    return 0.9 + 0.03 * places[:, 0] + 0.01 * chance.standard_normal(n), values


@pytest.mark.parametrize("seed", range(10))
def test_a_collapsed_trial_does_not_hide_an_effect(seed: int) -> None:
    objectives, values = searched(seed, 30)
    objectives[np.argsort(values["lr"])[14]] = 0.02
    assert stats.pearsonr(np.log(values["lr"]), objectives).pvalue > 0.1
    assert told(of_arcface(trials_of(objectives, values), **RANGES)) == ["lr"]


@pytest.mark.parametrize("transformed", [np.exp, lambda x: np.log(x / (1 - x)), lambda x: 50 * x**9 - 3])
def test_only_the_order_of_the_objectives_counts(transformed: Effect) -> None:
    objectives, values = searched()
    found = [of_arcface(trials_of(each, values), **RANGES) for each in (objectives, transformed(objectives))]
    assert found[0] == found[1]


def test_constants_are_not_listed_and_what_does_not_differ_is_left_out() -> None:
    objectives, values = searched()
    found = of_arcface(trials_of(objectives, {"lr": values["lr"]}), lr=LOG, scale={"values": [32, 64]})
    assert list(by_name(found)) == ["lr"]
    assert found.left_out == ("scale",)


@pytest.mark.parametrize(("magnitudes", "left_out"), [(["feature", "fixed"], "scale"), (["fixed"], "magnitude")])
def test_a_setting_that_only_some_trials_have_is_left_out(magnitudes: list[str], left_out: str) -> None:
    chance, trials = np.random.default_rng(8), []
    for index in range(20):
        magnitude = magnitudes[index % len(magnitudes)]
        scale = {"scale": chance.uniform(20, 99)} if magnitude == "fixed" else {}
        trials.append(trial(index, {}, chance.uniform(), head="sphereface"))
        trials[-1].params = {"lr": chance.uniform(0.002, 0.03), "magnitude": magnitude, **scale}
    found = of_head(Study(name="made", heads={"sphereface": {"margin_mult": 1.4}}), 10, "sphereface", trials)
    assert found.left_out == (left_out,)
    assert by_name(found).keys() == {"lr", "magnitude", "scale"} - {left_out}


def test_what_did_not_end_well_and_other_heads_are_not_counted() -> None:
    trials = trials_of(*searched())
    more = [trial(90, {"lr": 0.1}, 0.2, status=status) for status in ("failed", "diverged", "running")]
    more += [trial(95, {"lr": 0.1}), trial(96, {"lr": 0.1}, 0.3, head="cosface")]
    assert of_arcface([*more, *trials], **RANGES) == of_arcface(trials, **RANGES)
    assert of_arcface(more, **RANGES).reason == NO_RESULT


def test_trials_are_compared_after_the_last_epoch_that_all_have_reached() -> None:
    short, later = trials_of(*searched()), np.random.default_rng(9).uniform(size=20).tolist()
    long = [trial(each.index, each.params, 0.1, each.objective or 0.0, later[each.index]) for each in short]
    long[3].epochs.pop()
    long[3].status = "stopped"
    found = of_arcface(long, **RANGES)
    assert (found.epoch, found.trials) == (2, 20)
    assert found.parameters == of_arcface(short, **RANGES).parameters


def test_a_trial_of_which_that_epochs_line_is_lost_is_left_out() -> None:
    trials = [trial(each.index, each.params, 0.1, each.objective or 0.0) for each in trials_of(*searched())]
    others = of_arcface(trials[:3] + trials[4:], **RANGES)
    trials[3].epochs = [{"epoch": 1, "objective": 0.1}, {"epoch": 3, "objective": 0.2}]
    found = of_arcface(trials, **RANGES)
    assert (found.epoch, found.trials) == (2, 19)
    assert found.parameters == others.parameters


def test_where_nothing_can_be_said_there_is_a_reason() -> None:
    objectives, values = searched()
    trials = trials_of(objectives, values)
    said = {
        NO_RESULT: of_arcface([], **RANGES),
        "4 settings need at least 12 trials with a result, and it has 11": of_arcface(trials[:11], **RANGES),
        "1 setting needs at least 6 trials with a result, and it has 5": of_arcface(trials[:5], lr=LOG),
        "all its trials reached the same": of_arcface(trials_of([0.5] * 20, values), **RANGES),
        "no setting differs between its trials": of_arcface(trials),
        "PBT changes settings while a trial trains": of_arcface(trials, scheduler="pbt", **RANGES),
    }
    for reason, found in said.items():
        assert (found.reason, found.parameters) == (reason, ())
    assert len(by_name(of_arcface(trials[:12], **RANGES))) == 4


def test_settings_that_cannot_be_told_from_each_other_are_not_told() -> None:
    objectives, values = searched()
    values["head_lr"] = [3 * lr for lr in values["lr"]]
    found = by_name(of_arcface(trials_of(objectives, values), **RANGES))
    for name in ("lr", "head_lr"):
        assert (found[name].share, found[name].interval, found[name].p) == (0, (0, 1), 1)


GRID = {"detach_margin": (False, True), "scale": (8, 16), "margin_rad": (0.1, 0.5), "head_lr": (0.01, 0.02)}
POINTS = dict(zip(GRID, zip(*itertools.product(*GRID.values()), strict=True), strict=True))


def of_grid(objectives: Sequence[float] | Array) -> Importances:
    return of_arcface(trials_of(objectives, POINTS), **{name: {"values": list(each)} for name, each in GRID.items()})


def test_a_setting_with_exactly_no_effect_does_not_disturb_the_others() -> None:
    blocks = {name: np.array(each, float)[:, None] for name, each in POINTS.items()}
    for draw in range(60):
        objectives = np.random.default_rng([10, draw]).integers(0, 2, 16)
        assert_as_by_hand(of_grid(objectives), by_hand(objectives, blocks))


def test_a_perfect_fit_lies_in_its_own_interval() -> None:
    first, *others = of_grid(POINTS["scale"]).parameters
    assert (first.parameter, first.told) == ("scale", True)
    assert 0.999 < first.interval[0] <= first.share <= first.interval[1] <= 1
    assert [(each.share, each.p) for each in others] == [(0, 1)] * 3


def test_json_holds_numbers_only() -> None:
    objectives, values = searched()
    every = [of_arcface(trials_of(objectives, each), **RANGES) for each in (values, values | {"head_lr": values["lr"]})]
    every += [of_grid(POINTS["scale"]), of_arcface([], **RANGES)]
    held = [json.loads(json.dumps(found.as_dict(), allow_nan=False)) for found in every]
    assert [(each["trials"], len(each["settings"])) for each in held] == [(20, 4), (20, 4), (16, 4), (0, 0)]
    lr = every[0].parameters[0]
    assert [*held[0]["settings"][0].values()] == ["lr", lr.share, [*lr.interval], lr.p]
