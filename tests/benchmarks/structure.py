"""How the program is built: rooms, the arrows between them, and circles.

    python -m tests.benchmarks.structure            this checkout
    python -m tests.benchmarks.structure FOLDER     another one, to compare with

A room is what lies at the top of one of the three packages: a module, or a package with all that is in it. An arrow
says that something in one room imports something in another. Rooms can be stacked so that every arrow points down,
but for arrows inside a circle of rooms. What must hold is in pyproject.toml, and `make lint` holds it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import grimp

PACKAGES = ("orchestrator", "lightning_modules", "search_spaces")
Arrow = tuple[str, str]


def arrows_of(checkout: Path) -> tuple[set[str], set[Arrow]]:
    """The modules of a checkout, and who imports whom, but for types alone."""
    sys.path.insert(0, str(checkout))
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    found = {(here, there) for here in graph.modules for there in graph.find_modules_directly_imported_by(here)}
    return set(graph.modules), found


def room_of(module: str) -> str:
    """Two names at most: orchestrator.study.schema lies in orchestrator.study."""
    return ".".join(module.split(".")[:2])


def circles(arrows: Iterable[Arrow]) -> list[set[str]]:
    """Groups in which each leads to each other, by Kosaraju's two walks."""
    after: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for here, there in arrows:
        after.setdefault(here, set()).add(there)
        before.setdefault(there, set()).add(here)
    order: list[str] = []
    seen: set[str] = set()
    for name in sorted(after):
        _walk(name, after, seen, order)
    groups, found = set[str](), list[set[str]]()
    for name in reversed(order):
        group: list[str] = []
        _walk(name, before, groups, group)
        if len(group) > 1:
            found.append(set(group))
    return found


def _walk(start: str, after: dict[str, set[str]], seen: set[str], order: list[str]) -> None:
    """Adds what can be reached to `order`, each after all that it leads to."""
    todo = [(start, False)]
    while todo:
        name, done = todo.pop()
        if done:
            order.append(name)
        elif name not in seen:
            seen.add(name)
            todo += [(name, True), *((there, False) for there in sorted(after.get(name, ())) if there not in seen)]


def main(checkout: Path) -> None:
    """Prints the counts, then every circle of rooms."""
    modules, found = arrows_of(checkout)
    between = {(room_of(here), room_of(there)) for here, there in found if room_of(here) != room_of(there)}
    between = {arrow for arrow in between if not {*arrow} & {*PACKAGES}}
    of_modules = {(here, there) for here, there in found if here != there}
    of_modules_round, of_rooms_round = circles(of_modules), circles(between)
    inside = sum(any({*arrow} <= group for group in of_rooms_round) for arrow in between)
    rooms = {room_of(module) for module in modules} - {*PACKAGES}
    print(f"{len(modules)} modules in {len(rooms)} rooms, {len(between)} arrows between rooms, {inside} inside circles")
    print(f"{len(of_modules_round)} circles of modules, {len(of_rooms_round)} circles of rooms")
    for group in of_rooms_round:
        print("circle:", *sorted(group))


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]).resolve())
