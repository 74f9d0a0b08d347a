"""One trial over several processes (data parallel) through Ray Train: together they give one worker's result.

The trial's own process trains nothing. It starts the workers, and passes on to Tune what the first of them says, so
that Tune sees rows and checkpoints as of any other trial.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from lightning_modules.data.splits import TrialData
from orchestrator.system import fingerprint
from orchestrator.trials.trial import CHECKPOINT, Task, WorkerDied, end_with_parent, fit, last_words, where

LISTEN_S = 1.0  # between looks whether the workers are still there
END_S = 20.0  # for workers to be gone, after which their owner's end takes them along
ENVIRONMENT = {  # read by Ray in a trial's process
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # until a dead worker is noticed, and the end of the fit
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a lost node is a lost worker: Tune starts the trial again
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": f"{END_S:.0f}",  # before a stopped trial's process is thought not to end
}


def run(trial: dict[str, Any], data: TrialData, task: Task, checkpoint: Any) -> None:
    """Trains a configuration over its workers, reporting to Tune. Raises WorkerDied where a process is lost.

    Nothing of Ray Train's own is kept or restored: checkpoints are Tune's.
    """
    import ray
    from ray import tune
    from ray.util.queue import Empty, Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    os.environ.update(ENVIRONMENT)
    tune.report({"waiting": True})
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    words = Queue(1, actor_options={"num_cpus": 0, "scheduling_strategy": here})  # full while Tune thinks: workers wait
    given = {"trial": trial, "data": ray.put(data), "task": task, "checkpoint": checkpoint, "words": words}
    group = Group(given, task)
    first = None
    try:
        while True:
            at_work = group.is_alive()
            try:
                word = words.get(timeout=LISTEN_S)
            except Empty:
                if at_work:
                    continue
                break
            if "broken" in word:
                raise WorkerDied(**word["broken"])
            if "ended" in word or "other_code" in word:
                tune.report(word)
                return
            if "placed" in word:
                first = word.pop("worker")
                tune.report(word)
            else:
                _pass_on(**word)
    except ray.exceptions.RayError as error:
        raise WorkerDied(f"{type(error).__name__}: {error}") from error
    finally:  # also where Tune stops the trial, by a SystemExit out of its report
        if group.is_alive() and first is not None:
            ray.kill(first)  # Ray Train then ends the others, and gives back what they had
        group.join(END_S)
        words.shutdown(force=True)
    if group.error is not None:
        raise WorkerDied(str(group.error))


def _pass_on(row: dict[str, Any], checkpoint: bytes) -> None:
    from ray import tune

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, CHECKPOINT).write_bytes(checkpoint)
        tune.report(row, checkpoint=tune.Checkpoint.from_directory(folder))


class Group(threading.Thread):
    """The workers of a trial, for as long as they run. error: why they ended, if they did not finish."""

    def __init__(self, given: dict[str, Any], task: Task) -> None:
        super().__init__(daemon=True)
        self.error: Exception | None = None
        self._given, self._profile = given, task.profiles[given["trial"]["head"]]
        self.start()

    def run(self) -> None:
        from ray import tune
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        storage = tune.get_context().get_storage()  # a folder or a bucket that all nodes see
        try:
            TorchTrainer(
                work,
                train_loop_config=self._given,
                scaling_config=ScalingConfig(
                    num_workers=self._profile.workers,
                    use_gpu=self._profile.gpu > 0,
                    resources_per_worker={kind.upper(): much for kind, much in self._profile.requested().items()},
                ),
                run_config=RunConfig(
                    name="workers",
                    storage_path=storage.trial_fs_path,
                    storage_filesystem=storage.storage_filesystem,
                ),
            ).fit()
        except Exception as error:
            self.error = error


def work(given: dict[str, Any]) -> None:
    """What each worker does. An error of its own is the trial's end; one that a lost worker causes is left to Ray."""
    started = time.perf_counter()
    end_with_parent()
    import ray
    import ray.train
    from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment

    words, first = given["words"], ray.train.get_context().get_world_rank() == 0
    if other := fingerprint.differs(given["task"].code):
        words.put({"other_code": other})
        return
    if first:
        words.put({"placed": where(), "worker": ray.get_runtime_context().current_actor})

    def report(row: dict[str, Any], folder: Path) -> None:
        words.put({"row": row, "checkpoint": Path(folder, CHECKPOINT).read_bytes()})

    together = {
        "strategy": RayDDPStrategy(),
        "plugins": [RayLightningEnvironment()],
        "use_distributed_sampler": False,  # ImageBatches shares out the images
    }
    try:
        fit(given["trial"], ray.get(given["data"]), given["task"], started, report, given["checkpoint"], **together)
    except Exception as error:
        if _of_a_lost_worker(error):
            raise
        words.put(last_words(error))


def _of_a_lost_worker(error: Exception) -> bool:
    """Whether an error says that another worker cannot be reached: gloo has no class of its own for it."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
