"""The plan counts the weights of body and class centres without building them; the count is the model's own."""

from __future__ import annotations

import numpy as np

from lightning_modules.data.images import LabelledImages, Metadata
from lightning_modules.data.splits import divide
from orchestrator.planning.plan import parameters_of
from orchestrator.study.schema import Study
from orchestrator.trials.trial import Task, blueprint

PARAMS = {"lr": 0.01, "head_lr": 0.05}


def test_the_count_of_weights_is_the_models_own() -> None:
    shape, body = (30, 17, 3), {"name": "strided", "width": 5}
    images = LabelledImages(np.arange(20 * 30 * 17 * 3, dtype=np.uint8).reshape(20, *shape), np.arange(20) % 10)
    split = divide(Metadata(shape, images.labels), 10, 0)
    study = Study.model_validate({"name": "x", "heads": {"softmax": {}}, "body": body, "embedding_dim": 4})
    task = Task(1, 16, 0, 4, study.body.name, study.body.options(), np.arange(5), {})
    module = blueprint("softmax", PARAMS, split.take(images.images), task).build()
    assert parameters_of(study, split) == sum(parameter.numel() for parameter in module.parameters())
