"""A model on disk: it embeds as it did before, nothing of it is ever unpickled, and what is damaged is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.heads.base import EmbeddingModule
from lightning_modules.models import model_config
from lightning_modules.models.model_config import CONFIG, IMAGES_AT_A_TIME, WEIGHTS, Blueprint, ModelError
from search_spaces.heads import HEADS, settings_of

BODIES: dict[str, dict[str, int]] = {"strided": {"width": 2}, "reference": {"depth": 1}}
CLASSES, DIMENSIONS = 4, 3
ABOUT = {"trial": "arcface-003", "epoch": 2, "objective": 0.5}


def design(head: str = "arcface", body: str = "strided", shape: tuple[int, int, int] = (9, 7, 1)) -> Blueprint:
    params = {name: each.auto(CLASSES, DIMENSIONS).start for name, each in settings_of(head).items()}
    return Blueprint(head, params, body, BODIES[body], DIMENSIONS, CLASSES, shape, 100.0, 50.0)


def images(number: int, *shape: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (number, *shape), np.uint8)


def trained(planned: Blueprint, seed: int = 1) -> EmbeddingModule:
    """A module whose weights and running statistics are not those of a fresh one."""
    torch.manual_seed(seed)
    module = planned.build()
    with torch.no_grad():
        module(torch.from_numpy(images(64, 9, 7)) // (1 + seed))
    return module.eval()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The folder of an ArcFace model."""
    folder = tmp_path / "models" / "arcface"
    model_config.save(folder, design(), trained(design()).state_dict(), ABOUT)
    return folder


def change(folder: Path, key: str, value: Any) -> None:
    content = json.loads((folder / CONFIG).read_text())
    content["blueprint"][key] = value
    (folder / CONFIG).write_text(json.dumps(content))


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("head", HEADS)
def test_a_loaded_model_embeds_to_the_last_bit_as_the_saved_one(tmp_path: Path, head: str, body: str) -> None:
    planned = design(head, body)
    module = trained(planned)
    model_config.save(tmp_path, planned, module.state_dict(), ABOUT)
    torch.manual_seed(99)
    again, loaded = model_config.load(tmp_path)

    assert again == planned
    assert type(loaded) is type(module)
    assert not loaded.training
    assert loaded.recipe == module.recipe
    assert torch.equal(model_config.embed(loaded, images(20, 9, 7)), model_config.embed(module, images(20, 9, 7)))


def test_parameters_go_to_the_recipe_and_to_the_head() -> None:
    built: Any = Blueprint(
        "arcface", {"lr": 0.3, "margin_rad": 0.2, "scale": 9.0}, "strided", {}, 3, 4, (9, 7, 1), 10.0, 20.0
    ).build()
    assert (built.recipe.lr, built.margin_rad, built.scale) == (0.3, 0.2, 9.0)
    assert (built.num_classes, built.embedding_dim) == (4, 3)
    assert (float(built.pixel_mean), float(built.pixel_std)) == (10.0, 20.0)


def test_a_models_folder_holds_weights_and_configuration_and_says_what_they_are(kept: Path) -> None:
    assert {path.name for path in kept.iterdir()} == {WEIGHTS, CONFIG} == {"model.safetensors", "config.json"}
    assert model_config.about(kept) == ABOUT
    assert model_config.about(kept / "nowhere") == {}


def test_saving_again_replaces_the_whole_model(kept: Path) -> None:
    other = design("softmax")
    module = trained(other, seed=5)
    model_config.save(kept, other, module.state_dict(), {"trial": "softmax-000"})
    planned, loaded = model_config.load(kept)
    assert planned.head == "softmax"
    assert torch.equal(model_config.embed(loaded, images(5, 9, 7)), model_config.embed(module, images(5, 9, 7)))
    assert model_config.about(kept) == {"trial": "softmax-000"}
    assert {path.name for path in kept.iterdir()} == {WEIGHTS, CONFIG}


