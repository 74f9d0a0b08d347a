"""What waits for the mirror: oldest news first, each trial once, no row lost, and pictures only while there is room."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable

import pytest

from orchestrator.storage.event_log import Trial
from orchestrator.tracking.update_queue import ROOM, Inbox, News

WAIT_S = 300.0  # a thread that has not come so far by then never will


def trial(index: int, head: str = "arcface") -> Trial:
    return Trial(f"{head}-{index:03d}", head, index, 100 + index, {"lr": 0.1})


def draw(inbox: Inbox, of: Trial, epochs: Iterable[int]) -> None:
    """As the driver does after every epoch."""
    for epoch in epochs:
        inbox.put("search", of, epoch)


def take_all(inbox: Inbox) -> list[News]:
    """Whatever waits in an inbox that is closed."""
    return list(iter(inbox.take, None))


def test_the_trial_that_has_waited_longest_is_taken_first() -> None:
    inbox, trials = Inbox(), [trial(index) for index in (2, 0, 1)]
    for each in trials:
        inbox.put("search", each)
    inbox.put("search", trials[0])
    inbox.close()
    assert [news.trial for news in take_all(inbox)] == trials


def test_a_trial_that_was_taken_waits_again_behind_the_others() -> None:
    inbox, first, second = Inbox(), trial(0), trial(1)
    inbox.put("search", first)
    inbox.put("search", second)
    taken = inbox.take()
    inbox.put("search", first)
    inbox.close()
    assert taken == News("search", first, frozenset())
    assert [news.trial for news in take_all(inbox)] == [second, first]


def test_a_trial_waits_once_however_much_it_has_to_tell() -> None:
    inbox, only = Inbox(), trial(0)
    inbox.put("search", only)
    draw(inbox, only, range(1, 51))
    inbox.put("search", only)
    inbox.close()
    assert take_all(inbox) == [News("search", only, frozenset())]


def test_news_carry_the_trial_itself_and_its_job() -> None:
    inbox, searched, final = Inbox(), trial(0), trial(0, "final")
    inbox.put("search", searched)
    inbox.put("final", final)
    searched.epochs.append({"epoch": 1})
    inbox.close()
    taken = take_all(inbox)
    assert [news.job for news in taken] == ["search", "final"]
    assert [news.trial for news in taken] == [searched, final]
    assert taken[0].trial is searched  # what it tells after it was put is told too


def test_pictures_beyond_the_room_are_left_out_and_named() -> None:
    inbox, first, second = Inbox(room=3), trial(0), trial(1)
    draw(inbox, first, (1, 2))
    draw(inbox, second, (1, 2, 3))
    assert inbox.left_out == 2
    inbox.close()
    assert [news.undrawn for news in take_all(inbox)] == [frozenset(), frozenset({2, 3})]


def test_news_without_a_picture_need_no_room() -> None:
    inbox, drawn = Inbox(room=1), trial(0)
    for index in range(1, 20):
        inbox.put("search", trial(index))
    draw(inbox, drawn, (1,))
    assert inbox.left_out == 0
    draw(inbox, drawn, (2,))
    assert inbox.left_out == 1


def test_what_was_taken_leaves_its_room_to_others() -> None:
    inbox, first, second = Inbox(room=2), trial(0), trial(1)
    draw(inbox, first, (1, 2))
    assert inbox.take() == News("search", first, frozenset())
    draw(inbox, second, (1, 2, 3))
    assert inbox.take() == News("search", second, frozenset({3}))


def test_undrawn_epochs_are_remembered_when_their_trial_is_taken_again() -> None:
    inbox, only = Inbox(room=1), trial(0)
    draw(inbox, only, (1, 2))
    assert inbox.take() == News("search", only, frozenset({2}))
    draw(inbox, only, (3, 4))
    assert inbox.take() == News("search", only, frozenset({2, 4}))
    inbox.put("search", only)
    assert inbox.take() == News("search", only, frozenset({2, 4}))
    assert inbox.left_out == 2


def test_news_that_were_taken_do_not_change_afterwards() -> None:
    inbox, only = Inbox(room=0), trial(0)
    draw(inbox, only, (1,))
    taken = inbox.take()
    draw(inbox, only, (2,))
    assert taken == News("search", only, frozenset({1}))


@pytest.mark.parametrize("beyond", [0, 1, 7])
def test_there_is_room_for_so_many_pictures_unless_another_is_given(beyond: int) -> None:
    inbox = Inbox()
    draw(inbox, trial(0), range(1, ROOM + beyond + 1))
    assert inbox.left_out == beyond


def test_a_closed_inbox_ends_only_when_all_is_taken() -> None:
    inbox, trials = Inbox(), [trial(index) for index in range(3)]
    for each in trials:
        inbox.put("search", each)
    inbox.close()
    assert [inbox.take() for _ in range(5)] == [*(News("search", each, frozenset()) for each in trials), None, None]


def test_taking_waits_until_there_are_news_and_until_the_inbox_is_closed() -> None:
    inbox, only = Inbox(), trial(0)
    taken: queue.Queue[News | None] = queue.Queue()

    def work() -> None:
        while (news := inbox.take()) is not None:
            taken.put(news)
        taken.put(None)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for _ in range(3):
        inbox.put("search", only)
        assert taken.get(timeout=WAIT_S) == News("search", only, frozenset())
    assert thread.is_alive()
    assert taken.empty()
    inbox.close()
    assert taken.get(timeout=WAIT_S) is None
    thread.join(WAIT_S)
    assert not thread.is_alive()


def test_many_producers_lose_no_row_and_no_picture() -> None:
    producers, each_has, epochs = 8, 20, 12
    inbox, start = Inbox(room=5), threading.Barrier(producers + 1)
    trials = [[trial(producer * each_has + index) for index in range(each_has)] for producer in range(producers)]

    def produce(own: list[Trial]) -> None:
        start.wait(WAIT_S)
        for epoch in range(1, epochs + 1):
            for each in own:
                each.epochs.append({"epoch": epoch})
                inbox.put("search", each, epoch)

    told: dict[str, list[int]] = {}
    undrawn: dict[str, frozenset[int]] = {}

    def consume() -> None:
        while (news := inbox.take()) is not None:
            told[news.trial.name] = [row["epoch"] for row in news.trial.epochs[:]]
            assert undrawn.get(news.trial.name, frozenset()) <= news.undrawn
            undrawn[news.trial.name] = news.undrawn

    consumer = threading.Thread(target=consume, daemon=True)
    working = [threading.Thread(target=produce, args=(own,), daemon=True) for own in trials]
    for thread in (consumer, *working):
        thread.start()
    start.wait(WAIT_S)
    for thread in working:
        thread.join(WAIT_S)
    inbox.close()
    consumer.join(WAIT_S)
    assert not consumer.is_alive()
    assert told == {each.name: list(range(1, epochs + 1)) for own in trials for each in own}
    assert sum(map(len, undrawn.values())) == inbox.left_out
