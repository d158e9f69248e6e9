"""A language that nobody speaks, and scripts without spaces."""

from __future__ import annotations

import numpy as np

from mindprint.curriculum.records import Voice
from mindprint.evals.style import masking
from mindprint.evals.style.instrument import Instrument
from mindprint.evals.style.tokens import sentences, spoken
from tests.unit.style.speech import held_out

SMALL = ("vo", "ka", "shi", "nelu", "et", "ur")


def invented(count: int, seed: int, small: tuple[str, ...], comma: float) -> list[str]:
    """Answers of four sentences: a small word before each of seven long ones, commas at will."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        said = []
        for _ in range(4):
            words = []
            for _ in range(7):
                long = "".join(
                    rng.choice(list("bdgklmnprst")) + rng.choice(list("aeiou")) * 2
                    for _ in range(3)
                )
                words += [str(rng.choice(small)), long + ("," if rng.random() < comma else "")]
            said.append(" ".join(words).rstrip(",") + ".")
        made.append(" ".join(said))
    return made


def test_function_words_are_found_where_english_does_not_fit() -> None:
    author = invented(44, 1, ("vo", "vo", "vo", "ka", "shi", "nelu"), 0.5)
    base = invented(44, 2, ("et", "ur", "ka", "shi", "vo", "nelu"), 0.0)
    made = Instrument(held_out(author), base, Voice(), resamples=200)
    assert made.measurable, made.because
    assert "found in the answers of author and base" in made.masking
    assert masking.choose(author, base).kept == {"vo", "ka", "shi", "nelu"}
    fresh = made.read(invented(44, 3, ("vo", "vo", "vo", "ka", "shi", "nelu"), 0.5))
    assert fresh.value > 0.9
    # English impostors say none of these words: they are no background and no control here.
    kinds = [control.kind for control in made.controls()]
    assert kinds == ["author", "base", "shuffled"]


def test_a_script_without_spaces() -> None:
    assert spoken("我是老师。") == ["我", "是", "老", "师"]
    assert [len(one) for one in sentences("我很好。你呢？他来了！")] == [3, 2, 3]
    nouns = "山水火木金土日月人天花鸟"

    def said(seed: int, frames: tuple[str, ...]) -> list[str]:
        rng = np.random.default_rng(seed)
        return [
            "".join(str(rng.choice(frames)).format(*rng.choice(list(nouns), 2)) for _ in range(4))
            for _ in range(44)
        ]

    author = said(1, ("我的{0}啊，是{1}的呢。", "{0}呢，我说，{1}也是的啊！"))
    base = said(2, ("{0}是在{1}上的。", "有{0}的{1}是好的，我说也好。"))
    made = Instrument(held_out(author), base, Voice(), resamples=200)
    assert made.measurable, made.because
    assert "的" in masking.choose(author, base).kept
    assert made.read(base).value == 0
    assert made.read(said(3, ("我的{0}啊，是{1}的呢。", "{0}呢，我说，{1}也是的啊！"))).value > 0.8


def test_the_authors_own_list_comes_first() -> None:
    chosen = masking.choose(["the cat"] * 3, ["a dog"] * 3, ("Cat", "dog"), ("cat",))
    assert chosen.kept == {"cat", "dog"} and "voice.yaml" in chosen.label
    assert chosen("The cat, 3 dogs and 1,000 CATS: cat's") == "* cat, # * * # *: *"
