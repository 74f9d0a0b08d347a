"""Whether W&B can be used now, and how long anything here waits for it.

Keys are read by wandb alone, from the environment or netrc; nothing here ever holds one.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.client import HTTPException
from typing import Any, TypeVar

from orchestrator.printable import discreet
from orchestrator.study import tracking_mode

Answer = TypeVar("Answer")

REACH_S = 2.0  # a server that has not answered by then is taken for unreachable
ANSWER_S = 15.0  # for a question that wandb itself asks again and again
LEAN = {  # a run opens in 0.02 s instead of 0.3 s, and tells W&B nothing about the machine
    "x_disable_machine_info": True,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,
    "console": "off",
    "silent": True,
}
PATIENCE = {  # what a run waits for a server; rows are sent again for as long as the run is open
    "init_timeout": 10.0,
    "finish_timeout": 15.0,
    "finish_timeout_raises": True,
    "x_graphql_timeout_seconds": 5.0,
    "x_graphql_retry_max": 2,
}


class Unavailable(Exception):
    """W&B cannot be used now; the message says why, for a person."""


def require() -> None:
    """Raises Unavailable where W&B is switched off, where there is no key, or where no server answers."""
    if variable := tracking_mode.off():
        raise Unavailable(f"it is switched off by {variable}")
    import wandb
    from wandb.errors import UsageError

    try:
        server, settings = host(), wandb.setup().settings
    except (UsageError, ValueError) as error:  # a key with a space at its end, an address that is none
        raise Unavailable(f"W&B's settings are wrong ({discreet(str(error))})") from error
    if not _has_key(settings.base_url):
        raise Unavailable("no W&B key (wandb login stores one)")
    try:
        urllib.request.urlopen(server, timeout=REACH_S).close()
    except urllib.error.HTTPError as answer:  # any answer is one
        answer.close()
    except (OSError, ValueError, HTTPException) as error:  # the last: what answers speaks no HTTP
        if isinstance(getattr(error, "reason", None), ssl.SSLError):  # it is there; wandb has certificates of its own
            return
        raise Unavailable(f"{server} does not answer ({error})") from error


def within(seconds: float, ask: Callable[[], Answer], what: str) -> Answer:
    """What `ask` returns, or raises. Raises Unavailable if it has done neither in time: wandb may wait for hours."""
    answers: list[Answer] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="wandb-question", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise Unavailable(f"{what}: no answer in {seconds:g} s")
    return answers[0]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps wandb from speaking: where it found a key, or which other command would send a run that it gave up."""
    import wandb

    wandb.termsetup(wandb.Settings(silent=True), None)
    try:
        yield
    finally:
        wandb.termsetup(wandb.setup().settings, None)


def api() -> Any:
    """wandb's public API, each of whose requests ends in time."""
    import wandb

    return wandb.Api(timeout=int(ANSWER_S))


def entity() -> str:
    """Whose runs they are, unless a study says: as wandb's settings have it, or the owner of the key."""
    import wandb

    known = wandb.setup().settings.entity
    return str(known or within(ANSWER_S, lambda: api().default_entity, "W&B was asked whose key this is"))


def host() -> str:
    """The server that wandb talks to. A name and a password in its address are wandb's alone."""
    import wandb

    return discreet(str(wandb.setup().settings.base_url))


def app() -> str:
    """Where people look at it."""
    import wandb

    return discreet(str(wandb.setup().settings.app_url))


def _has_key(server: str) -> bool:
    """Whether wandb knows a key for this server. It is never asked to prompt for one: that would wait for ever."""
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib.wbauth import authenticate_session

    try:
        with quiet():
            return authenticate_session(host=server, source="orchestrator", prompt=False) is not None
    except AuthenticationError as error:
        raise Unavailable(f"the W&B key has the wrong form ({error})") from error


def abandon(study_id: str) -> bool:
    """Ends wandb's own service, a child of this process, with all that it still wants to send; the record has that.

    Otherwise the end of the program would wait for a server that may never answer. Where this process has runs of its
    user's own open, as a notebook may, the service is left to them. Returns whether it was ended; never raises.
    """
    with contextlib.suppress(Exception, SystemExit):  # wandb ends as its service has
        import wandb

        setup = wandb.setup()
        connection = setup._connection
        process = connection._proc._process if connection and connection._proc else None
        if process is None or any(not run.id.startswith(f"{study_id}-") for run in setup._active_runs):
            return False
        process.kill()
        process.wait()
        within(REACH_S, wandb.teardown, "wandb was asked to end")
        return True
    return True
