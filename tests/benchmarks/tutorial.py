"""`python -m tests.benchmarks.tutorial TRIALS EPOCHS`: a search of ArcFace as public tutorials would write it.

The yardstick of `whole_search`: images as items of a dataset through PIL and a DataLoader, one Lightning module in a
function trainable, Tune's defaults, k-means from scikit-learn. Data, split, body, batch and epochs are the project's.
Prints JSON: the wall time, and (seconds since the start, cluster accuracy) after each epoch of each trial.
"""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BATCH = 256


def train(config: dict[str, Any]) -> None:
    """One trial, in a process of its own."""
    import numpy as np
    import pytorch_lightning as pl
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from ray.tune.integration.pytorch_lightning import TuneReportCheckpointCallback
    from scipy.optimize import linear_sum_assignment
    from sklearn.cluster import KMeans
    from sklearn.metrics import confusion_matrix
    from torch import nn
    from torch.utils.data import DataLoader, Dataset

    from lightning_modules.bodies.strided import Strided
    from lightning_modules.data import splits
    from lightning_modules.data.sources import mnist

    data = splits.split(mnist.load("train"), 10_000, seed=0)

    class Items(Dataset[Any]):
        def __init__(self, part: Any) -> None:
            self.part = part

        def __len__(self) -> int:
            return len(self.part)

        def __getitem__(self, index: int) -> Any:
            image = Image.fromarray(self.part.images[index])
            pixels = torch.from_numpy(np.array(image, np.uint8)).unsqueeze(0).float().div(255)
            return pixels.sub(0.1307).div(0.3081), int(self.part.labels[index])

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.body = Strided().build((28, 28, 1), 3)
            self.centres = nn.Parameter(torch.randn(10, 3))
            self.seen: list[Any] = []

        def training_step(self, batch: Any, _: int) -> Any:
            images, labels = batch
            cosine = F.normalize(self.body(images)) @ F.normalize(self.centres).T
            cosine = cosine.clamp(-1 + 1e-6, 1 - 1e-6)
            with_margin = torch.cos(cosine.acos() + config["margin"])
            logits = torch.where(F.one_hot(labels, 10).bool(), with_margin, cosine) * config["scale"]
            loss = F.cross_entropy(logits, labels)
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: Any, _: int) -> None:
            self.seen.append((F.normalize(self.body(batch[0])), batch[1]))

        def on_validation_epoch_end(self) -> None:
            points, labels = (torch.cat(parts).numpy() for parts in zip(*self.seen, strict=True))
            self.seen.clear()
            joint = confusion_matrix(labels, KMeans(10, n_init=10, random_state=0).fit_predict(points))
            accuracy = joint[linear_sum_assignment(joint, maximize=True)].sum() / len(labels)
            self.log("accuracy", float(accuracy))
            if self.trainer.sanity_checking:
                return
            with Path(config["log"]).open("a") as log:
                log.write(json.dumps([time.time() - config["began"], float(accuracy)]) + "\n")

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), config["lr"], weight_decay=1e-2)
            steps = math.ceil(len(data.train) / BATCH) * config["epochs"]
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config["lr"], total_steps=steps)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    trainer = pl.Trainer(
        max_epochs=config["epochs"],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[TuneReportCheckpointCallback({"accuracy": "accuracy"}, on="validation_end")],
    )
    trainer.fit(Module(), DataLoader(Items(data.train), BATCH, shuffle=True), DataLoader(Items(data.validation), BATCH))


def main(trials: int, epochs: int) -> None:
    """The search."""
    began = time.time()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
    import ray
    from ray import tune

    with tempfile.TemporaryDirectory(prefix="tutorial-") as scratch:
        log = Path(scratch, "accuracies")
        log.touch()
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, _temp_dir=scratch)
        space = {
            "margin": tune.uniform(0.1, 0.6),
            "scale": tune.loguniform(4, 32),
            "lr": tune.loguniform(3e-3, 3e-2),
            "epochs": epochs,
            "began": began,
            "log": str(log),
        }
        tuner = tune.Tuner(
            train,
            param_space=space,
            tune_config=tune.TuneConfig(metric="accuracy", mode="max", num_samples=trials),
            run_config=tune.RunConfig(storage_path=scratch, verbose=0),
        )
        errors = tuner.fit().num_errors
        wall_s = time.time() - began
        accuracies = [json.loads(line) for line in log.read_text().splitlines()]
        ray.shutdown()
    assert not errors, f"{errors} trials failed"
    print(json.dumps({"wall_s": wall_s, "accuracies": accuracies}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
