"""Nobody gets into a running search, by its ports or by its files; and its trials run nobody else's code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster import ray_session
from orchestrator.files import temporary
from orchestrator.system import fingerprint
from tests.orchestrator.processes import below

KEY = "a key that nobody else may read"
INTRUDER = Path(__file__).parents[1] / "intruder.py"
REFUSED, NOT_HERE = {"UNAUTHENTICATED", "401", "403"}, {"UNIMPLEMENTED"}  # the latter: another port's service
NOBODY = 65534
OF_ITS_USER = {"WANDB_API_KEY": KEY, "RAY_AUTH_TOKEN": "the user's own", "RAY_ADDRESS": "192.0.2.99:6379"}


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """The folder of a Ray that is at work as for a search, begun where someone has an `orchestrator` of his own."""
    with tempfile.TemporaryDirectory(prefix="heads-", ignore_cleanup_errors=True) as folder, stray(Path(folder)):
        before = environment()
        with ray_session.local_ray(1, 0, 1000, Path(folder)):
            import ray

            @ray.remote
            def trial() -> str:
                return os.environ["WANDB_API_KEY"]

            assert ray.get(trial.remote()) == KEY  # so there is something to steal, and a worker to ask for it
            yield Path(folder)
        assert environment() == before
        assert not Path(os.environ["HOME"], ".ray").exists()


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@contextmanager
def stray(folder: Path) -> Iterator[None]:
    """As long as it lasts this process is at home in a folder with packages that have this program's names."""
    for name in (*fingerprint.PACKAGES, "orchestrator"):
        (folder / "elsewhere" / name).mkdir(parents=True)
        (folder / "elsewhere" / name / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "elsewhere")
        patch.setenv("HOME", str(folder / "elsewhere"))
        for name, value in OF_ITS_USER.items():
            patch.setenv(name, value)
        yield


def listening() -> dict[int, int]:
    """The ports of this process and of those that it started, with the process of each."""
    inodes = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":  # it listens
                inodes[f"socket:[{words[9]}]"] = int(words[1].rpartition(":")[2], 16)
    found = {}
    for pid in (os.getpid(), *below()):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(link)
            except FileNotFoundError:
                continue
            if target in inodes:
                found[inodes[target]] = pid
    return found


def own_address() -> str:
    """This machine's: some servers listen nowhere else."""
    import ray

    return str(ray.util.get_node_ip_address())


def intrude(*words: str, through: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an intruder found at the ports of this process's Ray."""
    ports = ",".join(map(str, listening()))
    command = ["env", "-i", "HOME=/nonexistent", sys.executable, "-P", str(INTRUDER), own_address(), ports, *words]
    done = subprocess.run([*through, *command], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check_shut(answers: dict[str, dict[str, str]]) -> None:
    """Every port refuses whatever it would do; and Ray's servers were there to refuse."""
    said = [(f"{port} {what}", how) for port, each in answers.items() for what, how in each.items()]
    assert [(what, how) for what, how in said if how not in REFUSED | NOT_HERE] == []
    refused = {what.partition(" ")[2].partition("/")[0].strip() for what, how in said if how in REFUSED}
    assert {"CoreWorkerService", "NodeManagerService", "ObjectManagerService", "InternalKVGcsService"} <= refused
    assert {"ReporterService", "GET", "POST"} <= refused  # of the dashboard's agent, and the one of environments


def test_a_process_with_an_empty_environment_gets_no_answer(scratch: Path) -> None:
    """Whoever can reach the ports of a search, and has no token, can neither run code there nor read its keys."""
    import ray

    found = intrude(ray.get_runtime_context().gcs_address)
    assert found["stolen"].startswith("refused")
    check_shut(found["answers"])


def test_nor_does_one_on_another_host(scratch: Path) -> None:
    with other_host() as there:
        check_shut(intrude(through=there)["answers"])


@contextmanager
def other_host() -> Iterator[tuple[str, ...]]:
    """The words that run a command on another host: a network namespace, with a cable to this one.

    Skips the test where none may be made.
    """
    name, here, there = f"heads-{os.getpid()}", f"heads{os.getpid()}a", f"heads{os.getpid()}b"
    ip = shutil.which("ip") or pytest.skip("no other host can be made here: there is no command ip")

    def run(*words: str) -> None:
        done = subprocess.run([ip, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no other host can be made here: ip {' '.join(words)}: {done.stderr.strip()}")

    run("netns", "add", name)
    try:
        run("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        run("addr", "add", "198.18.77.1/30", "dev", here)
        run("link", "set", here, "up")
        run("-n", name, "addr", "add", "198.18.77.2/30", "dev", there)
        run("-n", name, "link", "set", there, "up")
        run("-n", name, "route", "add", "default", "via", "198.18.77.1")
        yield ip, "netns", "exec", name
    finally:
        subprocess.run([ip, "netns", "del", name], capture_output=True, check=False)


def test_the_token_is_known_to_its_own_processes_alone(scratch: Path) -> None:
    import ray

    @ray.remote
    def told() -> str:
        return os.environ["RAY_AUTH_TOKEN"]

    token = ray.get(told.remote())
    assert len(token) == 64
    assert {name: os.environ[name] for name in OF_ITS_USER} == OF_ITS_USER
    assert "RAY_AUTH_MODE" not in os.environ
    for pid in below():
        assert token not in Path(f"/proc/{pid}/cmdline").read_text()  # which everyone can read
    written = [path for path in scratch.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert written == []


def test_nobody_else_can_look_into_its_files(scratch: Path) -> None:
    files = list(scratch.rglob("*"))
    assert any(path.is_socket() for path in files)
    assert scratch.stat().st_mode & 0o077 == 0
    if os.getuid() == 0:
        open_to_all = [path for path in files if not path.is_symlink() and path.stat().st_mode & 0o002]
        assert open_to_all  # so it matters that nobody gets to them
        looking = ["ls", *map(str, open_to_all)]
        done = subprocess.run(looking, user=NOBODY, group=NOBODY, extra_groups=(), capture_output=True, text=True)
        assert done.stdout == ""
        assert done.stderr.count("Permission denied") == len(open_to_all)


def test_its_sockets_have_short_paths_in_the_longest_folder_that_is_taken(scratch: Path) -> None:
    longest = max(len(str(path.relative_to(scratch.parent))) for path in scratch.rglob("*") if path.is_socket())
    assert temporary.SHORT + len("/") + longest + len("4194304") - len(str(os.getpid())) <= 107


def test_its_trials_import_the_code_of_their_driver(scratch: Path) -> None:
    import ray

    @ray.remote
    def imported() -> tuple[str, str, str]:
        import lightning_modules
        from orchestrator.system import fingerprint

        return str(lightning_modules.__file__), fingerprint.__file__, fingerprint.of_code()

    lightning, orchestrator, code = ray.get(imported.remote())
    assert Path.cwd() == scratch / "elsewhere"
    assert Path(lightning).parents[1] == Path(orchestrator).parents[2] == fingerprint.HOME
    assert code == fingerprint.of_code()
