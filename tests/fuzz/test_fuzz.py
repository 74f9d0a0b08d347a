"""Broken input of every kind ends as a clear word: the first cases of each; `make fuzz` tries thousands."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import runner

FEW = {"records": 60, "idx": 300, "models": 60, "galleries": 60, "studies": 100, "overrides": 50}


@pytest.mark.parametrize("kind", runner.KINDS)
def test_nothing_that_is_broken_ends_in_a_traceback_or_takes_a_machine_down(kind: str) -> None:
    outcomes = runner.run(kind, range(FEW[kind]))
    assert not outcomes.faults, "\n".join(
        f"{kind} --seed {seed}: {name}\n{seen}" for seed, name, seen in outcomes.faults
    )
    assert sum(outcomes.counts.values()) == FEW[kind]
    assert len(outcomes.counts) > 1, f"all alike: {outcomes}"


def test_the_runner_finds_a_fault_of_each_kind() -> None:
    outcomes = runner.run("faulty", range(6))
    assert outcomes.counts == {
        "fine": 1,
        "TRACEBACK KeyError": 1,
        "HANG": 2,
        "OVER 1 GB": 1,
        "DIED (-6)": 1,
    }
    assert [seed for seed, _, _ in outcomes.faults] == [1, 2, 3, 4, 5]


def test_a_case_is_the_same_again() -> None:
    from tests.fuzz import mutations

    content = bytes(range(256)) * 4
    assert [mutations.of_bytes(content, Random(seed)) for seed in range(50)] == [
        mutations.of_bytes(content, Random(seed)) for seed in range(50)
    ]
