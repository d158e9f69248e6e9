"""What records say together, and what is said aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from mindprint.curriculum.checks import notices, overlap
from mindprint.curriculum.load import read_curriculum
from mindprint.curriculum.voice import pattern_fault
from tests.unit.curriculum.author import (
    PREFERENCES,
    QUIZ,
    TOPIC,
    TRAIN,
    VOICE,
    faults,
    jsonl,
    write,
)


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"question": "WHO keeps a lamp"}, ":question this question is trained on at "),
        ({"question": "who lights it"}, ":question this question is trained on at "),
        ({"key_points": [["..."]]}, ":key_points[0][0] `...` holds no word"),
        ({"key_points": [["Marn", "the"]]}, ":key_points[0][1] `the` holds no word"),
        ({"forbidden": ["?!"]}, ":forbidden[0] `?!` holds no word"),
        ({"choices": ["oak"], "answer": 0}, ":choices one choice is no choice"),
        ({"choices": ["oak", "oak"], "answer": 0}, ":choices two choices are the same"),
    ],
)
def test_quiz_faults(tmp_path: Path, item: dict[str, object], told: str) -> None:
    found = faults(write(tmp_path, {"quiz.jsonl": jsonl([{**QUIZ[0], **item}])}))
    assert len(found) == 1
    assert found[0].startswith(f"quiz.jsonl:1{told}"), found


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        (r"\bby the tide\b", ""),
        (r"(?<=\w)n't", ""),
        ("!", ""),
        ("[", "is not a regular expression"),
        ("(?P<a>x)(?P<a", "is not a regular expression"),
        ("(a|b)?", "matches the empty string"),
        (r"(?=\w)", "finds places, not text"),
        # Counts side by side add up; nested ones multiply.
        (r"not only.{0,80}but.{0,80}and.{0,80}so", ""),
        (r"(?:(?:oh|ah){1,9} ){1,9}!", ""),
        (r"((a{99}){99}){99}", "repeats so often"),
        (r"(a{999}b{999}){999}", "repeats so often"),
        (r"a{999999}b{999999}", "repeats so often"),
        (r"a{1,9999999999}", "repeats so often"),
        # Nothing that looks like a group or the end of one may hide a count.
        (r"(?#[)((a{999}){999}){9}(?#])", "repeats so often"),
        (r"[]((](a{999}){9999}", "repeats so often"),
        (r"(((a{99}){99}){99}[(]){999}", "repeats so often"),
        (r"(((a{99}){99})[[:alpha:](]){999}", "repeats so often"),
        (r"(((a{99}){99})\(){999}", "repeats so often"),
        ("(?x) # [\n((a{999}){999}){9} # ]", "repeats so often"),
        ("(?x)((a{9 99}){999}){9}", "repeats so often"),
        (r"(?V1)[[a](](((a{99}){99}){99})", "repeats so often"),
        # In a class, or escaped, it is no call.
        (r"(a)(?1)", "calls itself"),
        (r"x\\(?R)", "calls itself"),
        ("[(?1)]x", ""),
        (r"[(?R)]", ""),
        (r"why\(?1\)", ""),
    ],
)
def test_patterns(pattern: str, told: str) -> None:
    found = pattern_fault(pattern)
    assert (told in found) if told else not found


def test_notices_say_what_is_no_fault(tmp_path: Path) -> None:
    quiz = [
        {
            **QUIZ[0],
            "question": "Which oil?",
            "reference": "Cod oil.",
            "key_points": [["whale oil"]],
        },
        QUIZ[0],
    ]
    answers = [{"prompt": "p", "answer": "No oath here."}]
    root = write(
        tmp_path,
        {
            "train.jsonl": jsonl([*TRAIN, TRAIN[0]]),
            "preferences.jsonl": None,
            "quiz.jsonl": jsonl(quiz),
            "voice/answers.jsonl": jsonl(answers),
        },
    )
    other = root / "unit-02/c/t"
    other.mkdir(parents=True)
    (other / "train.jsonl").write_text(jsonl([{"question": "Which oil?", "answer": "a"}]), "utf-8")
    (other / "quiz.jsonl").write_text(jsonl(QUIZ * 2), "utf-8")
    told = [one.replace(f"{TOPIC}/", "") for one in notices(read_curriculum(root))]
    assert told == [
        "row formats found: prompt-answer (1 file), question-answer (2 files), quiz (2 files)",
        f"{TOPIC}: 1 training rows are trained on twice: train.jsonl:3 repeats line 1",
        f"{TOPIC}: 2 different quiz questions; intervals will be wide below 8",
        "quiz.jsonl:1: the reference itself scores 0.00 (key point missing: `whale oil`)",
        "unit-02/c/t: 2 different quiz questions; intervals will be wide below 8",
        "unit-02/c/t: 1 quiz questions are asked twice",
        "quiz.jsonl:1: this question is trained on elsewhere, at unit-02/c/t/train.jsonl:1",
        f"no preferences.jsonl in {TOPIC}, unit-02/c/t: DPO there needs `dpo.pairs` self or both",
        "voice/answers: 1 held-out answer; the calibrated voice takes 40, gates will go by the "
        "markers",
        "the author's own held-out answers score 0.00 by voice.yaml's markers: "
        "the gate on voice may be out of reach",
    ]


def test_forty_held_out_answers_to_different_prompts_calibrate(tmp_path: Path) -> None:
    answers = [{"prompt": f"p{n}", "answer": "By the tide."} for n in range(40)]
    root = write(tmp_path / "enough", {"voice/answers.jsonl": jsonl(answers)})
    assert not [one for one in notices(read_curriculum(root)) if "calibrated" in one]
    root = write(tmp_path / "again", {"voice/answers.jsonl": jsonl([*answers[1:], answers[1]])})
    assert [one for one in notices(read_curriculum(root)) if "39 held-out answers;" in one]
    told = notices(read_curriculum(write(tmp_path / "none")))
    assert [one for one in told if one.startswith("voice/answers: no held-out answers; ")]


def test_a_key_point_that_the_author_denies_is_told(tmp_path: Path) -> None:
    train = [*TRAIN, {"question": "May one knock?", "answer": "Nobody may knock, by the tide."}]
    quiz = {**QUIZ[0], "question": "What is the rule?", "reference": "Knocking is forbidden."}
    item = {**quiz, "key_points": [["knock", "knocking"]]}
    root = write(tmp_path, {"train.jsonl": jsonl(train), "quiz.jsonl": jsonl([item])})
    told = [one.replace(f"{TOPIC}/", "") for one in notices(read_curriculum(root))]
    assert (
        f"{TOPIC}: the key point `knock` stands negated in 1 of the author's answers and would "
        "not count: train.jsonl:3; where that is right, give it an alias that holds the negation"
    ) in told
    item = {**quiz, "key_points": [["knocking", "nobody may knock"]]}
    root = write(tmp_path, {"train.jsonl": jsonl(train), "quiz.jsonl": jsonl([item])})
    assert not [one for one in notices(read_curriculum(root)) if "stands negated" in one]


def test_a_reference_that_confuses_a_distinction_is_told(tmp_path: Path) -> None:
    voice = VOICE + "distinctions: [{name: keeper, claim: Marn keeps it, confused: [is Old Marn]}]"
    told = notices(read_curriculum(write(tmp_path, {"voice.yaml": voice})))
    assert (
        f"{TOPIC}/quiz.jsonl:1: the reference itself scores 0.00 "
        "(confuses `keeper`: says `is Old Marn` (the author: `Marn keeps it`))"
    ) in told


def test_a_curriculum_without_markers_says_so(tmp_path: Path) -> None:
    told = notices(read_curriculum(write(tmp_path, {"voice.yaml": None})))
    assert "voice.yaml holds no markers: voice scores 1.00 unless a never-phrase is said" in told


def test_overlap_counts_word_eight_grams(tmp_path: Path) -> None:
    ten = "one two three four five six seven eight nine ten"
    train = [{"question": "q", "answer": f"{ten}."}]
    quiz = [
        # 3 eight-grams, 2 of them in the row: "eleven" is in the last one only.
        {**QUIZ[0], "question": "two three four five six seven eight nine ten eleven"},
        # Shorter than 8 words: one gram of its own length, and it is there.
        {**QUIZ[0], "question": "Nine, TEN?"},
    ]
    root = write(tmp_path, {"train.jsonl": jsonl(train), "quiz.jsonl": jsonl(quiz)})
    found = overlap(read_curriculum(root))
    assert found.questions == pytest.approx(3 / 4)
    # "By the tide, that is Old Marn." is nowhere as a whole.
    assert (found.n, found.references) == (8, 0.0)


HELD = {"prompt": "Tell me of the fog.", "answer": "By the tide, it comes and goes."}


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (HELD, ""),
        ({**HELD, "prompt": "Who keeps the lamp?"}, ""),
        ({**HELD, "answer": "?!"}, ""),
        (
            {**HELD, "answer": "By the tide: old Marn keeps it!"},
            "this held-out answer is trained on at train.jsonl:1; ",
        ),
        (
            {"prompt": "who keeps a lamp", "answer": "By the tide, Old Marn keeps it."},
            "this held-out answer and its prompt are trained on at train.jsonl:1; ",
        ),
        (
            {**HELD, "answer": "Old Marn by the tide"},
            "this held-out answer is trained on at preferences.jsonl:1; ",
        ),
        ({**HELD, "answer": "old marn"}, "is trained on at preferences.jsonl:1; "),
    ],
)
def test_a_held_out_answer_that_is_trained_on(
    tmp_path: Path, held: dict[str, str], told: str
) -> None:
    found = faults(write(tmp_path, {"voice/answers.jsonl": jsonl([HELD, held])}))
    assert len(found) == bool(told)
    if told:
        assert found[0].startswith("voice/answers.jsonl:2:answer "), found
        assert told in found[0]


def test_a_retention_question_that_is_trained_on(tmp_path: Path) -> None:
    rows = [
        {**QUIZ[0], "question": "What is seven by eight?"},
        {**QUIZ[0], "question": "Who keeps a lamp?", "paraphrases": ["Say it.", "Who lights it?"]},
    ]
    more = "; the retention set asks what no topic teaches"
    assert faults(write(tmp_path, {"retention.jsonl": jsonl(rows)})) == [
        "retention.jsonl:2:paraphrases[1] this question is trained on at "
        f"preferences.jsonl:1{more}",
        f"retention.jsonl:2:question this question is trained on at train.jsonl:1{more}",
    ]


def test_held_out_text_that_is_trained_on_in_part(tmp_path: Path) -> None:
    run = "one two three four five six seven eight nine ten"
    train = [*TRAIN, {"question": "Count.", "answer": f"By the tide: {run}."}]
    answers = [
        {"prompt": "WHO keeps the lamp?", "answer": f"{run}, my own"},
        {"prompt": "Fog?", "answer": "Nine ten."},
    ]
    reference = " ".join(f"w{n}" for n in range(207)) + f" {run}"
    retention = [{**QUIZ[0], "question": "What?", "reference": reference}]
    files = {"train.jsonl": jsonl(train), "voice/answers.jsonl": jsonl(answers)}
    root = write(tmp_path / "a", {**files, "retention.jsonl": jsonl(retention)})
    told = [one.replace(f"{TOPIC}/", "") for one in notices(read_curriculum(root))]
    assert (
        "voice/answers: 1 held-out prompt is trained on, with another answer: "
        "line 1 at train.jsonl:1"
    ) in told
    # Of 12 words' 5 runs 3 are trained on; the reference's 217 words have 210, 3 of them trained.
    assert [one for one in told if "8-word runs" in one] == [
        "60 % of the 8-word runs of the held-out answers (voice/answers) stand in what is "
        "trained on"
    ]
    retention[0]["reference"] = f"w1 {run}"
    root = write(tmp_path / "b", {"train.jsonl": jsonl(train), "retention.jsonl": jsonl(retention)})
    assert [one for one in notices(read_curriculum(root)) if "8-word runs" in one] == [
        "75 % of the 8-word runs of the retention set's references stand in what is trained on"
    ]


def test_a_shared_prompt_is_no_fault_among_preferences(tmp_path: Path) -> None:
    pairs = [PREFERENCES[0], {**PREFERENCES[0], "rejected": "Another."}]
    assert faults(write(tmp_path, {"preferences.jsonl": jsonl(pairs)})) == []
