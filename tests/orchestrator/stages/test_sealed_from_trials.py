"""No trial of any stage receives a test image: not in its data, its task or its configuration, however deep."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from ray import cloudpickle

from lightning_modules.data.sources import idx
from lightning_modules.data.splits import TrialData
from orchestrator.trials.trial import Task

ROOT = Path(__file__).parents[3]
PIXELS = 28 * 28
STAGES = {"search": 4, "confirmation": 6, "final": 4}  # and how many runs each has


def parts(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Everything that can be reached from an object, each thing once: items, attributes, slots, closures."""
    if id(thing) in seen or isinstance(thing, str | int | float | type | type(np)):
        return
    seen.add(id(thing))
    yield thing
    inside: list[Any] = []
    if isinstance(thing, Mapping):
        inside += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        inside += thing
    elif isinstance(thing, np.ndarray):
        inside += thing.tolist() if thing.dtype == object else []
    elif isinstance(thing, functools.partial):
        inside += [thing.func, thing.args, thing.keywords]
    inside += list(getattr(thing, "__dict__", {}).values())
    inside += [getattr(thing, name, None) for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    inside += [cell.cell_contents for cell in getattr(thing, "__closure__", None) or ()]
    inside += getattr(thing, "__defaults__", None) or ()
    for each in inside:
        yield from parts(each, seen)


def images(thing: Any) -> Iterator[bytes]:
    """Whatever may be an image of 784 pixels among the parts of an object: as bytes, numbers, or shares of 255."""
    for part in parts(thing, set()):
        array = part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part
        if isinstance(array, bytes | bytearray | memoryview):
            array = np.frombuffer(array, np.uint8)
        if not isinstance(array, np.ndarray) or array.dtype == object or not array.size or array.size % PIXELS:
            continue
        rows = array.reshape(-1, PIXELS)
        if array.dtype != np.uint8:
            rows = np.nan_to_num(np.concatenate([rows, rows * 255.0])).round().clip(0, 255).astype(np.uint8)
        yield from (row.tobytes() for row in rows)


def shipped_bytes(thing: Any) -> bytes:
    """The bytes in which Ray sends it."""
    return bytes(cloudpickle.dumps(thing))


@pytest.fixture(scope="module")
def test_images(small_mnist: Path) -> NDArray[np.uint8]:
    return idx.load(small_mnist, "t10k").images


@pytest.fixture(scope="module")
def hidden(test_images: NDArray[np.uint8]) -> set[bytes]:
    return {image.tobytes() for image in test_images}


def test_no_test_image_is_a_training_image_too(small_mnist: Path, hidden: set[bytes]) -> None:
    """Else the tests below would find it among the data by right."""
    assert len(hidden) == 500
    assert hidden.isdisjoint(image.tobytes() for image in idx.load(small_mnist, "train").images)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_that_a_trial_is_given_holds_a_test_image(opened: Any, stage: str, hidden: set[bytes]) -> None:
    """No trial can have learned from a test image, for it was given none."""
    given = opened.shipped[stage]
    found = Counter(images(given))
    assert len(found) >= (3000 if stage == "final" else 2900)  # what is looked through are the images
    assert not hidden & set(found)
    assert not hidden & set(images(opened.shipped))


@pytest.mark.parametrize("stage", STAGES)
def test_what_ray_sends_to_a_trial_holds_no_test_image(
    opened: Any, stage: str, hidden: set[bytes], small_mnist: Path
) -> None:
    sent = shipped_bytes(opened.shipped[stage])
    assert idx.load(small_mnist, "train").images[0].tobytes() in sent
    assert not [image for image in hidden if image in sent]


@pytest.mark.parametrize("stage", STAGES)
def test_what_was_looked_through_is_all_that_a_trial_gets(opened: Any, stage: str) -> None:
    """Data and task of each attempt, and a configuration of each run; nothing else crosses to a worker."""
    attempts = [given for given in opened.shipped[stage] if "data" in given]
    configs = [given["trial"] for given in opened.shipped[stage] if "trial" in given]
    assert len(attempts) + len(configs) == len(opened.shipped[stage])
    for given in attempts:
        assert set(given) == {"data", "task"}
        assert (type(given["data"]), type(given["task"])) == (TrialData, Task)
    names = {config["name"] for config in configs}
    assert len(names) == STAGES[stage]
    assert {config["head"] for config in configs} == {"softmax", "cosface"}


def in_validation(given: Any, image: NDArray[np.uint8]) -> None:
    given["data"].validation.images[7] = image


def in_train(given: Any, image: NDArray[np.uint8]) -> None:
    given["data"].train.images[-1] = image


def as_an_attribute(given: Any, image: NDArray[np.uint8]) -> None:
    object.__setattr__(given["data"], "extra", {"deep": [(image,)]})


def as_shares(given: Any, image: NDArray[np.uint8]) -> None:
    object.__setattr__(given["task"], "sample", image.astype(np.float32) / 255)


def as_a_tensor(given: Any, image: NDArray[np.uint8]) -> None:
    given["data"].validation.__dict__["later"] = torch.tensor(image).flatten().double()


def as_bytes(given: Any, image: NDArray[np.uint8]) -> None:
    given["task"].body_options["width"] = image.tobytes()


def in_a_function(given: Any, image: NDArray[np.uint8]) -> None:
    given["task"].body_options["width"] = functools.partial(lambda kept: kept, image)


HIDE = [in_validation, in_train, as_an_attribute, as_shares, as_a_tensor, as_bytes, in_a_function]


@pytest.mark.parametrize("hide", HIDE, ids=lambda hide: hide.__name__)
def test_a_test_image_that_is_hidden_somewhere_would_be_found(
    opened: Any, hide: Callable[..., None], test_images: NDArray[np.uint8], hidden: set[bytes]
) -> None:
    given = copy.deepcopy(next(each for each in opened.shipped["search"] if "data" in each))
    assert dataclasses.is_dataclass(given["data"])
    hide(given, test_images[123])
    assert hidden & set(images(given)) == {test_images[123].tobytes()}
    if hide not in (as_shares, as_a_tensor):
        assert test_images[123].tobytes() in shipped_bytes(given)


MENTIONED = {
    "orchestrator/stages/test_images.py",
    "orchestrator/inference/embed_dataset.py",
    "lightning_modules/data/sources/idx.py",
    "lightning_modules/data/sources/mnist.py",
    "lightning_modules/data/sources/base.py",
}


def test_only_the_opening_and_the_vectors_ask_for_the_test_images() -> None:
    sources = [
        path for name in ("orchestrator", "search_spaces", "lightning_modules") for path in (ROOT / name).rglob("*")
    ]
    files = [path for path in sources if path.suffix in (".py", ".yaml", ".html", ".js", ".css", ".j2")]
    found = {path.relative_to(ROOT).as_posix() for path in files if "t10k" in path.read_text(encoding="utf-8")}
    assert found == MENTIONED
