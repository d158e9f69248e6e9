"""A language that nobody speaks, and scripts without spaces."""

from __future__ import annotations

import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("author", "base"),
    [
        (
            ["日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁"] * 44,
            ["金生丽水玉出昆冈剑号巨阙珠称夜光果珍李柰"] * 44,
        ),
        (["СТОЛ ОКНО ДОМ РЕКА ЛЕС ПОЛЕ ДОРОГА ГОРОД"] * 44, ["КНИГА РУЧКА ЛАМПА СТУЛ"] * 88),
    ],
)
def test_answers_of_which_masking_leaves_nothing_are_not_measurable(
    author: list[str], base: list[str]
) -> None:
    """No word in common, no mark, no number: no family has anything to go by, and none breaks."""
    base = [" ".join(base[i :: len(author)]) for i in range(len(author))]
    made = Instrument(held_out(author), base, Voice(), resamples=200)
    assert not made.measurable
    assert "function words (nothing is left after masking)" in made.because
    assert made.read(base).because == made.because and made.controls() == ()


def test_a_family_of_which_nothing_is_left_is_left_out_and_says_so() -> None:
    """Unpunctuated Chinese without a word in common: only how long it is can be heard."""
    rng = np.random.default_rng(0)
    own, other = "天地玄黄宇宙洪荒日月盈昃", "金生丽水玉出昆冈剑号巨阙"

    def said(signs: str, length: int) -> list[str]:
        return ["".join(rng.choice(list(signs), length)) for _ in range(44)]

    author, base = said(own, 30), said(other, 12)
    made = Instrument(held_out(author), base, Voice(function_words=("無",)), resamples=200)
    assert made.measurable, made.because
    reading = made.read(said(own, 30))
    left = {family.name: family.because for family in reading.families if not family.measurable}
    nothing = "nothing is left after masking"
    assert left == {"characters": nothing, "function words": nothing}
    assert reading.value == pytest.approx(1, abs=1e-6)  # as long as the author's own, all of them


def test_a_language_without_a_word_or_a_mark_never_breaks_the_instrument() -> None:
    """Numbers alone, nothing at all, one sign: the reason is given, no warning and no fault."""
    for author in (["12 34 56 78 90"] * 44, [""] * 44, ["好"] * 44):
        made = Instrument(held_out(author), ["坏"] * 44, Voice(), resamples=200)
        assert not made.measurable and "and a bag takes 100" in made.because
