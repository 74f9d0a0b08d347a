"""Ray: a private one on this machine, with a folder of its own, or a cluster that is there already.

Never `ray stop`, never another Ray's folder: other people's Rays on the same machine are left alone. Ray's servers
listen on all of a machine's addresses, whatever it is told, and whoever may ask them runs what he likes as this user: a
private Ray answers only those who have its token, which is in the environment of its own processes and nowhere else.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import logging
import math
import secrets
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cluster.cluster_yaml import node_types, read
from orchestrator.cluster.resources import Fleet, Node
from orchestrator.errors import CannotRun, Problem, RayEnded
from orchestrator.system import fingerprint
from orchestrator.system.environment import given, kept
from orchestrator.system.ray_daemons import Daemons, undisturbed
from orchestrator.system.ray_thread import RayThread

if TYPE_CHECKING:
    from ray.job_config import JobConfig

    from orchestrator.study.schema import Study

IDLE_S = 2.0  # for trials to be ended, where nobody waits for them any more
SHUTDOWN_S = 10.0
POLL_S = 0.05
TEMPORARY = "t"  # the folder for temporary files of all that Ray starts: a process that is killed leaves some
FILES = "r"  # the folder of Ray's own files: short, for sockets lie below it
OBJECT_STORE_BYTES = 512 * 2**20  # beyond the dataset itself: Ray's own minimum is 75 MB

# Read by Ray when it is imported or started, here and in the processes it starts.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the recorder says in a line what a page of traceback does
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # trials.jsonl is the record; Tune's JSON and CSV copies are not read
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is search.py's, for Tune's own hides that a search was cut short
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a diverged trial's last report has no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's snapshots are never restored from: resume reads trials.jsonl
    "RAY_AIR_NEW_OUTPUT": "0",
}
OUR_OWN = {  # of a Ray that we start
    "RAY_gcs_rpc_server_reconnect_timeout_s": "1000000",  # after which Ray ends this process; a study ends with its GCS
    "RAY_enable_metrics_collection": "0",  # its metrics are shown to whoever asks, and read by nobody
    "AUTOSCALER_METRIC_PORT": "-1",  # the same: there is no such port
    "DASHBOARD_METRIC_PORT": "-1",
    "RAY_prestart_worker_first_driver": "0",  # no trial uses them: on two cores they cost a launch two seconds
    "RAY_worker_niceness": "5",  # of 15: trials give way to Ray and the driver, but not to what runs in the background
}
SET_BY_RAY = ("PYTHONBREAKPOINT",)


def ray_for(
    fleet: Fleet, study: Study, slots: int, data_bytes: int, scratch: Path, meanwhile: Callable[[], None]
) -> AbstractContextManager[RayThread]:
    """The Ray that a study runs on, for as long as the context lasts, and the thread for all that is done with it.

    slots: how many of its trials run at a time. meanwhile: called by the main thread some times a second while that
    other one is at work.
    """
    if fleet.address is not None:
        return joined(fleet.address, meanwhile)
    profiles = [study.resources.of(head) for head in study.heads]
    most = max(profile.cpu * profile.workers for profile in profiles)
    cpus = min(fleet.cpus, math.ceil(slots * most))  # no more, so that a population keeps to the slots
    return local_ray(cpus, fleet.gpus, data_bytes, scratch, meanwhile)


@contextmanager
def joined(address: str, meanwhile: Callable[[], None] = lambda: None) -> Iterator[RayThread]:
    """Connects this process to a running cluster, and leaves it as it was. Raises CannotRun where none answers."""
    with kept(*SET_BY_RAY), given(ENVIRONMENT):
        import ray

        logging.getLogger("ray").setLevel(logging.CRITICAL)

        connected = False

        def join() -> None:
            nonlocal connected
            ray.init(address, job_config=_own_code(), log_to_driver=False, logging_level=logging.CRITICAL)
            connected = True

        def leave() -> None:
            if connected:
                _shutdown()

        beside = RayThread(meanwhile)
        try:
            try:
                beside.do(join)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise _refused(address, error) from error
            yield beside
        finally:
            beside.last(leave, SHUTDOWN_S if beside.idle(IDLE_S) else 0.0)


def _refused(address: str, error: Exception) -> CannotRun:
    rule, fix = "a Ray cluster must answer there", "run this on a node of the cluster: ray status shows one"
    said = [address, type(error).__name__, *str(error).strip().splitlines()[:1]]
    return CannotRun([Problem("--address", rule, ": ".join(said), fix)])


def look(address: str, file: Path | None = None) -> Fleet:
    """The nodes that a cluster has now, or may have by its YAML. Raises CannotRun where none answers."""
    may_have = node_types(read(file)) if file else ()
    with joined(address):
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
    nodes = tuple(Node.of(node["Resources"], str(node["NodeManagerAddress"])) for node in alive)
    return Fleet(may_have or nodes, address)


@contextmanager
def local_ray(
    cpus: int,
    gpus: int,
    data_bytes: int,
    folder: Path,
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[RayThread]:
    """Starts Ray with so many cores and GPUs, room for the data in its object store, files in `folder`; ends it.

    folder: one that only its user may enter. Ray opens its own folder to everyone, so that lies inside. Raises RayEnded
    where Ray ends by itself.
    """
    with kept(*SET_BY_RAY), given(ENVIRONMENT | OUR_OWN):
        import ray

        logging.getLogger("ray").setLevel(logging.CRITICAL)  # what becomes of a trial is said by the recorder
        daemons, temporary = Daemons(folder), folder / TEMPORARY
        temporary.mkdir(mode=0o700, exist_ok=True)

        def look() -> None:
            meanwhile()
            daemons.look()

        def start() -> None:
            with (
                _token(),
                given({"TMPDIR": str(temporary)}),
                undisturbed(),
                _audibly(daemons.gone),
                warnings.catch_warnings(),
            ):
                warnings.simplefilter("ignore", FutureWarning)  # Ray announces its own future defaults at every start
                ray.init(
                    "local",  # whatever RAY_ADDRESS says
                    num_cpus=cpus,
                    num_gpus=gpus,
                    include_dashboard=False,
                    job_config=_own_code(),
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    object_store_memory=OBJECT_STORE_BYTES + 2 * data_bytes,
                    _temp_dir=str(folder / FILES),
                )

        beside = RayThread(look, daemons.gone)
        try:
            try:
                beside.do(start)
            except (ConnectionError, RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
                raise RayEnded(f"Ray does not start: {str(error).strip().partition(chr(10))[0]}") from error
            yield beside
        finally:
            answers = not daemons.gone() and beside.idle(IDLE_S, daemons.gone)
            if not (answers and beside.last(lambda: _shutdown(daemons.kill), SHUTDOWN_S, daemons.gone)):
                _leave_behind()
            daemons.kill()  # what is left
            _read_authentication()  # as this process's user has it, for a cluster that is joined next


def _shutdown(kill: Callable[[], None] | None = None) -> None:
    """kill: ends the Ray that this process has started, whose daemons no request ends; Ray would wait for each."""
    import ray
    from ray._private import worker

    if kill is not None and (node := worker._global_node) is not None:
        ended, listen = node.kill_all_processes, _as_now(signal.SIGTERM)

        def end(**how: bool) -> None:
            listen()  # at once: what Ray has ended so far has let SIGTERM end this process
            kill()
            ended(**how)

        node.kill_all_processes = end
    with _no_collection():
        ray.shutdown()


def _as_now(number: int) -> Callable[[], None]:
    """What gives a signal back to whoever hears it now: from any thread, for Python does so in the main one alone."""
    libc, known = ctypes.CDLL(None), ctypes.create_string_buffer(1024)  # a struct sigaction, whatever its size here
    libc.sigaction(number, None, known)

    def give_back() -> None:
        libc.sigaction(number, known, None)

    return give_back


def _leave_behind() -> None:
    """Lets this process exit, at which Tune would wait for a GCS that is no more."""
    if registry := sys.modules.get("ray.tune.registry"):
        atexit.unregister(registry._unregister_all)


@contextmanager
def _audibly(gone: Callable[[], bool]) -> Iterator[None]:
    """Lets other threads work, and signals be heard, while Ray waits for its GCS to listen.

    Ray's own wait is in C++ and holds Python's lock, for half a minute where a GCS says nothing. It follows when there
    is nothing to wait for any more: the GCS has written its port, or is gone.
    """
    from ray._private import node

    ask = node.wait_for_persisted_port

    def wait(session: str, node_id: str, port: str, timeout_ms: int) -> int:
        end = time.monotonic() + timeout_ms / 1000
        while not (written := Path(session, f"{port}_{node_id}").exists()) and not gone() and time.monotonic() < end:
            time.sleep(POLL_S)
        return int(ask(session, node_id, port, timeout_ms=1000 if written else 0))

    node.wait_for_persisted_port = wait
    try:
        yield
    finally:
        node.wait_for_persisted_port = ask


@contextmanager
def _token() -> Iterator[None]:
    """A token that a Ray which starts now asks for from then on. It and this process know it when the context ends."""
    try:
        with given({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}):
            _read_authentication()
            yield
    except BaseException:
        _read_authentication()
        raise


def _read_authentication() -> None:
    """Lets Ray read anew from the environment whether there are tokens, and which: it does so once in a process."""
    from ray import _raylet

    _raylet.Config.initialize("")  # type: ignore[attr-defined]
    _raylet.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


def _own_code() -> JobConfig:
    """Lets trials import this code, and nothing from the folder that this process happens to be in.

    Ray puts that folder in front of its workers' path, unless a job of its own has brought a folder along.
    """
    from ray.job_config import JobConfig

    class OwnCode(JobConfig):  # type: ignore[misc]
        def _serialize(self) -> str:
            if not self._runtime_env_has_working_dir():
                self._py_driver_sys_path = fingerprint.search_path()
            return super()._serialize()  # type: ignore[no-any-return]

    return OwnCode()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keeps other threads from collecting what refers to Ray: while it shuts down, that ends the process silently.

    An object reference in a cycle of garbage is given back to Ray by whichever thread happens to collect it, and
    Ray 2.60 exits with status 1 where that meets its shutdown.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
