"""Two processes that share a batch against one that has it whole: embeddings, losses, gradients, batch norm.

This file is also the program of each of the two processes.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lightning_modules.bodies.strided import Strided
from lightning_modules.distributed import gather
from lightning_modules.distributed.sync_batch_norm import SharedBatchNorm, shared
from lightning_modules.heads import head_class
from lightning_modules.heads.base import EmbeddingModule, Trunk

WORKERS, CLASSES, DIMENSIONS = 2, 5, 3
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax": ("softmax", {}),
    "arcface": ("arcface", {"margin_rad": 0.5, "scale": 16.0}),
    "cosface": ("cosface", {"margin_cos": 0.35, "scale": 16.0}),
    "sphereface": ("sphereface", {"margin_mult": 1.5}),
    "hybrid": ("hybrid", {"margin_rad": 0.5, "crossover_rad": 0.6, "scale": 16.0}),
    "semi_hard": ("triplet", {"margin_dist": 0.7, "mining": "semi_hard", "normalise": True}),
    "batch_hard": ("triplet", {"margin_dist": 0.5, "mining": "batch_hard"}),
    "batch_all": ("triplet", {"margin_dist": 0.5, "mining": "batch_all", "soft_margin": True}),
    "proxies": ("pml.ProxyAnchorLoss", {}),
    "pairs": ("pml.MultiSimilarityLoss", {}),
}
STEPS = 60
BATCHES = (32, 33)  # the second one cannot be shared equally


class Step(nn.Module):
    """A training step in float64: the loss of the whole batch, from the images of one worker or of the only one."""

    def __init__(self, head: EmbeddingModule) -> None:
        super().__init__()
        self.head = head

    def forward(self, images: Tensor, labels: Tensor, alone: bool = False) -> Tensor:
        embeddings = self.head.body(images)
        return self.head.loss(embeddings if alone else gather.batch(embeddings, len(labels)), labels)


def made(name: str) -> EmbeddingModule:
    torch.manual_seed(0)
    kind, options = HEADS[name]
    trunk = Trunk(Strided(width=4).build((8, 8, 1), DIMENSIONS), CLASSES, DIMENSIONS)
    return head_class(kind)(trunk, **options).double()


def batch(size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images + 3, torch.randint(CLASSES, (size,), generator=generator)


def learnt(head: EmbeddingModule) -> dict[str, Tensor]:
    gradients = {f"gradient of {name}": weight.grad for name, weight in head.named_parameters()}
    return {**gradients, **dict(head.named_buffers())}


def compared(name: str) -> dict[str, tuple[float, float]]:
    """Over steps on both batches: of the loss, all gradients and all buffers, the largest difference and value."""
    alone = Step(made(name))
    together = copy.deepcopy(alone)
    together.head.body = shared(together.head.body)
    assert list(together.state_dict()) == list(alone.state_dict())
    wrapped = DistributedDataParallel(together)
    seen: dict[str, tuple[float, float]] = {}
    for size in BATCHES:
        images, labels = batch(size)
        loss, expected = wrapped(images[dist.get_rank() :: WORKERS], labels), alone(images, labels, alone=True)
        loss.backward()
        expected.backward()
        values = {"loss": expected, **learnt(alone.head)}
        for key, value in {"loss": loss, **learnt(together.head)}.items():
            difference = float((value - values[key]).detach().abs().max())
            known = seen.get(key, (0.0, 0.0))
            seen[key] = max(known[0], difference), max(known[1], float(values[key].detach().abs().max()))
        wrapped.zero_grad()
        alone.zero_grad()
    return seen


def curves(name: str) -> tuple[list[float], list[float]]:
    """The losses of a training with AdamW, of one worker and of two, each step on a batch of its own."""
    alone = Step(made(name))
    together = copy.deepcopy(alone)
    together.head.body = shared(together.head.body)
    wrapped = DistributedDataParallel(together)
    steps = [torch.optim.AdamW(module.parameters(), lr=0.003) for module in (alone, together)]
    losses: tuple[list[float], list[float]] = ([], [])
    for number in range(STEPS):
        images, labels = batch(BATCHES[0], number)
        images[torch.arange(len(labels)), 0, labels] += 1.0  # a line that tells the class
        pair = alone(images, labels, alone=True), wrapped(images[dist.get_rank() :: WORKERS], labels)
        for loss, step, known in zip(pair, steps, losses, strict=True):
            step.zero_grad()
            loss.backward()
            step.step()
            known.append(float(loss.detach()))
    return losses


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=WORKERS)
    images, labels = batch(33)
    found = {
        "order": torch.equal(gather.batch(images[rank::WORKERS], len(labels)), images),
        "heads": {name: compared(name) for name in HEADS},
        "curves": {name: curves(name) for name in ("softmax", "arcface", "batch_all")},
    }
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two processes has found."""
    folder = tmp_path_factory.mktemp("two")
    begun = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(folder)], stderr=subprocess.PIPE, text=True)
        for rank in range(WORKERS)
    ]
    for process in begun:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORKERS)]


