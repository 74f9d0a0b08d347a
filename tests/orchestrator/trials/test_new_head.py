"""One more angular head takes two files: with them it is planned, trained, drawn, carried over and warned of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ray import tune
from torch import nn

from lightning_modules import heads
from lightning_modules.heads.base import Trunk
from lightning_modules.heads.margin_curve import margin_of
from orchestrator.planning import plan
from orchestrator.search.head_population import HeadPopulation
from orchestrator.search.schedulers.pbt import Pbt
from orchestrator.study.schema import Study
from orchestrator.tracking.workspace import margins_and_scales
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from search_spaces import transfer
from search_spaces.heads import HEADS, settings_of, space_of
from tests import toy_head
from tests.lightning_modules.heads import test_contract as contract


@pytest.fixture
def files(tmp_path: Path) -> Iterator[list[Path]]:
    with toy_head.added(tmp_path / "head") as written:
        yield written


@pytest.fixture
def study(files: list[Path], tiny_study: Callable[..., Study]) -> Study:
    return tiny_study(heads={"shrunk": {}, "softmax": {}}, embedding_dim=16, training={"epochs": 1})


def starts(dimensions: int = 3) -> dict[str, Any]:
    return {name: setting.auto(10, dimensions).start for name, setting in settings_of("shrunk").items()}


def test_a_head_is_two_files_and_known_while_they_lie_there(files: list[Path]) -> None:
    assert len(files) == 2
    assert "shrunk" in heads.names()
    assert [*HEADS][-2:] == ["shrunk", "sphereface"]


def test_without_its_files_a_head_is_unknown() -> None:
    assert "shrunk" not in heads.names()
    assert "shrunk" not in HEADS


def test_it_is_planned_and_trained_for_an_epoch(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", lambda metrics, checkpoint=None: told.append(metrics))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    planned = plan.make(study, tmp_path / "results")
    spaces = study.spaces(planned.data.num_classes)
    assert spaces["shrunk"]["margin_slope"].reason.startswith("margin_slope ≤ 0.5: 4 classes in 16-D leave 109°")
    params = {name: item.start for name, item in spaces["shrunk"].items()}

    config = {"trial": {"head": "shrunk", "seed": 5, "params": params, "checkpoint": None}}
    run_trial(config, planned.data, Task.of(study, np.arange(10)))
    assert [row["epoch"] for row in told] == [1]
    assert 0 < told[0]["objective"] <= 1


def test_its_margin_is_what_pbt_changes_and_what_is_drawn_against_its_scale(study: Study) -> None:
    assert margins_and_scales(study.searched()) == [("margin_slope", "scale")]
    found = Pbt().for_tune(study.spaces(10)["shrunk"], epochs=2)
    assert isinstance(found, HeadPopulation)
    assert {*found._scheduled} == {"margin_slope"}


@pytest.mark.usefixtures("files")
def test_its_margin_leaves_what_its_space_says_and_is_carried_at_an_equal_share() -> None:
    geometry, params = space_of("shrunk").margin, starts()
    seen = margin_of("shrunk", params)
    assert geometry
    assert seen
    assert geometry.slack(params, 1.2) == pytest.approx(float(seen.angular_slack(np.array(1.2))), abs=1e-9)
    there = transfer.carried("shrunk", params, (10, 3), (10, 2))
    here_rad, there_rad = 1.15448, 0.62832  # between ten class centres in 3-D and in 2-D
    assert geometry.share(there, there_rad) == pytest.approx(geometry.share(params, here_rad), abs=1e-4)


@pytest.mark.usefixtures("files")
def test_it_passes_the_contract_of_all_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(num_classes: int = 5, embedding_dim: int = 3, **options: Any) -> Any:
        torch.manual_seed(0)
        own = {"margin_slope": 0.2, "scale": 16.0} | options
        return heads.head_class("shrunk")(Trunk(nn.Identity(), num_classes, embedding_dim), **own)

    contract.test_gradient_is_the_derivative_of_the_loss(make)
    contract.test_loss_and_gradients_are_finite_at_the_edges(1e-8, torch.bfloat16, make)
    contract.test_head_is_computed_in_single_precision(torch.float16, True, make)
    contract.test_a_single_dimension_is_refused(make)
    contract.test_an_option_that_no_head_knows_is_refused(make)
    contract.test_a_step_asks_for_no_value(make, monkeypatch)
    contract.test_the_first_trials_settings_build_the_head("shrunk", 3)
