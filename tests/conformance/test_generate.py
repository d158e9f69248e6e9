"""Batched decoding: exact for prompts of any lengths, windows, stops, seeds; both backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from backends.contract import Batch, GenerateSpec, Session
from backends.waiting import common
from tests.conformance.conftest import ModelFolder, OpenSession
from tests.tiny import EOS, VOCABULARY

LENGTHS = (9, 1, 23, 4, 17, 9, 2, 30)
"""Prompts on both sides of a window of 16, one of a single token, two of one length."""
TIE = 1e-4
"""Where the two best logits are this near, another order of sums may choose the other."""


def prompts(seed: int = 0, lengths: Sequence[int] = LENGTHS) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCABULARY, size=length).tolist() for length in lengths]


def greedy(tokens: int = 16, **settings: Any) -> GenerateSpec:
    return GenerateSpec(**{"max_tokens": tokens, "stop_ids": (), **settings})


def next_logits(session: Session, ids: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logits of the token after `ids`, by a whole forward pass without a cache."""
    row = np.array([[*ids, 3]], dtype=np.int32)  # a batch's rows have two tokens or more
    mask = np.zeros(row.shape, dtype=bool)
    mask[0, -1] = True
    lengths = np.array([row.shape[1]], dtype=np.int32)
    return session.logits(Batch(ids=row, lengths=lengths, mask=mask))[0, -2]


def assert_same(
    session: Session, prompt: Sequence[int], found: Sequence[int], wanted: Sequence[int]
) -> None:
    """Equal, or first different where the two best logits are within TIE."""
    if tuple(found) == tuple(wanted):
        return
    first = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b)
    best = np.sort(next_logits(session, [*prompt, *wanted[:first]]))[-2:]
    assert best[1] - best[0] < TIE, f"token {first}: {found} is not {wanted}"


def without_cache(session: Session, prompt: Sequence[int], tokens: int) -> list[int]:
    """The oracle: greedy decoding by one whole forward pass a token."""
    ids: list[int] = []
    for _ in range(tokens):
        ids.append(int(np.argmax(next_logits(session, [*prompt, *ids]))))
    return ids


def test_batched_is_one_by_one_is_uncached(session: Session) -> None:
    asked = prompts()
    together = session.generate(asked, greedy())
    for prompt, answer in zip(asked, together, strict=True):
        assert answer.stop == "length"
        assert len(answer.ids) == 16
        assert_same(session, prompt, answer.ids, session.generate([prompt], greedy())[0].ids)
        assert_same(session, prompt, answer.ids, without_cache(session, prompt, 16))


