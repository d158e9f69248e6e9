"""The forgetting heat map: which moments are rows, what is outlined, what is struck."""

from __future__ import annotations

from mindprint.report.html import page
from mindprint.report.kept import Retained, Transfer
from mindprint.report.markdown import document
from mindprint.report.model import Result
from mindprint.report.moments import columns, moments
from mindprint.report.scores import Score, StageName
from mindprint.report.tables import transfer_table
from tests.unit.report.example import begun, example


def told(accuracy: float) -> Score:
    return Score(accuracy=accuracy, voice=0.0, degenerate=0.0, questions=4)


def row(after: str, stage: StageName, kept: bool = True, **scores: float) -> Retained:
    found = {key: told(value) for key, value in scores.items()}
    return Retained(after=after, stage=stage, kept=kept, scores=found)


def run(*rows: Retained) -> Result:
    two = example().topics[:2]
    topics = tuple(t.model_copy(update={"id": name}) for t, name in zip(two, "ab", strict=True))
    return example().model_copy(update={"topics": topics, "forgetting": rows})


def cells(result: Result) -> list[tuple[str, list[float | None]]]:
    return [
        (f"{moment.place} {moment.label}", [cell.value for cell in moment.cells])
        for moment in moments(result, "accuracy")
    ]


def test_rows_are_the_moments_and_what_a_topic_began_with_stands_before_it() -> None:
    result = run(
        row("", "base", a=0.1, b=0.2, retention=0.9),
        row("a", "before", a=0.1),
        row("a", "sft", a=0.8, retention=0.85),
        row("a", "final", a=0.8, retention=0.85),
        row("b", "before", b=0.3),
        row("b", "sft", a=0.7, b=0.6, retention=0.8),
        row("b", "dpo", kept=False, a=0.0, b=0.1, retention=0.2),
        row("b", "final", a=0.7, b=0.6, retention=0.8),
    )
    assert cells(result) == [
        ("0 base", [0.1, 0.2, 0.9]),
        ("1 after SFT", [0.8, 0.3, 0.85]),  # 0.3: b before it was taught, R[a, b]
        ("2 after SFT", [0.7, 0.6, 0.8]),
        ("2 after DPO, undone", [0.0, 0.1, 0.2]),
    ]
    found = moments(result, "accuracy")
    assert [moment.stands for moment in found] == [False, True, True, False]
    diagonal = [[cell.own for cell in moment.cells] for moment in found]
    assert diagonal == [[False] * 3, [True, False, False], [False, True, False], [False] * 3]
    assert [cell.ahead for cell in found[1].cells] == [False, True, False]


def test_a_topic_rolled_back_whole_has_its_final_row() -> None:
    result = run(
        row("", "base", a=0.1, b=0.2),
        row("a", "sft", kept=False, a=0.0),
        row("a", "final", a=0.1),
    )
    found = moments(result, "accuracy")
    labels = ["base", "after SFT, undone", "as it was left"]
    assert [moment.label for moment in found] == labels
    assert [moment.stands for moment in found] == [False, False, True]


def test_a_stage_of_a_topic_in_progress_does_not_stand_yet() -> None:
    result = run(row("", "base", a=0.1), row("a", "sft", a=0.5))
    assert [moment.stands for moment in moments(result, "accuracy")] == [False, False]


def test_the_retention_set_has_no_markers() -> None:
    names = [title for _, title in columns(example(), "accuracy")]
    assert names[0] == "1 The lamp and its oil" and names[-1] == "what the base knew"
    assert "retention" not in dict(columns(example(), "markers"))


def test_nothing_asked_nothing_shown() -> None:
    assert moments(begun(), "accuracy") == [] and columns(begun(), "accuracy") == []


def test_the_four_figures_are_said_with_signs_and_words() -> None:
    table = transfer_table(example())
    assert table.head == ("figure", "accuracy", "markers", "broken", "in words")
    named = {line[0]: line[1:4] for line in table.rows}
    assert named["average"] == ("0.78", "0.86", "0.00")
    assert named["backward transfer"] == ("−0.07", "−0.11", "0.00")
    assert named["forgetting"] == ("+0.07", "+0.11", "+0.42")


def test_the_four_figures_are_told_with_their_intervals() -> None:
    moved = Transfer(
        average=0.62,
        backward=-0.73,
        forward=0.05,
        forgetting=0.73,
        average_interval=(0.5, 0.7),
        backward_interval=(-0.8, -0.62),
        forward_interval=(-0.1, 0.2),
        forgetting_interval=(0.62, 0.8),
    )
    result = example().model_copy(update={"transfer": {"accuracy": moved}})
    named = {line[0]: line[1] for line in transfer_table(result).rows}
    assert named["average"] == "0.62 (95\u00a0% interval 0.50 to 0.70)"
    assert named["backward transfer"] == "−0.73 (95\u00a0% interval −0.80 to −0.62)"
    # neither a gain nor a loss
    lent = "+0.05 (95\u00a0% interval −0.10 to +0.20, within noise)"
    assert named["forward transfer"] == lent
    for text in (page(result), document(result)):
        assert named["backward transfer"] in text and lent in text


def test_a_figure_that_only_reads_as_0_is_not_called_a_loss() -> None:
    moved = Transfer(
        average=0.5, backward=-0.004, forward=None, forgetting=0.0, backward_interval=(-0.01, 0.0)
    )
    result = example().model_copy(update={"transfer": {"accuracy": moved}})
    named = {line[0]: line[1] for line in transfer_table(result).rows}
    assert named["backward transfer"].endswith(", within noise)")
    assert (named["forward transfer"], named["forgetting"]) == ("–", "0.00")
