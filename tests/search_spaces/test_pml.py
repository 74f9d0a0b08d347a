"""The losses of pytorch-metric-learning, as read from its source, are those that are installed."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytorch_metric_learning import losses

from search_spaces import pml, pml_source
from search_spaces.distributions import Choice, Range
from search_spaces.heads import HEADS, UnknownHead, is_head, known_heads, settings_of
from search_spaces.settings import TRAINING

NAMES = pml.names()
FOLDER = pml_source.folder()
CLASSES = {name: value for name, value in vars(losses).items() if inspect.isclass(value)}


def own_constructors(loss: type) -> list[dict[str, inspect.Parameter]]:
    """The parameters of the constructor that runs first and of those that its **kwargs may reach."""
    found = []
    for base in loss.__mro__:
        if "__init__" in vars(base):
            found.append({**inspect.signature(base.__init__).parameters})  # type: ignore[misc]
            if not any(each.kind is each.VAR_KEYWORD for each in found[-1].values()):
                break
    return found


def test_every_loss_is_either_supported_or_left_out_with_a_reason() -> None:
    supported = {name.removeprefix("pml.") for name in NAMES}
    assert supported | set(pml.LEFT_OUT) == set(CLASSES)
    assert not supported & set(pml.LEFT_OUT)
    assert all(pml.LEFT_OUT.values())
    assert len(supported) == 29


@pytest.mark.parametrize("head", NAMES)
def test_settings_and_defaults_are_those_of_the_installed_class(head: str) -> None:
    name = head.removeprefix("pml.")
    expected: dict[str, Any] = {}
    for parameters in reversed(own_constructors(CLASSES[name])):
        expected |= {key: each.default for key, each in parameters.items()}
    left_out = {*pml_source.IDLE, "mat_based_loss", "collect_stats"}
    expected = {
        key: value
        for key, value in expected.items()
        if isinstance(value, bool | int | float | str) and key not in left_out
    }
    assert FOLDER is not None
    assert pml_source.constructor(FOLDER, name).defaults == expected
    filled = {key: value for key, (value, _) in pml.REQUIRED.get(name, {}).items()}
    starts = {key: setting.auto(10, 3).start for key, setting in pml.space(head).settings.items()}
    starts.pop("head_lr", None)
    assert starts == expected | filled


@pytest.mark.parametrize("head", NAMES)
def test_what_a_loss_cannot_do_without_is_supplied_or_has_a_default(head: str) -> None:
    name = head.removeprefix("pml.")
    known = [each for parameters in own_constructors(CLASSES[name]) for each in parameters.values()]
    plain = [each for each in known if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"]
    required = {each.name for each in plain if each.default is each.empty} - {"mat_based_loss"}
    assert FOLDER is not None
    taken = pml_source.constructor(FOLDER, name)
    assert {*taken.needs, *taken.required} == required
    assert set(taken.required) == set(pml.REQUIRED.get(name, {}))


@pytest.mark.parametrize("head", NAMES)
def test_auto_is_valid_starts_at_the_default_and_searches_at_most_four(head: str) -> None:
    searched = []
    for name, setting in settings_of(head).items():
        auto = setting.auto(10, 3)
        assert auto.parameter.contains(auto.start)
        assert auto.reason
        assert setting.refusal(auto.start) is None
        if isinstance(auto.parameter, Range):
            assert [setting.refusal(end) for end in (auto.parameter.low, auto.parameter.high)] == [None, None]
        if not auto.parameter.is_constant:
            searched.append(name)
            assert setting.when is None
        if name not in (*TRAINING, "head_lr") and isinstance(auto.parameter, Range):
            assert auto.parameter.log
            assert auto.parameter.low == pytest.approx(float(auto.start) / 3)
            assert auto.parameter.high <= 3 * float(auto.start)
            assert "a third to three times" in auto.reason
    assert searched[0] == "lr"
    assert len(searched) <= 4


def searched(head: str) -> list[str]:
    space = {name: setting.auto(10, 3).parameter for name, setting in settings_of(head).items()}
    return [name for name, parameter in space.items() if not parameter.is_constant]


def test_what_is_learned_has_a_learning_rate_and_margins_are_searched_before_scales() -> None:
    assert searched("pml.ProxyAnchorLoss") == ["lr", "head_lr", "margin", "alpha"]
    assert searched("pml.SoftTripleLoss") == ["lr", "head_lr", "la", "margin"]
    assert searched("pml.ThresholdConsistentMarginLoss") == ["lr", "lambda_plus", "margin_plus", "margin_minus"]
    assert searched("pml.SupConLoss") == ["lr", "temperature"]
    assert "head_lr" not in settings_of("pml.SupConLoss")
    assert settings_of("pml.MarginLoss")["head_lr"].when == ("learn_beta", True)
    reason = settings_of("pml.SupConLoss")["temperature"].auto(10, 3).reason
    assert reason == "a third to three times the loss's own default 0.1"


def test_kinds_of_values_are_told_apart() -> None:
    triple = settings_of("pml.SoftTripleLoss")
    assert triple["centers_per_class"].refusal(2) is None
    assert triple["centers_per_class"].refusal(2.0) == ("must be a whole number", "write 2")
    assert triple["centers_per_class"].refusal(0) is not None
    assert triple["gamma"].refusal(0) is not None
    assert triple["la"].refusal(20.5) is None
    assert settings_of("pml.SphereFaceLoss")["margin"].refusal(1.35) == ("must be a whole number", "write 1")
    assert settings_of("pml.PNPLoss")["variant"].valid == Choice(("Ds", "Dq", "Iu", "Ib", "O"))
    assert settings_of("pml.PNPLoss")["b"].when == ("variant", "Ib")
    assert settings_of("pml.TripletMarginLoss")["swap"].refusal(1) is not None
    assert settings_of("pml.TripletMarginLoss")["triplets_per_anchor"].refusal("some") is not None
    angle = settings_of("pml.ArcFaceLoss")["margin"].refusal(200)
    assert angle is not None
    assert "degrees" in angle[0]
    assert settings_of("pml.RankedListLoss")["Tn"].auto(10, 3).parameter == Range(5 / 3, 5.0, log=True)


def test_the_heads_that_are_known_are_ours_and_theirs() -> None:
    assert known_heads() == [*HEADS, *NAMES]
    assert is_head("arcface")
    assert is_head("pml.SupConLoss")
    assert not any(map(is_head, ("pml", "pml.", "pml.VICRegLoss", "SupConLoss", "pml.supconloss", 3)))
    for head in ("pml.VICRegLoss", "pml.Nothing", "nothing"):
        with pytest.raises(UnknownHead, match=f"there is no head '{head}'; "):
            settings_of(head)


def test_a_conditional_setting_comes_after_its_condition() -> None:
    for head in NAMES:
        settings = settings_of(head)
        for place, setting in enumerate(settings.values()):
            if setting.when:
                assert setting.when[0] in list(settings)[:place]
                assert settings[setting.when[0]].valid.contains(setting.when[1])


def test_nothing_is_offered_where_the_package_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pml_source, "folder", lambda: None)
    assert pml.names() == []
    assert not pml.is_installed()
    assert pml.refusal("pml.SupConLoss") == (
        "losses of pytorch-metric-learning come with an extra",
        "pip install 'embedding-head-orchestrator[metric-learning]'",
    )
    assert pml.refusal("arcface") is None
    with pytest.raises(UnknownHead, match="come with an extra; pip install"):
        settings_of("pml.SupConLoss")


def test_a_loss_that_needs_what_nobody_knows_is_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").write_text("from .new import NewLoss\n")
    (tmp_path / "new.py").write_text("class NewLoss:\n    def __init__(self, secret, scale=2.0): ...\n")
    monkeypatch.setattr(pml_source, "folder", lambda: tmp_path)
    assert pml.names() == []
    refusal = pml.refusal("pml.NewLoss")
    assert refusal is not None
    assert refusal[0] == "NewLoss needs secret, without a default"


def test_reading_the_losses_loads_no_torch() -> None:
    code = (
        "import sys; from search_spaces import heads\n"
        "settings = [heads.settings_of(head) for head in heads.known_heads()]\n"
        "print(len(settings) > 30, {'torch', 'pytorch_metric_learning', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True set()"
