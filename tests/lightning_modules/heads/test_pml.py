"""Every loss of pytorch-metric-learning as a head: the package's own values, gradients, training, models on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_metric_learning import losses
from torch import Tensor, nn

from lightning_modules.heads import head_class
from lightning_modules.heads.base import EmbeddingModule, Trunk
from lightning_modules.heads.margin_curve import is_spherical, margin_of
from lightning_modules.heads.pml import IMAGES_PER_CLASS, PAIRS_BY_PAIRS
from lightning_modules.models import model_config
from lightning_modules.models.model_config import Blueprint, ModelError
from search_spaces import pml
from search_spaces.heads import settings_of

HEADS = pml.names()
CLASSES, DIMENSIONS, EACH = 4, 3, 8
LABELS = torch.arange(CLASSES).repeat_interleave(EACH)[
    torch.randperm(CLASSES * EACH, generator=torch.Generator().manual_seed(5))
]
KNOWN = {"num_classes": CLASSES, "embedding_size": DIMENSIONS, "descriptors_dim": DIMENSIONS}
NEVER_SEPARATE = ("pml.IntraPairVarianceLoss",)  # evens out similarities, whatever they are: a term beside another loss


def defaults(head: str) -> dict[str, Any]:
    settings = settings_of(head).items()
    return {name: setting.auto(CLASSES, DIMENSIONS).start for name, setting in settings if setting.when is None}


def own(head: str) -> dict[str, Any]:
    return {name: defaults(head)[name] for name in pml.space(head).settings if name in defaults(head)}


def design(head: str) -> Blueprint:
    return Blueprint(head, defaults(head), "strided", {"width": 4}, DIMENSIONS, CLASSES, (9, 7, 1), 30.0, 60.0)


def built(head: str, **changed: Any) -> Any:
    torch.manual_seed(0)
    settings = {name: value for name, value in own(head).items() if name != "head_lr"} | changed
    return head_class(head)(Trunk(nn.Identity(), CLASSES, DIMENSIONS), **settings)


def points(seed: int = 3) -> Tensor:
    return torch.randn(len(LABELS), DIMENSIONS, generator=torch.Generator().manual_seed(seed))


def by_the_package(head: str, module: Any, embeddings: Tensor) -> Tensor:
    """The loss as a user of the package would make and call it, with the same proxies."""
    loss_class = getattr(losses, head.removeprefix("pml."))
    settings = {name: value for name, value in own(head).items() if name != "head_lr"}
    needs = {name: value for name, value in KNOWN.items() if name in arguments(loss_class)}
    theirs = loss_class(**needs, **settings)
    theirs.load_state_dict(module.metric.state_dict())
    value: Tensor = theirs(embeddings, LABELS)
    return value


def arguments(loss_class: Any) -> set[str]:
    """What the constructors of a loss and of its bases cannot do without."""
    codes = [
        vars(base)["__init__"].__code__
        for base in loss_class.__mro__
        if hasattr(vars(base).get("__init__"), "__code__")
    ]
    optional = {"num_classes"} if loss_class is losses.MarginLoss else set()
    return {name for code in codes for name in code.co_varnames[: code.co_argcount]} - optional


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")
def test_the_value_and_its_gradient_are_those_of_the_package(head: str) -> None:
    module = built(head)
    ours, theirs = points().requires_grad_(), points().requires_grad_()
    loss, expected = module.loss(ours, LABELS), by_the_package(head, module, theirs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.item() > 0
    slopes, their_slopes = torch.autograd.grad(loss, ours)[0], torch.autograd.grad(expected, theirs)[0]
    assert slopes.isfinite().all()
    assert slopes.norm() > 1e-4
    torch.testing.assert_close(slopes, their_slopes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_built_from_its_defaults_saved_and_loaded(head: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module: Any = design(head).build()
    model_config.save(tmp_path, design(head), module.state_dict(), {"trial": f"{head}-000"})
    known, again = model_config.load(tmp_path)
    assert known == design(head)
    images = torch.randint(256, (len(LABELS), 9, 7), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(again(images), module.eval()(images))
        assert torch.equal(again.loss(points(), LABELS), module.loss(points(), LABELS))
    learned = [name for name, _ in module.named_parameters() if not name.startswith("body.")]
    assert bool(learned) == ("head_lr" in settings_of(head) and head != "pml.MarginLoss")
    assert all(name.startswith("metric.") for name in learned)
    assert len(list(module.head_parameters())) == len(learned)
    assert module.images_per_class == (None if learned else IMAGES_PER_CLASS)
    assert is_spherical(head, {**defaults(head), "lr": 0.1})
    assert margin_of(head, defaults(head)) is None
    assert head_class(head).loss_name == head.removeprefix("pml.")  # type: ignore[attr-defined]


def separation(embeddings: Tensor, labels: Tensor) -> float:
    """The mean cosine of images of one class less that of images of different ones."""
    units = nn.functional.normalize(embeddings)
    cosines, same = units @ units.T, labels[:, None] == labels[None, :]
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("head", HEADS)
def test_training_separates_the_classes(head: str) -> None:
    """Fresh noise in every step; measured on a batch that is never trained on."""
    module, generator = built(head), torch.Generator().manual_seed(1)
    means, body = 2 * torch.randn(CLASSES, 6, generator=generator), nn.Linear(6, DIMENSIONS)

    def batch() -> tuple[Tensor, Tensor]:
        labels = LABELS[torch.randperm(len(LABELS), generator=generator)]
        return means[labels] + torch.randn(len(labels), 6, generator=generator), labels

    def measured() -> tuple[float, float]:
        with torch.no_grad():
            return module.loss(body(held_out), their_labels).item(), separation(body(held_out), their_labels)

    held_out, their_labels = batch()
    optimizer = torch.optim.Adam([*body.parameters(), *module.parameters()], lr=0.03)
    loss, apart = measured()
    for _ in range(60):
        images, labels = batch()
        optimizer.zero_grad()
        module.loss(body(images), labels).backward()
        optimizer.step()
    trained_loss, trained_apart = measured()
    assert trained_loss < loss
    assert trained_apart > apart + 0.05 or head in NEVER_SEPARATE


@pytest.mark.parametrize("head", HEADS)
def test_a_head_is_computed_in_single_precision_outside_autocast(head: str) -> None:
    module = built(head)
    embeddings = points().bfloat16()
    full = module.loss(embeddings.float(), LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = module.loss(embeddings, LABELS)
    assert low.dtype == torch.float32
    assert torch.equal(low, full)


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_head(head: str) -> None:
    assert torch.equal(built(head).loss(points(), LABELS), built(head).loss(points(), LABELS))


@pytest.mark.parametrize("head", [head for head in HEADS if built(head).images_per_class])
def test_a_batch_of_one_class_costs_nothing_that_cannot_be_trained(head: str) -> None:
    embeddings = points().requires_grad_()
    loss = built(head).loss(embeddings, torch.zeros_like(LABELS))
    loss.backward()
    assert loss.isfinite()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("name", PAIRS_BY_PAIRS)
def test_class_by_class_is_all_at_once_for_classes_of_any_size(name: str) -> None:
    module, labels = built(f"pml.{name}"), torch.tensor([0] * 2 + [1] * 9 + [2] * 20 + [3])
    embeddings = points()
    torch.testing.assert_close(module.loss(embeddings, labels), module.metric(embeddings, labels))


def test_proxies_are_the_heads_own_group_of_the_optimiser(fit: Callable[..., Any], blots: Any) -> None:
    head = make(blots, "pml.ProxyAnchorLoss")
    trainer = fit(head, epochs=1)
    body, own_group = trainer.optimizers[0].param_groups
    assert [parameter.shape for parameter in own_group["params"]] == [(head.num_classes, head.embedding_dim)]
    assert own_group["weight_decay"] == 0
    assert len(body["params"]) == len(list(head.body.parameters()))


def make(blots: Any, name: str) -> EmbeddingModule:
    """A head whose body takes the images of `blots`."""
    shape = blots.train.image_shape
    sizes = (DIMENSIONS, blots.num_classes, shape, 0.0, 255.0)
    return Blueprint(name, defaults(name), "strided", {"width": 4}, *sizes).build()


@pytest.mark.parametrize("name", ["pml.SupConLoss", "pml.ArcFaceLoss"])
def test_a_fit_learns_and_repeats_itself(name: str, fit: Callable[..., Any], blots: Any) -> None:
    measured = []
    for _ in range(2):
        torch.manual_seed(0)
        trainer = fit(make(blots, name), epochs=3)
        measured.append({key: float(value) for key, value in trainer.callback_metrics.items()})
    assert measured[0] == measured[1]
    assert measured[0]["val/cluster_accuracy"] > 0.5


def test_a_learned_beta_is_a_parameter() -> None:
    assert not list(built("pml.MarginLoss").parameters())
    module = built("pml.MarginLoss", learn_beta=True, nu=0.1)
    assert [name for name, _ in module.named_parameters()] == ["metric.beta"]
    assert is_spherical("pml.MarginLoss", {"margin": 0.1, "learn_beta": True, "lr": 0.1, "head_lr": 0.1})


def test_a_setting_that_a_loss_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        built("pml.SupConLoss", colour="red")


def test_without_the_package_a_model_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "pml.NCALoss"
    model_config.save(tmp_path, design(head), design(head).build().state_dict(), {})
    from lightning_modules.heads import pml as heads

    heads.of_loss.cache_clear()
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(ModelError, match=r"pip install 'embedding-head-orchestrator\[metric-learning\]'"):
        model_config.load(tmp_path)


def test_a_loss_that_does_not_exist_is_no_head() -> None:
    with pytest.raises(ImportError, match="no loss NoSuchLoss"):
        head_class("pml.NoSuchLoss")


@pytest.mark.parametrize("asked", [{"body_options": {"hidden": 65_536}}, {"num_classes": 2**24}])
@pytest.mark.parametrize("head", ["pml.LargeMarginSoftmaxLoss", "pml.ArcFaceLoss"])  # one computes when it is made
def test_a_configuration_that_asks_for_terabytes_is_refused_before_it_has_them(
    head: str, asked: dict[str, Any], tmp_path: Path
) -> None:
    model_config.save(tmp_path, design(head), design(head).build().state_dict(), {"trial": f"{head}-000"})
    path = tmp_path / model_config.CONFIG
    known = json.loads(path.read_text())
    known["blueprint"] |= asked
    path.write_text(json.dumps(known))
    with pytest.raises(model_config.ModelError, match="config and weights are of different models"):
        model_config.load(tmp_path)