def test_nothing_is_pickled_or_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a pickle")

    for name in ("load", "loads", "Unpickler", "dump", "dumps", "Pickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    module = trained(design())
    model_config.save(tmp_path, design(), module.state_dict(), ABOUT)
    assert torch.equal(
        model_config.embed(model_config.load(tmp_path)[1], images(5, 9, 7)), model_config.embed(module, images(5, 9, 7))
    )
    assert model_config.centres(tmp_path) is not None


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"centres": [1.0]}))


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no folder": (lambda folder: folder.rename(folder.parent / "elsewhere"), "No such file"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), "No such file"),
    "no configuration": (lambda folder: (folder / CONFIG).unlink(), "No such file"),
    "half the weights": (lambda folder: half(folder / WEIGHTS), "not the file that was written"),
    "weights of zeros": (lambda folder: (folder / WEIGHTS).write_bytes(bytes(500)), "not the file that was written"),
    "a pickle as weights": (lambda folder: pickled(folder / WEIGHTS), "header|safetensor"),
    "empty weights": (lambda folder: (folder / WEIGHTS).write_bytes(b""), "not the file that was written"),
    "half a configuration": (lambda folder: half(folder / CONFIG), "line|char"),
    "bytes as configuration": (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe\x00"), "byte 1 is no UTF-8"),
    "a list as configuration": (lambda folder: (folder / CONFIG).write_text("[]"), "says nothing about a model"),
    "nothing known": (lambda folder: (folder / CONFIG).write_text("{}"), "says nothing about a model"),
    "other weights": (lambda folder: change(folder, "embedding_dim", 5), "of different models: .* of shape"),
    "other classes": (
        lambda folder: change(folder, "num_classes", 7),
        "of different models: centres should be of shape",
    ),
    "another head's weights": (lambda folder: change(folder, "head", "softmax"), "unexpected keyword"),
    "another body": (lambda folder: change(folder, "body", "reference"), "reference has wrong options: width"),
    "an unknown head": (lambda folder: change(folder, "head", "arcfac"), "arcfac"),
    "a file that is no head": (lambda folder: change(folder, "head", "class_centre_softmax"), "head must be one of"),
    "an unknown body": (lambda folder: change(folder, "body", "stridden"), "stridden"),
    "another width": (lambda folder: change(folder, "body_options", {"width": 1024}), "of different models"),
    "a body of terabytes": (
        lambda folder: change(folder, "body_options", {"width": 10**6}),
        "less than .* 1024",
    ),
    "options of another body": (lambda folder: change(folder, "body_options", {"depth": 10**7}), "strided .* depth"),
    "options in a list": (lambda folder: change(folder, "body_options", ["width"]), "mapping"),
    "sizes that are none": (lambda folder: change(folder, "embedding_dim", 2.5), "its sizes are whole numbers"),
    "an unknown key": (lambda folder: change(folder, "colour", 1), "colour"),
    "an unknown parameter": (lambda folder: change(folder, "params", {"margin": 1}), "margin"),
    "parameters in a list": (lambda folder: change(folder, "params", ["lr"]), "names no head with its settings"),
    "an impossible margin": (lambda folder: change(folder, "params", {"margin_rad": -1, "scale": 9}), "margin_rad"),
    "a flat image": (lambda folder: change(folder, "image_shape", [9, 7]), "its sizes are whole numbers"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=list(DAMAGES))
def test_what_is_no_whole_model_is_refused_with_its_folder_and_reason(
    kept: Path, damage: Callable[[Path], Any], reason: str
) -> None:
    damage(kept)
    with pytest.raises(ModelError, match=reason) as caught:
        model_config.load(kept)
    assert str(caught.value).startswith(f"{kept} holds no model that can be loaded: ")


def test_a_missing_key_of_the_configuration_is_refused(kept: Path) -> None:
    content = json.loads((kept / CONFIG).read_text())
    for key in content["blueprint"]:
        less = {name: value for name, value in content["blueprint"].items() if name != key}
        (kept / CONFIG).write_text(json.dumps({**content, "blueprint": less}))
        with pytest.raises(ModelError, match=key):
            model_config.load(kept)


def test_a_crash_between_weights_and_configuration_leaves_nothing_that_loads(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    new = trained(design(), seed=7)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        model_config.save(kept, design(), new.state_dict(), {"trial": "arcface-009"})
    with pytest.raises(ModelError):
        model_config.load(kept)
    assert model_config.about(kept) == {}
    assert model_config.centres(kept) is None

    monkeypatch.undo()
    model_config.save(kept, design(), new.state_dict(), {"trial": "arcface-009"})
    assert torch.equal(
        model_config.embed(model_config.load(kept)[1], images(5, 9, 7)), model_config.embed(new, images(5, 9, 7))
    )
    assert {path.name for path in kept.iterdir()} == {WEIGHTS, CONFIG}


def test_a_crash_while_the_weights_are_written_leaves_nothing_that_loads(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Path.write_bytes

    def crash(path: Path, content: Any) -> int:
        honest(path, content[: len(content) // 2])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", crash)
    with pytest.raises(OSError, match="no space"):
        model_config.save(kept, design(), trained(design(), seed=7).state_dict(), {"trial": "arcface-009"})
    with pytest.raises(ModelError):
        model_config.load(kept)
    assert model_config.about(kept) == {}


@pytest.mark.parametrize("head", HEADS)
def test_the_centres_are_those_of_the_module_where_it_has_any(tmp_path: Path, head: str) -> None:
    module: Any = trained(design(head))
    model_config.save(tmp_path, design(head), module.state_dict(), ABOUT)
    found = model_config.centres(tmp_path)
    if hasattr(module, "centres"):
        assert found is not None
        assert (found == module.centres.detach().numpy()).all()
        assert (found.shape, found.dtype) == ((CLASSES, DIMENSIONS), np.float32)
    else:
        assert found is None
    assert (found is None) == (head in ("softmax", "triplet"))


def test_there_are_no_centres_where_there_is_no_model(tmp_path: Path) -> None:
    assert model_config.centres(tmp_path / "nowhere") is None
    assert model_config.centres(tmp_path) is None


def test_centres_are_read_without_torch(kept: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lightning_modules.models import model_config\n"
        f"print(model_config.centres(Path({str(kept)!r})).shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"({CLASSES}, {DIMENSIONS}) False"


@pytest.mark.parametrize("number", [1, IMAGES_AT_A_TIME - 1, IMAGES_AT_A_TIME, IMAGES_AT_A_TIME + 1])
def test_embedding_in_blocks_is_embedding_at_once(number: int) -> None:
    module, given = trained(design()), images(number, 9, 7)
    with torch.inference_mode():
        whole = module(torch.from_numpy(given))
    found = model_config.embed(module, given)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    module, given = trained(design()), images(22, 9, 7)
    whole = model_config.embed(module, given)
    seen: list[int] = []
    module.body.register_forward_hook(lambda body, given, found: seen.append(len(found)))
    monkeypatch.setattr(model_config, "IMAGES_AT_A_TIME", size)
    torch.testing.assert_close(model_config.embed(module, given), whole, rtol=1e-5, atol=1e-6)
    assert max(seen) == min(size, 22)
    assert sum(seen) == 22


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_channels_are_embedded(channels: int) -> None:
    torch.manual_seed(0)
    module = design(shape=(9, 7, channels)).build().eval()
    given = images(6, 9, 7, channels)
    pixels = (torch.from_numpy(given).permute(0, 3, 1, 2).float() - 100) / 50
    with torch.inference_mode():
        expected = module.body(pixels)
    torch.testing.assert_close(model_config.embed(module, given), expected, rtol=1e-5, atol=1e-6)
    if channels == 1:
        assert torch.equal(model_config.embed(module, given), model_config.embed(module, given[..., 0]))


def test_images_that_cannot_be_written_are_embedded_without_a_warning() -> None:
    module, given = trained(design()), images(6, 9, 7)
    expected = model_config.embed(module, given.copy())
    given.flags.writeable = False
    assert torch.equal(model_config.embed(module, given), expected)  # pytest makes an error of every warning


def test_embedding_uses_running_statistics_and_leaves_them_alone() -> None:
    module, given = trained(design()), images(6, 9, 7)
    module.train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    together = model_config.embed(module, given)
    assert not any(part.training for part in module.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    torch.testing.assert_close(model_config.embed(module, given[:1]), together[:1], rtol=1e-5, atol=1e-6)
    assert not together.requires_grad


@pytest.mark.parametrize("flipped", [100, 2000, -1])
def test_one_flipped_bit_of_the_weights_is_noticed(kept: Path, flipped: int) -> None:
    assert model_config.is_whole(kept)
    content = bytearray((kept / WEIGHTS).read_bytes())
    content[flipped] ^= 1
    (kept / WEIGHTS).write_bytes(bytes(content))
    assert not model_config.is_whole(kept)
    with pytest.raises(ModelError, match="not the file that was written"):
        model_config.load(kept)


def test_a_model_that_was_kept_without_a_hash_is_read_and_its_numbers_are_looked_at(kept: Path) -> None:
    from safetensors.torch import load, save

    known = json.loads((kept / CONFIG).read_text())
    del known["weights_sha256"]
    (kept / CONFIG).write_text(json.dumps(known))
    model_config.load(kept)
    weights = load((kept / WEIGHTS).read_bytes())
    weights["centres"][0, 0] = torch.nan
    (kept / WEIGHTS).write_bytes(save(weights))
    with pytest.raises(ModelError, match="centres is not finite"):
        model_config.load(kept)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"about": 3}', b"{", b"\xff"])
def test_a_broken_config_says_of_no_model(kept: Path, content: bytes) -> None:
    (kept / CONFIG).write_bytes(content)
    assert model_config.about(kept) == {}
    assert not model_config.is_whole(kept)
