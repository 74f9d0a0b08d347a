"""Who follows a study while it runs: a process of its own that reads the record and keeps W&B equal to it.

The search knows nothing of it. Whatever goes wrong at W&B, in its client or in a picture, goes wrong over there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import tracking_mode
from orchestrator.study.schema import Study
from orchestrator.system import background
from orchestrator.tracking import remedy

CLOSE_S = 60.0  # the longest that the end of a study waits for a mirror that is busy, but well
GRACE_S = 15.0  # for its process to end, after that
BROKEN_OFF_S = 5.0  # the longest that whoever is to hear of a failure waits for it; sync sends the rest


@contextmanager
def following(study: Study, folder: StudyFolder, say: Callable[[str], None]) -> Iterator[None]:
    """Follows the study for as long as it runs, unless that is off; catches up at the end."""
    if tracking_mode.mode_of(study) == "off":
        if study.tracking.mode != "off":
            say(f"nothing is kept for W&B: {tracking_mode.off()}; {remedy(folder)}")
        yield
        return
    if tracking_mode.mode_of(study) != study.tracking.mode:
        say(f"nothing is sent to W&B: {tracking_mode.said(study)}; {remedy(folder)}")
    try:
        follower = Follower(folder, say)
    except OSError as error:
        say(f"nothing is kept for W&B: {type(error).__name__}: {error}")
        yield
        return
    at_most_s: float | None = BROKEN_OFF_S
    try:
        yield
        at_most_s = None
    except KeyboardInterrupt:  # the second one: at once
        follower.kill()
        raise
    finally:
        follower.close(at_most_s)


class Follower:
    """The process, as the driver sees it. Its standard input ends with the study; what it prints is said."""

    def __init__(self, folder: StudyFolder, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._killed = False
        known = (path.stat().st_size if path.exists() else 0 for path in folder.records().values())
        command = ("orchestrator.tracking.follower_process", folder.root, CLOSE_S, *known)
        self._process = background.start(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._relay, name="wandb-relay", daemon=True)
        self._thread.start()

    def close(self, at_most_s: float | None = None) -> None:
        """Waits until it has caught up; but not for longer."""
        at_most_s = CLOSE_S + GRACE_S if at_most_s is None else at_most_s
        assert self._process.stdin
        self._process.stdin.close()
        self._thread.join(at_most_s)
        if self._thread.is_alive():
            self.kill()
            self._say(f"W&B was not ready {at_most_s:g} s after the study's end; {remedy(self._folder)}")

    def kill(self) -> None:
        """Ends it at once, with wandb's own process; the record has all that it knew."""
        self._killed = True
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()

    def _relay(self) -> None:
        assert self._process.stdout
        with self._process.stdout as lines:
            for line in lines:
                self._say(json.loads(line))
        code = self._process.wait()
        if code and not self._killed:
            self._say(f"W&B: its process ended with {code}; {remedy(self._folder)}")