def test_the_whole_batch_comes_in_its_own_order_also_where_shares_differ(found: list[dict[str, Any]]) -> None:
    """Losses of pairs need the whole batch: each worker gets it, in the order of its images."""
    assert all(each["order"] for each in found)


@pytest.mark.parametrize("name", HEADS)
def test_loss_gradients_and_statistics_are_those_of_one_worker(found: list[dict[str, Any]], name: str) -> None:
    for each in found:
        assert "gradient of body.0.weight" in each["heads"][name]
        assert each["heads"][name]["gradient of body.0.weight"][1] > 1e-6  # there is something to compare
        for key, (difference, largest) in each["heads"][name].items():
            assert difference <= 1e-10 * max(1.0, largest), key


@pytest.mark.parametrize("name", ["softmax", "arcface", "batch_all"])
def test_a_whole_training_has_the_curve_of_one_worker(found: list[dict[str, Any]], name: str) -> None:
    for each in found:
        alone, together = each["curves"][name]
        assert alone[-1] < 0.8 * alone[0]  # it learns
        assert max(abs(b / a - 1) for a, b in zip(alone, together, strict=True)) < 1e-8  # float64: 1e-16 a step


def test_a_single_process_has_nothing_to_share() -> None:
    rows = torch.randn(3, 2)
    assert gather.workers() == 1
    assert gather.batch(rows, 3) is rows


def test_shared_batch_norm_takes_the_weights_and_evaluates_as_torchs() -> None:
    torch.manual_seed(0)
    theirs = Strided(width=4).build((8, 8, 1), DIMENSIONS)
    theirs(torch.randn(16, 1, 8, 8))
    ours = shared(copy.deepcopy(theirs))
    images = torch.randn(4, 1, 8, 8)
    assert sum(isinstance(module, SharedBatchNorm) for module in ours.modules()) == 6
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


def test_every_worker_gets_its_share_of_the_images_and_all_labels(blots: Any) -> None:
    from lightning_modules.data.batches import ImageBatches, IndexedBatches

    order = ImageBatches(blots, 33, seed=1).train_dataloader().order
    parts = [list(IndexedBatches(blots.train, order, rank=rank, workers=WORKERS)) for rank in range(WORKERS)]
    for (images, labels), (others, same), index in zip(*parts, order, strict=True):
        assert (len(images), len(others), len(labels)) == (17, 16, 33)
        assert torch.equal(labels, same)
        assert torch.equal(images, torch.from_numpy(blots.train.images[index[::2]]))
        assert torch.equal(others, torch.from_numpy(blots.train.images[index[1::2]]))


if __name__ == "__main__":
    main: Callable[[int, Path], None] = work
    main(int(sys.argv[1]), Path(sys.argv[2]))
