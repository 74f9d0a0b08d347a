"""The vectors of images: what stands in the files, in which order, and what is refused."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import Result
from pyarrow import parquet
from typer.testing import CliRunner

from lightning_modules.data.images import LabelledImages
from lightning_modules.data.sources import mnist
from lightning_modules.models import model_config
from lightning_modules.models.model_config import Blueprint
from orchestrator.cli import app
from orchestrator.errors import CannotRun, Problem
from orchestrator.inference import embed_dataset

PARAMS = {"lr": 0.01, "margin_rad": 0.3, "scale": 15.0}
SHAPE = (6, 5)  # of the images of make_idx
Models = Callable[..., Path]


@pytest.fixture
def make_model(tmp_path: Path) -> Models:
    """make_model(rows, columns, channels): the folder of a model of such images, three dimensions."""

    def make(*shape: int) -> Path:
        rows, columns, channels = shape or (*SHAPE, 1)
        torch.manual_seed(0)
        design = Blueprint(
            "arcface", PARAMS, "strided", {"width": 2}, 3, 4, (rows, columns, channels), 100.0, 50.0
        )  # fmt: skip
        folder = tmp_path / f"model-{rows}-{columns}-{channels}"
        model_config.save(folder, design, design.build().state_dict(), {})
        return folder

    return make


def images(number: int, *shape: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (number, *(shape or SHAPE)), np.uint8)


def saved(path: Path, array: Any, **how: Any) -> Path:
    np.save(path, array, **how)
    return path


def expected(model: Path, given: Any) -> Any:
    """The vectors, each image alone."""
    module = model_config.load(model)[1]
    return np.concatenate([model_config.embed(module, given[n : n + 1]).numpy() for n in range(len(given))])


def same(found: Any, wanted: Any) -> bool:
    return bool(np.allclose(found, wanted, rtol=1e-5, atol=1e-6)) and found.shape == wanted.shape


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_npy_holds_the_vectors_in_the_datasets_order_and_its_labels_beside(
    make_model: Models, make_idx: Callable[..., Path], tmp_path: Path
) -> None:
    labels = [3, 0, 2, 1, 1, 0, 3]
    folder, model = make_idx(labels), make_model()
    made = embed_dataset.embed(model, str(folder), "train", tmp_path / "new" / "of-train.npy")

    found = np.load(tmp_path / "new" / "of-train.npy", allow_pickle=False)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 6, 5), np.uint8)  # as make_idx draws them
    assert (found.dtype, found.shape) == (np.float32, (7, 3))
    assert same(found, expected(model, pixels))
    told = np.load(tmp_path / "new" / "of-train.labels.npy", allow_pickle=False)
    assert (told.dtype, told.tolist()) == (np.int64, labels)
    assert made == embed_dataset.Embedded(
        tmp_path / "new" / "of-train.npy", tmp_path / "new" / "of-train.labels.npy", 7, 3
    )  # fmt: skip
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"of-train.npy", "of-train.labels.npy"}


def test_parquet_holds_index_label_and_embedding(
    make_model: Models, make_idx: Callable[..., Path], tmp_path: Path
) -> None:
    labels = [3, 0, 2, 1, 1]
    folder, model, out = make_idx(labels), make_model(), tmp_path / "of-train.parquet"
    made = embed_dataset.embed(model, str(folder), "train", out)

    table = parquet.read_table(out)
    assert {field.name: field.type for field in table.schema} == {
        "index": pa.int64(),
        "label": pa.int64(),
        "embedding": pa.list_(pa.float32(), 3),
    }
    assert table["index"].to_pylist() == [0, 1, 2, 3, 4]
    assert table["label"].to_pylist() == labels
    embed_dataset.embed(model, str(folder), "train", tmp_path / "of-train.npy")
    assert (np.array(table["embedding"].to_pylist(), np.float32) == np.load(tmp_path / "of-train.npy")).all()
    assert (made.labels_path, made.images, made.dimensions) == (None, 5, 3)


@pytest.mark.parametrize("out", ["v.npy", "v.parquet"])
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_an_array_of_images_has_no_labels(make_model: Models, tmp_path: Path, shape: tuple[int, ...], out: str) -> None:
    given, model = images(9, *shape), make_model()
    source = saved(tmp_path / "images.npy", given)
    made = embed_dataset.embed(model, str(source), "train", tmp_path / out)
    assert (made.labels_path, made.images) == (None, 9)
    if out.endswith("parquet"):
        table = parquet.read_table(tmp_path / out)
        assert table.column_names == ["index", "embedding"]
        found = np.array(table["embedding"].to_pylist(), np.float32)
    else:
        found = np.load(tmp_path / out)
        assert not (tmp_path / "v.labels.npy").exists()
    assert same(found, expected(model, given))


def test_images_with_three_channels_are_embedded(make_model: Models, tmp_path: Path) -> None:
    given, model = images(4, 6, 5, 3), make_model(6, 5, 3)
    embed_dataset.embed(model, str(saved(tmp_path / "images.npy", given)), "train", tmp_path / "v.npy")
    assert same(np.load(tmp_path / "v.npy"), expected(model, given))


@pytest.mark.parametrize(("part", "asked"), [("train", "train"), ("test", "t10k")])
def test_mnist_is_known_by_name_and_only_the_part_that_was_asked_for_is_read(
    make_model: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, asked: str
) -> None:
    read: list[str] = []
    given = images(5, 28, 28)
    loaded = LabelledImages(given, np.arange(5))
    monkeypatch.setattr(mnist.Mnist, "load", lambda self, part: (read.append(part), loaded)[1])
    model = make_model(28, 28, 1)
    embed_dataset.embed(model, "mnist", part, tmp_path / "v.npy")
    assert read == [asked]
    assert same(np.load(tmp_path / "v.npy"), expected(model, given))
    assert np.load(tmp_path / "v.labels.npy").tolist() == [0, 1, 2, 3, 4]


def test_the_test_part_of_a_folder_is_its_t10k_files(
    make_model: Models, make_idx: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_idx([0, 1, 2])
    for kind in ("images-idx3", "labels-idx1"):
        (folder / f"train-{kind}-ubyte").rename(folder / f"t10k-{kind}-ubyte")
    assert embed_dataset.embed(make_model(), str(folder), "test", tmp_path / "v.npy").images == 3
    with pytest.raises(CannotRun, match="train-images-idx3-ubyte"):
        embed_dataset.embed(make_model(), str(folder), "train", tmp_path / "v.npy")


def empty_idx(folder: Path) -> None:
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 0, *SHAPE))
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, 0))


def zipped(path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, images=images(3))
    path.write_bytes(stream.getvalue())


DATA: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "nothing there": ("images.npy", lambda path: None, "No such file"),
    "no such folder": ("images", lambda path: None, "is not a folder"),
    "a folder without IDX files": ("images", lambda path: path.mkdir(), "holds no train-images-idx3-ubyte.gz"),
    "an IDX folder without images": ("images", empty_idx, "images"),
    "a folder called .npy": ("images.npy", lambda path: path.mkdir(), "directory"),
    "floats": ("images.npy", lambda path: saved(path, images(3) / 255), "has float64 of shape (3, 6, 5), not uint8"),
    "wider integers": ("images.npy", lambda path: saved(path, images(3).astype(np.int64)), "has int64"),
    "flat images": ("images.npy", lambda path: saved(path, images(3, 30)), "has uint8 of shape (3, 30)"),
    "videos": ("images.npy", lambda path: saved(path, images(3, 2, 6, 5, 1)), "of shape (3, 2, 6, 5, 1)"),
    "one number": ("images.npy", lambda path: saved(path, np.uint8(3)), "of shape ()"),
    "no images": ("images.npy", lambda path: saved(path, images(0)), "of shape (0, 6, 5)"),
    "a pickle": ("images.npy", lambda path: saved(path, np.array([{}], object), allow_pickle=True), "it holds object"),
    "words": ("images.npy", lambda path: path.write_text("no array"), "images.npy: "),
    "half a file": (
        "images.npy",
        lambda path: path.write_bytes(saved(path, images(99)).read_bytes()[:500]),
        "but 372 bytes follow",
    ),
    "an empty file": ("images.npy", lambda path: path.touch(), "images.npy"),
    "an archive": ("images.npy", zipped, "images.npy"),
}


def refusal(model: Path, data: str, out: Path) -> Problem:
    with pytest.raises(CannotRun) as caught:
        embed_dataset.embed(model, data, "train", out)
    (problem,) = caught.value.problems
    assert all((problem.place, problem.rule, problem.value, problem.fix))
    assert not out.exists()
    return problem


@pytest.mark.parametrize(("name", "write", "reason"), DATA.values(), ids=list(DATA))
def test_data_that_are_no_images_are_refused(
    make_model: Models, tmp_path: Path, name: str, write: Callable[[Path], Any], reason: str
) -> None:
    write(tmp_path / name)
    problem = refusal(make_model(), str(tmp_path / name), tmp_path / "v.npy")
    assert (problem.place, problem.rule) == ("--data", "the images must be readable")
    assert reason in problem.value
    assert str(tmp_path / name) in problem.value
    assert problem.fix == "mnist, a folder, or images.npy"


@pytest.mark.parametrize(
    ("shape", "value"), [((7, 5), "7 × 5 × 1"), ((5, 6), "5 × 6 × 1"), ((6, 5, 3), "6 × 5 × 3"), ((0, 5), "0 × 5 × 1")]
)
def test_images_of_another_size_are_refused(
    make_model: Models, tmp_path: Path, shape: tuple[int, ...], value: str
) -> None:
    source = saved(tmp_path / "images.npy", images(3, *shape))
    assert refusal(make_model(), str(source), tmp_path / "v.npy") == Problem(
        "--data",
        "this model takes images of 6 × 5 × 1",
        value,
        "resize the images, or embed with a model that was trained on such",
    )


@pytest.mark.parametrize("name", ["v.csv", "v", "v.npz", "v.npy.gz"])
def test_another_ending_is_refused_before_anything_is_read(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path / "no-model", "no-data", tmp_path / name) == Problem(
        "--out", "vectors are written as .npy or .parquet", str(tmp_path / name), "name it vectors.npy"
    )


def unknown_head(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace("arcface", "arcfac"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: folder.rename(folder.with_name("elsewhere")),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"half"),
        lambda folder: (folder / "config.json").write_text("{"),
        unknown_head,
    ],
    ids=["missing", "no weights", "half the weights", "half a configuration", "an unknown head"],
)
def test_a_folder_without_a_whole_model_is_refused(
    make_model: Models, tmp_path: Path, damage: Callable[[Path], Any]
) -> None:
    model = make_model()
    damage(model)
    problem = refusal(model, str(saved(tmp_path / "images.npy", images(3))), tmp_path / "v.npy")
    assert (problem.place, problem.rule) == ("MODEL", "a model's folder holds config.json and model.safetensors")
    assert problem.value.startswith(f"{model} holds no model that can be loaded: ")
    assert "models/arcface" in problem.fix


def test_embed_says_what_it_wrote_in_words_and_as_json(
    make_model: Models, make_idx: Callable[..., Path], tmp_path: Path
) -> None:
    words = ["embed", make_model(), "--data", make_idx([0, 1, 2]), "--out", tmp_path / "v.npy"]
    done = run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'v.npy'}: 3 vectors of 3 dimensions, float32",
        f"{tmp_path / 'v.labels.npy'}: their classes",
    ]
    told = run(*words, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    assert json.loads(told.stdout) == {
        "vectors": str(tmp_path / "v.npy"),
        "labels": str(tmp_path / "v.labels.npy"),
        "images": 3,
        "dimensions": 3,
    }
    no_labels = run(*words[:-1], tmp_path / "v.parquet", "--json")
    assert json.loads(no_labels.stdout)["labels"] is None


@pytest.mark.parametrize("part", ["train", "test"])
def test_whoever_looks_at_test_images_is_told_on_stderr(make_model: Models, tmp_path: Path, part: str) -> None:
    source = saved(tmp_path / "images.npy", images(3))
    done = run("embed", make_model(), "--data", source, "--out", tmp_path / "v.npy", "--part", part, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["images"] == 3
    notice = "these are test images: what is tuned after a look at them is no longer honest\n"
    assert done.stderr == (notice if part == "test" else "")


@pytest.mark.parametrize(
    ("model", "data", "out", "place"),
    [
        ("there", "images.npy", "v.csv", "--out"),
        ("there", "nowhere.npy", "v.npy", "--data"),
        ("nowhere", "images.npy", "v.npy", "MODEL"),
    ],
)
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_what_cannot_be_embedded_is_4_on_stderr(
    make_model: Models, tmp_path: Path, model: str, data: str, out: str, place: str, json_too: list[str]
) -> None:
    saved(tmp_path / "images.npy", images(3))
    folder = make_model() if model == "there" else tmp_path / model
    done = run("embed", folder, "--data", tmp_path / data, "--out", tmp_path / out, *json_too)
    assert (done.exit_code, done.stdout) == (4, "")
    lines = done.stderr.splitlines()
    assert lines[0] == place
    assert [line.split()[0] for line in lines[1:4]] == ["rule", "value", "fix"]
    assert not (tmp_path / out).exists()
