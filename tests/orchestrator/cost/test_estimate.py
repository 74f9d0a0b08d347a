"""What a study will take, worked out by hand from a made-up calibration; how that is told."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.cost import estimate
from orchestrator.cost.estimate import CostEstimate, Speed, Throughput
from orchestrator.planning import plan
from orchestrator.reporting import tables
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]
SLOW, FAST = Speed(1.0, 4.0, 1.0, 0.97, 4), Speed(1.0, 2.0, 1.0, 0.98, 4)  # of an epoch 5 s and 3 s
MEASURED = Throughput({"softmax": FAST, "arcface": SLOW}, process_s=5.0, ray_s=3.0)
FLEET = Fleet((Node(4, memory_bytes=16 * 10**9),))


@pytest.fixture
def estimated(tiny_study: MakeStudy, tmp_path: Path) -> Callable[..., CostEstimate]:
    """estimated(fleet=…, search={…}, …): two heads, two trials each, two epochs, on four cores unless changed."""

    def make(fleet: Fleet = FLEET, **changes: Any) -> CostEstimate:
        return estimate.of(plan.make(tiny_study(**changes), tmp_path / "results", fleet=fleet), MEASURED)

    return make


def hours(*seconds: float) -> Any:
    return pytest.approx(sum(seconds) / 3600)


def test_at_most_every_trial_runs_to_its_end(estimated: Callable[..., CostEstimate]) -> None:
    found = estimated()
    softmax, arcface = 1 + 2 * 3, 1 + 2 * 5  # all four at once, each in a process of its own
    assert found.search.most.wall_s == 5 + arcface
    assert found.search.most.cpu_hours == hours(2 * softmax, 2 * arcface, 4 * 5)
    assert found.confirmation.most.wall_s == 0
    assert found.launch.most.wall_s == 3 + 5 + arcface


def test_what_is_expected_has_the_epochs_that_asha_leaves(
    estimated: Callable[..., CostEstimate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "usual_epochs", lambda study: 1.75)
    found = estimated()
    assert found.epochs == 1.75
    assert found.search.expected.cpu_hours == hours(2 * (1 + 1.75 * 3), 2 * (1 + 1.75 * 5), 4 * 5)
    assert found.search.expected.wall_s == 5 + 1 + 2 * 5  # someone runs to the end, and is waited for
    one_by_one = estimated(search={"concurrent_trials": 1})
    assert one_by_one.search.expected.wall_s == pytest.approx(5 + 2 * (1 + 1.75 * 3) + 2 * (1 + 1.75 * 5))
    assert one_by_one.search.most.wall_s == 5 + 2 * 7 + 2 * 11


def test_without_a_scheduler_the_expected_is_the_most(estimated: Callable[..., CostEstimate]) -> None:
    found = estimated(search={"scheduler": "none"})
    assert found.search.expected == found.search.most


def test_the_confirmation_trains_to_the_end_in_new_processes(estimated: Callable[..., CostEstimate]) -> None:
    found = estimated(confirmation={"top": 1, "seeds": 3})  # six runs on four cores
    assert found.confirmation.expected == found.confirmation.most
    assert found.confirmation.most.wall_s == 5 + 7 + 11  # softmax, and where it ended the third arcface
    assert found.confirmation.most.cpu_hours == hours(3 * 7, 3 * 11, 4 * 5)
    assert found.launch.most.wall_s == 3 + found.search.most.wall_s + found.confirmation.most.wall_s


def test_final_models_train_on_the_validation_images_too(estimated: Callable[..., CostEstimate]) -> None:
    found = estimated(test={"seeds": 2})  # 80 images to train and 40 to validate: half as many more
    assert found.test.most.wall_s == 3 + 5 + 1 + 2 * (6 + 1)
    assert found.test.most.cpu_hours == hours(2 * (1 + 2 * (3 + 1)), 2 * (1 + 2 * (6 + 1)), 4 * 5)


def test_a_joint_search_may_give_all_trials_to_the_slowest_head(estimated: Callable[..., CostEstimate]) -> None:
    found = estimated(search={"joint": True, "scheduler": "none"})
    assert found.search.expected.cpu_hours == hours(2 * 7, 2 * 11, 4 * 5)
    assert found.search.most.cpu_hours == hours(4 * 11, 4 * 5)
    assert any("one head gets all" in each for each in found.assumptions)


def test_heads_hold_what_their_profiles_say(estimated: Callable[..., CostEstimate]) -> None:
    fleet = Fleet((Node(4, gpu=1, memory_bytes=64 * 10**9),), "10.0.0.1:6379")
    resources = {"heads": {"arcface": {"cpu": 2, "gpu": 0.5}}, "prices": {"cpu_hour": 36.0, "gpu_hour": 360.0}}
    found = estimated(fleet, resources=resources, search={"scheduler": "none"})
    used = found.search.most
    assert used.wall_s == 5 + 11 + 5 + 7  # softmax 1, arcface 2, arcface 2, and a softmax that had to wait for room
    assert used.cpu_hours == hours(2 * 12, 2 * 2 * 16)
    assert used.gpu_hours == hours(2 * 16 * 0.5)
    assert used.cost(found.prices) == pytest.approx((24 + 64) / 100 + 16 / 10)
    assert found.unpriced() == []
    assert any("every node is as fast as this machine" in each for each in found.assumptions)


def test_more_trials_at_a_time_than_were_measured_are_said(estimated: Callable[..., CostEstimate]) -> None:
    fleet = Fleet((Node(64, memory_bytes=640 * 10**9),))
    assert "64 trials at a time are each as fast as 4 were here" in estimated(fleet).assumptions


def test_an_estimate_is_told_as_json_with_units(estimated: Callable[..., CostEstimate]) -> None:
    told = json.loads(json.dumps(estimated().as_dict(), allow_nan=False))
    assert list(told) == [
        "heads", "process_start_s", "ray_start_s", "epochs_of_a_trial", "search", "confirmation", "launch", "test",
        "currency", "unpriced", "assumptions",
    ]  # fmt: skip
    assert told["heads"]["arcface"] == {
        "setup_s": 1.0, "train_s": 4.0, "validation_s": 1.0, "core_share": 0.97, "at_a_time": 4, "epoch_s": 5.0,
    }  # fmt: skip
    assert list(told["launch"]) == ["expected", "most"]
    assert list(told["launch"]["most"]) == ["wall_s", "cpu_hours", "gpu_hours", "tpu_hours", "cost"]
    assert (told["launch"]["most"]["cost"], told["currency"], told["unpriced"]) == (None, None, ["cpu"])
    priced = estimated(resources={"prices": {"currency": "EUR", "cpu_hour": 3.6}}).as_dict()
    assert priced["search"]["most"]["cost"] == pytest.approx((2 * 7 + 2 * 11 + 4 * 5) / 1000)
    assert (priced["currency"], priced["unpriced"]) == ("EUR", [])


def printed(found: CostEstimate) -> str:
    console = Console(file=io.StringIO(), width=200)
    for thing in tables.estimate(found):
        console.print(thing, highlight=False, markup=False)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_person_reads_time_hours_and_cost_with_its_currency(estimated: Callable[..., CostEstimate]) -> None:
    prices = {"currency": "EUR", "cpu_hour": 3.6, "tpu_hour": 1.2}
    text = printed(estimated(resources={"prices": prices}, search={"scheduler": "none"}))
    rows = {line.split("│")[1].strip(): line for line in text.splitlines() if line.startswith("│")}
    assert [cell.strip() for cell in rows["search"].split("│")[2:8]] == ["16 s"] * 2 + ["0.0156"] * 2 + ["0.056"] * 2
    arcface = [cell.strip() for cell in rows["arcface"].split("│")[2:8]]
    assert arcface == ["5.00 s", "4.00 s", "1.00 s", "1.00 s", "4", "97%"]
    assert "confirm" not in rows  # there is none
    assert "cost (EUR)" in text
    assert "prices    3.6 EUR a core hour, 1.2 EUR a TPU chip hour\n" in text
    assert "starts    5.0 s for each process, 3.0 s for Ray" in text


def test_what_has_no_price_is_said(estimated: Callable[..., CostEstimate]) -> None:
    text = printed(estimated(resources={"prices": {"gpu_hour": 0.7}}))
    assert "prices    0.7 USD a GPU hour; core hours have no price and count nothing" in text
    text = printed(estimated())
    assert "cost (" not in text
    assert "prices    none; resources.prices: {currency: USD, cpu_hour: 0.04} makes a cost of the hours" in text


def test_what_is_expected_stands_before_the_most(estimated: Callable[..., CostEstimate]) -> None:
    text = printed(estimated(search={"concurrent_trials": 1}))
    (row,) = (line for line in text.splitlines() if "search " in line and line.startswith("│"))
    expected, most = (cell.strip() for cell in row.split("│")[2:4])
    assert (expected < most, most) == (True, "41 s")
    assert "expected: ASHA stops as many as if" in text


def test_a_busy_machine_is_said(tiny_study: MakeStudy, tmp_path: Path) -> None:
    planned = plan.make(tiny_study(), tmp_path / "results", fleet=FLEET)
    slowed = Throughput({"softmax": FAST, "arcface": Speed(1.0, 4.0, 1.0, 0.27, 4)}, 5.0, 3.0)
    assert not any("busy:" in each for each in estimate.of(planned, MEASURED).assumptions)
    assert any("as little as 27% of their cores" in each for each in estimate.of(planned, slowed).assumptions)
