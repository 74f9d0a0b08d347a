"""The command line as people script it: a verb or an option that changes must change here too."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app

# verb → its arguments and options, each with its default where it has one ("" where not)
SURFACE: dict[str, dict[str, str]] = {
    "doctor": {
        "--cluster <path>": "",
        "--study <list[str]>": "",
        "--results <path>": "results",
        "--json": "",
        "--help": "",
    },
    "plan": {
        "STUDY": "",
        "--set PATH=VALUE": "",
        "--results PLACE": "results",
        "--next-name": "",
        "--start-from FOLDER": "",
        "--address HOST:PORT": "",
        "--cluster <path>": "",
        "--calibrate": "",
        "--json": "",
        "--help": "",
    },
    "launch": {
        "STUDY": "",
        "--set PATH=VALUE": "",
        "--results PLACE": "results",
        "--next-name": "",
        "--start-from FOLDER": "",
        "--online": "",
        "--no-tracking": "",
        "--address HOST:PORT": "",
        "--cluster <path>": "",
        "--time-budget 12h": "",
        "--json": "",
        "--help": "",
    },
    "submit": {
        "STUDY": "",
        "--address URL": "",
        "--results PLACE": "",
        "--set PATH=VALUE": "",
        "--env NAME": "",
        "--cluster <path>": "",
        "--time-budget 12h": "",
        "--detach": "",
        "--json": "",
        "--help": "",
    },
    "follow": {"JOB": "", "--address URL": "", "--help": ""},
    "resume": {
        "FOLDER": "",
        "--address HOST:PORT": "",
        "--cluster <path>": "",
        "--time-budget 12h": "",
        "--other-code": "",
        "--json": "",
        "--help": "",
    },
    "confirm": {
        "FOLDER": "",
        "--top <int range>": "",
        "--seeds <int range>": "",
        "--racing / --no-racing": "",
        "--address HOST:PORT": "",
        "--other-code": "",
        "--json": "",
        "--help": "",
    },
    "test": {
        "FOLDER": "",
        "--seeds <int range>": "",
        "--again": "",
        "--address HOST:PORT": "",
        "--other-code": "",
        "--json": "",
        "--help": "",
    },
    "export": {"MODEL": "", "--out <path>": "exported", "--json": "", "--help": ""},
    "status": {"FOLDER": "", "--json": "", "--help": ""},
    "stop": {"FOLDER": "", "--help": ""},
    "best": {"FOLDER": "", "--json": "", "--help": ""},
    "report": {"FOLDER": "", "--json": "", "--help": ""},
    "compare": {"FOLDER": "", "--figure <path>": "compare.png", "--json": "", "--help": ""},
    "inspect": {"STUDY": "", "--json": "", "--help": ""},
    "dashboard": {"FOLDER": "", "--port <int range>": "8080; 0<=x<=65535", "--help": ""},
    "fetch": {"FOLDER": "", "--into <path>": "results", "--json": "", "--help": ""},
    "sync": {"FOLDER": "", "--json": "", "--help": ""},
    "embed": {
        "MODEL": "",
        "--data <str>": "",
        "--part <train|test>": "train",
        "--out <path>": "vectors.npy",
        "--open-test": "",
        "--json": "",
        "--help": "",
    },
}
LINE = re.compile(r"^  (?P<name>--[a-z-]+(?: / --[a-z-]+| <[^>]+>| \S+)?|[A-Z]+)(?: <[\w\[\]]+>)?  +(?P<text>\S.*)$")
DEFAULT = re.compile(r"\[default: (.*)\]")


def listed(*words: str, below: str) -> dict[str, str]:
    """What the help text lists below a heading: the name of each line and its text."""
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    section = re.sub(r"\n {3,}", " ", shown.stdout.partition(f"{below}:\n")[2].partition("\n\n")[0])  # wrapped lines
    matches = [LINE.match(line) for line in section.splitlines()]
    assert all(matches), section
    return {match["name"]: match["text"] for match in matches if match}


def test_there_are_these_verbs() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300"}).stdout.partition("Commands:\n")[2]
    assert [line.split()[0] for line in shown.splitlines() if line] == list(SURFACE)
    assert list(listed(below="Options")) == ["--version", "--help"]


@pytest.mark.parametrize("verb", SURFACE)
def test_a_verb_takes_these_arguments_and_options_and_no_others(verb: str) -> None:
    found = listed(verb, below="Arguments") | listed(verb, below="Options")
    defaults = {name: DEFAULT.search(text) for name, text in found.items()}
    assert {name: match[1] if match else "" for name, match in defaults.items()} == SURFACE[verb]


@pytest.mark.parametrize("verb", [verb for verb in SURFACE if verb != "doctor"])
def test_a_required_argument_is_refused_where_it_is_missing(verb: str) -> None:
    done = CliRunner().invoke(app, [verb])
    assert done.exit_code == 2
    assert next(iter(SURFACE[verb])) in done.stderr
