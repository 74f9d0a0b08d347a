"""What ended a process that trained: what Ray, the process itself and the kernel tell of it. Knows no Ray."""

from __future__ import annotations

import re
from pathlib import Path

from orchestrator.system import cgroups
from orchestrator.system.interruptions import Cause

CRASHES = re.compile(r"^\*\*\* (SIGSEGV|SIGFPE|SIGILL) received", re.MULTILINE)
SIGNALLED = re.compile(r"^\*\*\* (SIG[A-Z]+) received", re.MULTILINE)


class Deaths:
    """Finds out what ended the processes of a session.

    here: the folder of the Ray that they belong to, if it is on this machine. memory: in words, what is asked for and
    what is there.
    """

    def __init__(self, here: Path | None, memory: str) -> None:
        self._here, self._memory = here, memory
        self._oom_kills = cgroups.oom_kills()

    def of(self, text: str) -> Cause:
        """What is known of a process, with Ray's error that tells of its death."""
        before, self._oom_kills = self._oom_kills, cgroups.oom_kills()
        return death(
            text, _last_words(text, self._here), self._here is not None and self._oom_kills > before, self._memory
        )

    def crash(self, text: str) -> str:
        """The signal by which a process ended itself, as by a fault in a library; empty where others ended it."""
        return found[1] if (found := CRASHES.search(_last_words(text, self._here))) else ""


def death(text: str, last_words: str, oom_killed: bool, memory: str) -> Cause:
    """What is known of a process that died.

    text: of Ray's error. last_words: in the process's own log. oom_killed: whether the kernel has just ended one.
    """
    if "ray.kill" in text:
        return Cause("process", "it had reported nothing for so long that its process was ended")
    if "killed due to the node running low on memory" in text or "OutOfMemoryError" in text:
        return Cause("memory", f"its process was ended because memory was short; {memory}")
    if oom_killed:
        return Cause("memory", f"its process was ended by the kernel because memory was short (oom_kill); {memory}")
    if re.search(r"node (?:has )?died|node was (?:terminated|preempted)|NodeDied", text):
        return Cause("process", "its node was lost")
    if found := SIGNALLED.search(last_words):
        return Cause("process", f"its process ended by {found[1]}")
    code = re.search(r"exit code[ =:]+(-?\d+)", text)
    known = f" with exit code {code[1]}" if code else ", without a word of its own, as by SIGKILL"
    return Cause("process", f"its process died{known}")


def _last_words(text: str, folder: Path | None) -> str:
    """What a process that died wrote to its log, found by its process id in Ray's error."""
    pid = re.search(r"pid[:=] ?(\d+)", text)
    if not pid or folder is None:
        return ""
    try:
        return "\n".join(
            path.read_text(encoding="utf-8", errors="replace") for path in folder.glob(f"**/logs/worker-*-{pid[1]}.err")
        )
    except OSError:
        return ""
