"""Batches that meet a full device, and a wish to stop between them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from backends.errors import OutOfMemory
from mindprint.errors import Interrupted
from mindprint.fitting import DeviceFull, Fit, training_advice


def room_for(limit: int, seen: list[list[int]]):  # type: ignore[no-untyped-def]
    def work(places: Sequence[int]) -> None:
        if len(places) > limit:
            raise OutOfMemory(f"no room for {len(places)}")
        seen.append(list(places))

    return work


def test_every_place_is_worked_on_once_in_halves_that_fit() -> None:
    said: list[str] = []
    seen: list[list[int]] = []
    Fit(on_full="shrink", tell=said.append).each(range(10), 8, room_for(3, seen))
    assert [place for batch in seen for place in batch] == list(range(10))
    assert [len(batch) for batch in seen] == [2] * 5
    assert said == [
        "out of memory: batches of 4 from here (no room for 8)",
        "out of memory: batches of 2 from here (no room for 4)",
    ]


def test_one_that_does_not_fit_alone_ends_it() -> None:
    with pytest.raises(DeviceFull, match="out of memory with 1 row in a batch"):
        Fit(on_full="shrink").each(range(4), 2, room_for(0, []))


def test_unless_asked_nothing_is_made_smaller() -> None:
    seen: list[list[int]] = []
    with pytest.raises(DeviceFull, match="with 4 rows in a batch: no room for 4") as caught:
        Fit(on_full="stop", where="t, sft").each(range(9), 4, room_for(2, seen))
    assert not seen and caught.value.where == "t, sft"
    with pytest.raises(OutOfMemory):
        Fit().each(range(9), 4, room_for(2, seen))


def test_a_wish_to_stop_is_heard_between_batches() -> None:
    seen: list[list[int]] = []

    def halt() -> None:
        if len(seen) == 2:
            raise Interrupted("asked")

    with pytest.raises(Interrupted):
        Fit(halt=halt).each(range(9), 2, room_for(2, seen))
    assert seen == [[0, 1], [2, 3]]


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "size", "wanted"),
    [
        (4, 2, 4, "`sft.batch_size=2` with `sft.accumulate=4`"),
        (3, 1, 3, "`sft.batch_size=1` with `sft.accumulate=3`"),
        (6, 2, 6, "`sft.batch_size=4` with `sft.accumulate=3`"),
        (5, 2, 2, "`sft.batch_size=1` with `sft.accumulate=10`"),
        (4, 1, 8, "`sft.batch_size=2` with `sft.accumulate=2`"),  # rows of pairs being looked at
    ],
)
def test_the_advice_keeps_the_effective_batch(
    batch_size: int, accumulate: int, size: int, wanted: str
) -> None:
    said = training_advice("sft", batch_size, accumulate)(size)
    assert wanted in said and said.startswith("lower `sft.max_tokens` first")
    assert "`mindprint resume RUN --set run.on_oom=shrink`" in said and "--fork NEW" in said


def test_one_row_that_does_not_fit_can_only_be_shorter() -> None:
    assert training_advice("dpo", 2, 1)(1).startswith("lower `sft.max_tokens`, in a new run")