@pytest.mark.parametrize(
    ("family", "window"),
    [
        ("mistral", {"sliding_window": 8}),
        ("phi3", {"sliding_window": 8}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("gemma3_text", {"sliding_window": 5}),
    ],
)
def test_windows_hold_while_decoding(
    open_session: OpenSession, model_of: ModelFolder, backend: str, family: str, window: Any
) -> None:
    session = open_session(backend, model_of(family, **window))
    asked = prompts(1)
    for prompt, answer in zip(asked, session.generate(asked, greedy()), strict=True):
        assert_same(session, prompt, answer.ids, without_cache(session, prompt, 16))


def test_both_backends_decode_alike(
    open_session: OpenSession, model_of: ModelFolder, family: str
) -> None:
    asked, drawn = prompts(2), greedy(temperature=0.9, top_p=0.8, seed=11)
    torch = open_session("torch", model_of(family))
    mlx = open_session("mlx", model_of(family))
    pairs = zip(asked, torch.generate(asked, greedy()), mlx.generate(asked, greedy()), strict=True)
    for prompt, one, other in pairs:
        assert_same(torch, prompt, one.ids, other.ids)
    # Sampled too: the draws are NumPy's, and the logits agree to about 1e-5.
    assert torch.generate(asked, drawn) == mlx.generate(asked, drawn)


def test_any_stop_id_ends_an_answer(session: Session) -> None:
    asked = prompts(3)
    free = session.generate(asked, greedy())
    stops = (free[0].ids[4], free[2].ids[7])
    stopped = session.generate(asked, greedy(stop_ids=stops))
    assert {answer.stop for answer in stopped} >= {"stop"}
    for prompt, answer, whole in zip(asked, stopped, free, strict=True):
        ends = [i for i, token in enumerate(whole.ids) if token in stops]
        wanted = whole.ids[: ends[0]] if ends else whole.ids
        assert_same(session, prompt, answer.ids, wanted)
        assert answer.stop == ("stop" if ends else "length")
        assert not set(answer.ids) & set(stops)


def test_an_answer_can_be_empty(session: Session) -> None:
    (prompt,) = prompts(4, [6])
    first = int(np.argmax(next_logits(session, prompt)))
    (answer,) = session.generate([prompt], greedy(stop_ids=(first,)))
    assert (answer.ids, answer.stop) == ((), "stop")
    logits = next_logits(session, prompt).astype(np.float64)
    # float32 exponentials over a small vocabulary against float64
    chance = np.exp(logits[first]) / np.exp(logits).sum()
    assert answer.first_stop == pytest.approx(chance, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_chunks_and_their_order_do_not_show(session: Session) -> None:
    asked = prompts(5)
    whole = session.generate(asked, greedy(7))
    for size in (1, 3):
        for prompt, a, b in zip(
            asked, session.generate(asked, greedy(7, batch_size=size)), whole, strict=True
        ):
            assert_same(session, prompt, a.ids, b.ids)
    assert session.generate([], greedy()) == []
    for tokens in (1, 5):
        short = session.generate(asked, greedy(tokens))
        assert [len(answer.ids) for answer in short] == [tokens] * len(asked)


@pytest.mark.parametrize("family", ["qwen2"])
def test_tokens_stream_as_they_are_decoded(session: Session) -> None:
    asked = prompts(6)
    whole = session.generate(asked, greedy())
    stops = (whole[1].ids[3],)
    seen: list[tuple[int, int]] = []
    answers = session.generate(
        asked, greedy(stop_ids=stops), on_token=lambda row, token: seen.append((row, token))
    )
    for row, answer in enumerate(answers):
        assert tuple(token for at, token in seen if at == row) == answer.ids
    counts = dict.fromkeys(range(len(asked)), 0)
    turns = []
    for row, _ in seen:
        turns.append(counts[row])
        counts[row] += 1
    assert turns == sorted(turns), "within a batch, all rows' n-th tokens come before any n+1-th"


@pytest.mark.parametrize("family", ["llama"])
def test_sampling_depends_on_seed_and_row_alone(session: Session) -> None:
    asked = prompts(7)
    hot = greedy(temperature=1.0, seed=5)
    first = session.generate(asked, hot)
    assert session.generate(asked, hot) == first
    assert session.generate(asked, greedy(temperature=1.0, seed=5, batch_size=2)) == first
    assert session.generate(asked, greedy(temperature=1.0, seed=6)) != first
    twice = session.generate([asked[0], asked[0]], hot)
    assert twice[0] == first[0]
    assert twice[0] != twice[1], "each row draws from its own generator"
    sure = session.generate(asked, greedy(temperature=1.0, top_p=1e-6))
    for prompt, a, b in zip(asked, sure, session.generate(asked, greedy()), strict=True):
        assert_same(session, prompt, a.ids, b.ids)


@pytest.mark.parametrize("family", ["llama"])
def test_a_prompt_without_a_token_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="no token"):
        session.generate([[5], []], greedy())


WINDOWED = (
    ("mistral", {"sliding_window": 8}),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    ("gemma3_text", {"sliding_window": 24}),
)
"""Windows narrower and wider than what the prompts below share."""


def beginning_alike(seed: int) -> list[list[int]]:
    """Prompts that share 20 tokens, one of them little more than that."""
    head = prompts(seed, [20])[0]
    return [[*head, *rest] for rest in prompts(seed + 1, (1, 14, 3, 40))]


@pytest.mark.parametrize(("family", "window"), [*[(f, {}) for f in ("llama", "phi3")], *WINDOWED])
def test_what_prompts_share_runs_once_and_changes_nothing(
    open_session: OpenSession,
    model_of: ModelFolder,
    backend: str,
    family: str,
    window: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = open_session(backend, model_of(family, **window))
    asked, spec = beginning_alike(8), greedy(12, stop_ids=(EOS,))
    assert common(asked) == 20
    shared = session.generate(asked, spec)
    with monkeypatch.context() as patch:
        patch.setattr(f"backends.{backend}.generate.common", lambda prompts: 0)
        plain = session.generate(asked, spec)
    for prompt, a, b in zip(asked, shared, plain, strict=True):
        assert_same(session, prompt, a.ids, b.ids)
        # The same sums in another order, float32.
        assert a.first_stop == pytest.approx(b.first_stop, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(("family", "window"), [("llama", {}), *WINDOWED])
def test_prompts_that_waited_are_answered_as_if_they_had_not(
    open_session: OpenSession, model_of: ModelFolder, backend: str, family: str, window: Any
) -> None:
    """Rows end at unlike times and others take their places, at positions of their own."""
    session = open_session(backend, model_of(family, **window))
    asked = [*prompts(10), *beginning_alike(12)]
    hot = greedy(temperature=1.0, seed=3, stop_ids=tuple(range(2, 40)))
    at_once = session.generate(asked, hot)
    waited = session.generate(asked, replace(hot, batch_size=4))
    assert len({len(answer.ids) for answer in waited}) > 3
    for one, other in zip(waited, at_once, strict=True):
        # The logits agree to about 1e-5, so the same draws fall on the same tokens.
        assert (one.ids, one.stop) == (other.ids, other.stop)
        assert one.first_stop == pytest.approx(other.first_stop, rel=1e-4, abs=1e-9)
    assert session.generate(asked, replace(hot, batch_size=4)) == waited


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_mlx_finds_the_same_in_a_large_head_block_by_block(
    open_session: OpenSession,
    model_of: ModelFolder,
    family: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session, asked = open_session("mlx", model_of(family)), prompts(14)
    whole = session.generate(asked, greedy(8))
    monkeypatch.setattr("backends.mlx.generate.BLOCK", 48)  # 320 words are no multiple
    for prompt, a, b in zip(asked, session.generate(asked, greedy(8)), whole, strict=True):
        assert_same(session, prompt, a.ids, b.ids)
