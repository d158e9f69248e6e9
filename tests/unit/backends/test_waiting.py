"""Which prompts begin when, and what they share."""

from __future__ import annotations

from backends.waiting import SHARED, Waiting, common


def test_the_longest_begin_first_and_ties_in_order() -> None:
    waiting = Waiting([[1] * length for length in (3, 9, 3, 5)], 2)
    assert waiting.take(0) == [1, 3]
    assert waiting.take(0) == [0, 2]
    assert not waiting


def test_free_places_are_filled_once_there_are_enough_of_them() -> None:
    waiting = Waiting([[1]] * 20, 8)
    assert waiting.take(0) == list(range(8))
    assert waiting.take(7) == [], "one place of eight is not worth a pass"
    assert waiting.take(6) == [8, 9]
    assert waiting.take(0) == list(range(10, 18))
    assert waiting.take(1) == [18, 19]
    assert waiting.take(0) == []


def test_what_is_shared_leaves_every_prompt_a_token_of_its_own() -> None:
    head = list(range(SHARED + 4))
    assert common([[*head, 1, 2], [*head, 3]]) == len(head)
    assert common([head, [*head, 3]]) == len(head) - 1
    assert common([head, head]) == len(head) - 1
    assert common([head[: SHARED + 1], head]) == SHARED
    assert common([head[:SHARED], head]) == 0, "too short"
    assert common([head]) == 0, "nobody to share with"
    assert common([]) == 0
    assert common([head, [99, *head]]) == 0
